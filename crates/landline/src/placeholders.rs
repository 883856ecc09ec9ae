//! `{service}`, `{slot}` and `{project}` in what a user says about an endpoint: where an orchestrator has put the container.

use std::collections::BTreeMap;

use landline_docker::Place;

/// The options in which they stand for something.
const OPTIONS: [&str; 5] =
    ["landline.id", "client_id", "landline.client_id", "hostname", "landline.hostname"];

/// Whether a container's place has to be known to read these options.
pub(crate) fn any(options: &BTreeMap<String, String>) -> bool {
    OPTIONS
        .iter()
        .filter_map(|name| options.get(*name))
        .any(|value| words(&Place::default(), value).is_none())
}

/// Puts the container's own words in. An option for which one is missing goes, because half of it would be somebody else's;
/// those are returned.
pub(crate) fn fill(options: &mut BTreeMap<String, String>, place: Option<&Place>) -> Vec<&'static str> {
    let nowhere = Place::default();
    let place = place.unwrap_or(&nowhere);
    let mut missing = Vec::new();
    for name in OPTIONS {
        let Some(value) = options.get_mut(name) else { continue };
        match words(place, value) {
            // No DNS name has an underscore.
            Some(whole) if name.ends_with("hostname") && whole != *value => *value = whole.replace('_', "-"),
            Some(whole) => *value = whole,
            None => {
                options.remove(name);
                missing.push(name);
            }
        }
    }
    missing
}

/// The text with the words in; `None` if it has one that is not known.
fn words(place: &Place, text: &str) -> Option<String> {
    let all = [("{service}", &place.service), ("{slot}", &place.slot), ("{project}", &place.project)];
    all.into_iter().try_fold(text.to_owned(), |text, (placeholder, word)| {
        if !text.contains(placeholder) {
            return Some(text);
        }
        Some(text.replace(placeholder, word.as_deref()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn place() -> Place {
        let word = |text: &str| Some(text.to_owned());
        Place { service: word("my_web"), slot: word("3"), project: word("shop"), ..Place::default() }
    }

    #[test]
    fn a_replica_has_its_own_words() {
        let mut all = options(&[
            ("landline.id", "{project}/{service}.{slot}"),
            ("client_id", "{slot}-{mac}"),
            ("hostname", "{service}-{slot}"),
            ("com.docker.network.x", "{slot}"),
        ]);
        assert!(any(&all));
        assert_eq!(fill(&mut all, Some(&place())), [""; 0]);
        let whole = [
            ("landline.id", "shop/my_web.3"),
            ("client_id", "3-{mac}"),
            ("hostname", "my-web-3"),
            ("com.docker.network.x", "{slot}"),
        ];
        assert_eq!(all, options(&whole));
        assert!(!any(&all));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut all = options(&[("landline.id", "{slot}"), ("hostname", "web")]);
        assert_eq!(fill(&mut all, None), ["landline.id"]);
        assert_eq!(all, options(&[("hostname", "web")]));
        let mut unlabelled = options(&[("hostname", "{service}")]);
        let place = Place { service: None, ..place() };
        assert_eq!(fill(&mut unlabelled, Some(&place)), ["hostname"]);
    }
}
