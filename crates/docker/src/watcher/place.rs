//! Where an orchestrator has put a container, by the labels that it gave it.

use super::view::ContainerInfo;

/// How many digits of an id Compose puts into names.
const SHORT_ID: usize = 12;

/// A container's place: which one of which service of what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Swarm's or Compose's service.
    pub service: Option<String>,
    /// The number of the task of a Swarm service, or the node of one that runs on every node; with Compose, the number of the
    /// container.
    pub slot: Option<String>,
    /// Compose's project, or Swarm's stack.
    pub project: Option<String>,
    /// Whether it runs on every node, so that its slot is a node.
    pub global: bool,
}

impl ContainerInfo {
    /// Where it is, as far as its labels say.
    pub fn place(&self) -> Place {
        let label = |name: &str| self.labels.get(name).filter(|text| is_plain(text)).cloned();
        if let Some(service) = label("com.docker.swarm.service.name") {
            // SERVICE.SLOT.TASK, or SERVICE.NODE.TASK where there is one on each node.
            let task = label("com.docker.swarm.task.name").unwrap_or_default();
            let rest = task.strip_prefix(&service).and_then(|rest| rest.strip_prefix('.'));
            let slot = rest.and_then(|rest| Some(rest.rsplit_once('.')?.0.to_owned()));
            let node = label("com.docker.swarm.node.id");
            return Place {
                global: slot.is_some() && slot == node,
                slot: slot.filter(|slot| !slot.is_empty()),
                service: Some(service),
                project: label("com.docker.stack.namespace"),
            };
        }
        Place {
            service: label("com.docker.compose.service"),
            slot: label("com.docker.compose.container-number"),
            project: label("com.docker.compose.project"),
            global: false,
        }
    }

    /// What it is known as where its name is a new one each time: `SERVICE.SLOT` or `SERVICE@NODE` for a task of Swarm,
    /// `PROJECT-SERVICE-run` for what `docker compose run` starts.
    pub fn slot(&self) -> Option<String> {
        let place = self.place();
        if self.labels.contains_key("com.docker.swarm.task.id")
            || self.labels.contains_key("com.docker.swarm.task.name")
        {
            let between = if place.global { '@' } else { '.' };
            return Some(format!("{}{between}{}", place.service?, place.slot?));
        }
        let (before, id) = self.name.rsplit_once(['_', '-'])?;
        let runs = is_short_id(id) && (before.ends_with("_run") || before.ends_with("-run"));
        runs.then_some(())?;
        Some(format!("{}-{}-run", place.project?, place.service?))
    }

    /// Its name, without the id that Compose puts before it while another container takes its place.
    pub fn lasting_name(&self) -> &str {
        match self.name.split_once('_') {
            Some((id, name)) if is_short_id(id) && !name.is_empty() && self.place().project.is_some() => name,
            _ => &self.name,
        }
    }
}

fn is_short_id(text: &str) -> bool {
    text.len() == SHORT_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a label is something to put into a name.
fn is_plain(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(name: &str, labels: &[(&str, &str)]) -> ContainerInfo {
        ContainerInfo {
            name: name.to_owned(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..ContainerInfo::default()
        }
    }

    fn task(name: &str) -> ContainerInfo {
        labelled(
            name,
            &[
                ("com.docker.swarm.service.name", "shop_web"),
                ("com.docker.swarm.task.name", name),
                ("com.docker.swarm.node.id", "n0de"),
                ("com.docker.stack.namespace", "shop"),
            ],
        )
    }

    #[test]
    fn a_task_is_its_services_slot() {
        for (name, slot) in
            [("shop_web.1.x1y2z3", Some("shop_web.1")), ("shop_web.12.q", Some("shop_web.12"))]
        {
            assert_eq!(task(name).slot().as_deref(), slot);
        }
        assert_eq!(task("shop_web.n0de.x1y2z3").slot().as_deref(), Some("shop_web@n0de"), "one on each node");
        for odd in ["shop_web", "shop_web.", "shop_web..x", "other.1.x"] {
            assert_eq!(task(odd).slot(), None, "{odd}");
        }
        let place = task("shop_web.3.x").place();
        let words = [place.service, place.slot, place.project].map(Option::unwrap_or_default);
        assert_eq!(words, ["shop_web", "3", "shop"]);
    }

    fn compose(name: &str) -> ContainerInfo {
        labelled(
            name,
            &[
                ("com.docker.compose.project", "shop"),
                ("com.docker.compose.service", "web"),
                ("com.docker.compose.container-number", "2"),
            ],
        )
    }

    #[test]
    fn composes_names_without_their_ids() {
        assert_eq!(compose("shop_web_run_0123456789ab").slot().as_deref(), Some("shop-web-run"));
        assert_eq!(compose("shop-web-run-0123456789ab").slot().as_deref(), Some("shop-web-run"));
        assert_eq!(compose("shop-web-2").slot(), None, "a name that lasts");
        assert_eq!(compose("0123456789ab_shop-web-2").lasting_name(), "shop-web-2");
        for own in ["shop-web-2", "0123_web", "0123456789ab_"] {
            assert_eq!(compose(own).lasting_name(), own);
        }
        let users = labelled("0123456789ab_shop-web-2", &[]);
        assert_eq!((users.lasting_name(), users.slot()), ("0123456789ab_shop-web-2", None));
    }

    #[test]
    fn a_label_that_is_no_word_says_nothing() {
        for odd in ["", "{slot}", "a b", "é", &"x".repeat(129)] {
            let labels = [("com.docker.compose.service", odd), ("com.docker.compose.project", "shop")];
            assert_eq!(labelled("x", &labels).place().service, None, "{odd}");
        }
    }
}
