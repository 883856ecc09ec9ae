//! Which networks Docker lacks, and since when, as a value.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landline_options::NetworkId;

/// What Docker has, as far as it counts here.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    /// When its lists were asked for.
    pub(super) at: Duration,
    /// Its networks, by the lists and by what happened since.
    pub(super) networks: &'a BTreeSet<NetworkId>,
}

/// The networks that Docker lacks. All times are of one clock.
#[derive(Debug, Default)]
pub(super) struct Missing(BTreeMap<NetworkId, Duration>);

impl Missing {
    /// Compares the `known` networks, each with the time of its creation, with what Docker has; `None`: that is not known
    /// now. Returns those that are newly missing.
    ///
    /// A network that was created after the lists were asked for may be too new to be in them, so only older ones are
    /// missing. Docker stores a network after it was created here; its event comes then, and the network is not
    /// missing any more.
    pub(super) fn look(
        &mut self,
        now: Duration,
        docker: Option<&Listed<'_>>,
        known: &BTreeMap<NetworkId, Duration>,
    ) -> Vec<NetworkId> {
        let Some(docker) = docker else {
            self.0.clear();
            return Vec::new();
        };
        let lacks = |id: &NetworkId| known.contains_key(id) && !docker.networks.contains(id);
        self.0.retain(|id, _| lacks(id));
        let new: Vec<NetworkId> = known
            .iter()
            .filter(|(id, created)| **created < docker.at && lacks(id) && !self.0.contains_key(id))
            .map(|(id, _)| id.clone())
            .collect();
        self.0.extend(new.iter().map(|id| (id.clone(), now)));
        new
    }

    /// Those that have been missing for this long.
    pub(super) fn due(&self, now: Duration, grace: Duration) -> Vec<NetworkId> {
        let due = self.0.iter().filter(|(_, since)| **since + grace <= now);
        due.map(|(id, _)| id.clone()).collect()
    }

    /// When the next one is due.
    pub(super) fn next(&self, grace: Duration) -> Option<Duration> {
        self.0.values().min().map(|since| *since + grace)
    }

    /// When this one is due, if it is missing.
    pub(super) fn due_at(&self, id: &NetworkId, grace: Duration) -> Option<Duration> {
        self.0.get(id).map(|since| *since + grace)
    }

    /// One that cannot be removed now is looked at again after another grace.
    pub(super) fn wait_again(&mut self, id: &NetworkId, now: Duration) {
        if let Some(since) = self.0.get_mut(id) {
            *since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_mins(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn id(name: &str) -> NetworkId {
        name.parse().unwrap()
    }

    fn known(networks: &[(&str, u64)]) -> BTreeMap<NetworkId, Duration> {
        networks.iter().map(|(name, created)| (id(name), at(*created))).collect()
    }

    fn docker(networks: &[&str]) -> BTreeSet<NetworkId> {
        networks.iter().map(|name| id(name)).collect()
    }

    #[test]
    fn a_network_that_docker_lacks_for_the_whole_grace_is_due() {
        let (mut missing, known) = (Missing::default(), known(&[("lan", 0), ("kept", 0)]));
        let has = docker(&["kept", "bridge"]);
        let listed = Listed { at: at(100), networks: &has };
        assert_eq!(missing.look(at(101), Some(&listed), &known), [id("lan")]);
        assert_eq!(missing.look(at(130), Some(&listed), &known), [], "said once");
        assert_eq!(missing.next(GRACE), Some(at(161)));
        assert_eq!(missing.due(at(160), GRACE), []);
        assert_eq!(missing.due(at(161), GRACE), [id("lan")]);
        missing.wait_again(&id("lan"), at(161));
        assert_eq!(missing.due(at(220), GRACE), []);
        assert_eq!(missing.due_at(&id("lan"), GRACE), Some(at(221)));
        assert_eq!(missing.due_at(&id("kept"), GRACE), None);
    }

    #[test]
    fn a_network_that_comes_back_stays() {
        let (mut missing, known) = (Missing::default(), known(&[("lan", 0)]));
        let (none, back) = (docker(&[]), docker(&["lan"]));
        missing.look(at(101), Some(&Listed { at: at(100), networks: &none }), &known);
        missing.look(at(150), Some(&Listed { at: at(149), networks: &back }), &known);
        assert_eq!((missing.next(GRACE), missing.due(at(300), GRACE)), (None, Vec::new()));
        // Missing again: the grace begins again.
        missing.look(at(170), Some(&Listed { at: at(169), networks: &none }), &known);
        assert_eq!(missing.due(at(229), GRACE), []);
        assert_eq!(missing.due(at(230), GRACE), [id("lan")]);
    }

    #[test]
    fn while_docker_is_away_nothing_is_missing() {
        let (mut missing, known) = (Missing::default(), known(&[("lan", 0)]));
        let none = docker(&[]);
        assert_eq!(missing.look(at(50), None, &known), []);
        missing.look(at(101), Some(&Listed { at: at(100), networks: &none }), &known);
        missing.look(at(120), None, &known);
        assert_eq!(missing.due(at(300), GRACE), []);
        missing.look(at(301), Some(&Listed { at: at(300), networks: &none }), &known);
        assert_eq!(missing.due(at(360), GRACE), []);
    }

    #[test]
    fn a_network_that_is_created_while_the_lists_are_read_is_not_missing() {
        let mut missing = Missing::default();
        let (none, has) = (docker(&[]), docker(&["new"]));
        let listed = Listed { at: at(100), networks: &none };
        assert_eq!(missing.look(at(101), Some(&listed), &known(&[("new", 100)])), []);
        assert_eq!(
            missing.look(at(500), Some(&listed), &known(&[("new", 100)])),
            [],
            "however late its event is"
        );
        // Created just before, so that Docker had not stored it when it made its list: its event tells of it.
        assert_eq!(missing.look(at(101), Some(&listed), &known(&[("new", 99)])), [id("new")]);
        missing.look(at(102), Some(&Listed { at: at(100), networks: &has }), &known(&[("new", 99)]));
        assert_eq!(missing.due(at(500), GRACE), []);
    }

    #[test]
    fn what_was_forgotten_meanwhile_is_not_due() {
        let (mut missing, none) = (Missing::default(), docker(&[]));
        let listed = Listed { at: at(100), networks: &none };
        missing.look(at(101), Some(&listed), &known(&[("lan", 0)]));
        missing.look(at(102), Some(&listed), &known(&[]));
        assert_eq!(missing.due(at(500), GRACE), []);
    }
}
