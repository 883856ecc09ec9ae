//! Which container a sandbox belongs to, by the control group of its processes.

/// The id of the container whose processes have these control groups. `None`: there is none, or there are several.
///
/// Container engines name a container's group after its id, with or without words around it (`/docker/ID`,
/// `/system.slice/docker-ID.scope`). A container may have groups of its own in there, and containers too.
pub(crate) fn occupant(groups: &[String]) -> Option<String> {
    let depth = |group: &&String| group.matches('/').count();
    let named: Vec<(usize, &str)> =
        groups.iter().filter_map(|group| Some((depth(&group), last_id(group)?))).collect();
    let outermost = named.iter().map(|(depth, _)| *depth).min()?;
    let mut ids = named.iter().filter(|(depth, _)| *depth == outermost).map(|(_, id)| *id);
    let first = ids.next()?;
    ids.all(|id| id == first).then(|| first.to_owned())
}

/// The last container id in a path.
fn last_id(group: &str) -> Option<&str> {
    const ID: usize = 64;
    group.split(|c: char| !c.is_ascii_hexdigit()).rfind(|word| word.len() == ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_drivers_of_control_groups_name_the_container() {
        let id = "0a".repeat(32);
        for group in [
            format!("/docker/{id}"),
            format!("/system.slice/docker-{id}.scope"),
            format!("/../../lab/{id}"),
            format!("/docker/{}/docker/{id}", "0b".repeat(32)),
            format!("/docker/{id}/init.scope"),
        ] {
            assert_eq!(occupant(std::slice::from_ref(&group)), Some(id.clone()), "{group}");
        }
    }

    #[test]
    fn what_runs_inside_a_container_is_not_the_container() {
        let (outer, inner) = ("0a".repeat(32), "0b".repeat(32));
        let groups = [format!("/docker/{outer}"), format!("/docker/{outer}/docker/{inner}")];
        assert_eq!(occupant(&groups), Some(outer));
    }

    #[test]
    fn without_one_id_there_is_none() {
        let id = |digits: &str| format!("/docker/{}", digits.repeat(32));
        assert_eq!(occupant(&[]), None);
        assert_eq!(occupant(&["/user.slice".into(), "/".into(), "/docker/c0ffee".into()]), None);
        assert_eq!(occupant(&[id("0a"), id("0b")]), None, "one uses the other's network");
        assert_eq!(occupant(&["/".into(), id("0a")]), Some("0a".repeat(32)));
    }
}
