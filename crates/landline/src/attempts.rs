//! Which of the starts that were refused is tried next, as a value.
//!
//! Each container must be the only one that starts on its networks: then it can be told. One whose start fails again, for example
//! because the LAN's DHCP server is not up yet, is tried again with growing pauses, and in the end left to its user.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landline_docker::{ContainerInfo, DockerView, Sketch};
use tokio::time::Instant;

use crate::refused_starts::RefusedStart;

/// The pause after the first failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How often a start is tried: over some three minutes.
const MOST: u32 = 8;

/// What is to be done about one start that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// The container waits for it.
    Start { id: String, name: String, token: String },
    /// It runs, is gone, or must not be started.
    Settle { token: String },
}

/// The starts under way and those that failed.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// By the container's id.
    tried: BTreeMap<String, Tried>,
    /// The containers that are starting, and their networks.
    under_way: BTreeMap<String, BTreeSet<String>>,
}

/// What is known of a container that was tried: Docker keeps the reason of its last failure only, so not the token.
#[derive(Debug)]
struct Tried {
    token: String,
    failures: u32,
    /// When it is tried again.
    at: Instant,
}

impl Attempts {
    /// The first thing to do. Nothing while Docker cannot be seen whole, because a container that was not looked at may be any;
    /// unless that has been waited for long `enough`.
    pub(crate) fn next(
        &self,
        refused: &BTreeMap<String, RefusedStart>,
        view: &DockerView,
        enough: bool,
        now: Instant,
    ) -> Option<Next> {
        if refused.is_empty() || !view.connected {
            return None;
        }
        let unknown = |sketch: &Sketch| matches!(sketch, Sketch::Name(_));
        if !enough && view.containers.values().any(unknown) {
            return None;
        }
        let gone = self
            .tried
            .iter()
            .find(|(id, tried)| refused.contains_key(&tried.token) && !view.containers.contains_key(*id));
        if let Some((_, tried)) = gone {
            return Some(Next::Settle { token: tried.token.clone() });
        }
        view.containers.values().find_map(|sketch| {
            let Sketch::Info(container) = sketch else { return None };
            let token = self.token_of(refused, container)?;
            if self.under_way.contains_key(&container.container_id) {
                return None;
            }
            // Docker 29 takes the network from a container whose start fails late; without it there is nothing to start for. One that
            // has no reason of a failure has started since then and was stopped; one that is not to restart is its user's to start.
            let waits = !container.running && !container.error.is_empty() && container.restarts;
            if !waits || container.networks.is_empty() {
                return Some(Next::Settle { token });
            }
            let early = self.tried.get(&container.container_id).is_some_and(|tried| tried.at > now);
            let busy = self.under_way.values().any(|networks| !networks.is_disjoint(&container.networks));
            let (id, name) = (container.container_id.clone(), container.name.clone());
            (!early && !busy).then_some(Next::Start { id, name, token })
        })
    }

    /// When the next one may be tried that failed.
    pub(crate) fn due(&self) -> Option<Instant> {
        let idle = self.tried.iter().filter(|(id, _)| !self.under_way.contains_key(*id));
        idle.map(|(_, tried)| tried.at).min()
    }

    /// A container's start has begun.
    pub(crate) fn begun(&mut self, refused: &BTreeMap<String, RefusedStart>, view: &DockerView, id: &str) {
        let Some(Sketch::Info(container)) = view.containers.get(id) else { return };
        self.under_way.insert(id.to_owned(), container.networks.clone());
        if let Some(token) = self.token_of(refused, container) {
            let fresh = Tried { token: token.clone(), failures: 0, at: Instant::now() };
            self.tried.entry(id.to_owned()).or_insert(fresh).token = token;
        }
    }

    /// It has ended well; the token that is settled by that.
    pub(crate) fn succeeded(&mut self, id: &str) -> Option<String> {
        self.under_way.remove(id);
        self.tried.remove(id).map(|tried| tried.token)
    }

    /// Docker went away meanwhile: what it says when it is back decides.
    pub(crate) fn interrupted(&mut self, id: &str) {
        self.under_way.remove(id);
    }

    /// It has failed. How long until it is tried again, or the token that is settled because it is not.
    pub(crate) fn failed(&mut self, id: &str, now: Instant) -> Result<Duration, Option<String>> {
        self.under_way.remove(id);
        let Some(tried) = self.tried.get_mut(id) else { return Err(None) };
        tried.failures += 1;
        if tried.failures >= MOST {
            return Err(self.tried.remove(id).map(|tried| tried.token));
        }
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(tried.failures - 1));
        tried.at = now + pause;
        Ok(pause)
    }

    /// Nobody waits for what has this token.
    pub(crate) fn settled(&mut self, token: &str) {
        self.tried.retain(|_, tried| tried.token != token);
    }

    fn token_of(
        &self,
        refused: &BTreeMap<String, RefusedStart>,
        container: &ContainerInfo,
    ) -> Option<String> {
        let said = refused.keys().find(|token| container.error.contains(token.as_str()));
        let tried = || self.tried.get(&container.container_id).map(|tried| &tried.token);
        // By a daemon of before, which may have ended in the middle of it.
        let begun = || {
            let is_it =
                |start: &&RefusedStart| start.container.as_deref() == Some(container.container_id.as_str());
            refused.values().find(is_it).map(|start| &start.token)
        };
        said.or_else(|| tried().filter(|token| refused.contains_key(*token))).or_else(begun).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(tokens: &[&str]) -> BTreeMap<String, RefusedStart> {
        tokens.iter().map(|token| ((*token).to_owned(), refusal(token))).collect()
    }

    fn refusal(token: &str) -> RefusedStart {
        RefusedStart { token: token.into(), boot: "boot".into(), at: 0, container: None }
    }

    fn stopped(id: &str, network: &str, error: &str) -> ContainerInfo {
        ContainerInfo {
            container_id: id.into(),
            name: format!("name-{id}"),
            error: error.into(),
            restarts: true,
            networks: [network.to_owned()].into(),
            ..ContainerInfo::default()
        }
    }

    fn view(containers: &[ContainerInfo]) -> DockerView {
        let containers =
            containers.iter().map(|info| (info.container_id.clone(), Sketch::Info(Box::new(info.clone()))));
        DockerView { connected: true, containers: containers.collect(), ..DockerView::default() }
    }

    fn start(id: &str, token: &str) -> Next {
        Next::Start { id: id.into(), name: format!("name-{id}"), token: token.into() }
    }

    fn settle(token: &str) -> Next {
        Next::Settle { token: token.into() }
    }

    #[test]
    fn who_was_refused_is_started_and_nobody_else() {
        let failed = "failed to create endpoint a on network lan: NetworkDriver.CreateEndpoint: … (tok-2)";
        let all =
            view(&[stopped("a", "n", "no such image"), stopped("b", "n", failed), stopped("c", "n", "")]);
        let (none, now) = (Attempts::default(), Instant::now());
        assert_eq!(none.next(&refused(&["tok-1", "tok-2"]), &all, false, now), Some(start("b", "tok-2")));
        assert_eq!(none.next(&refused(&["tok-1"]), &all, false, now), None);
        assert_eq!(none.next(&refused(&[]), &all, false, now), None);
    }

    #[test]
    fn who_runs_or_has_lost_its_network_is_left_alone() {
        let (none, now) = (Attempts::default(), Instant::now());
        let running = ContainerInfo { running: true, ..stopped("a", "n", "tok") };
        assert_eq!(none.next(&refused(&["tok"]), &view(&[running]), false, now), Some(settle("tok")));
        let lost = ContainerInfo { networks: BTreeSet::new(), ..stopped("a", "n", "tok") };
        assert_eq!(none.next(&refused(&["tok"]), &view(&[lost]), false, now), Some(settle("tok")));
    }

    #[test]
    fn who_is_not_to_restart_or_was_stopped_meanwhile_is_left_alone() {
        let now = Instant::now();
        let no_policy = ContainerInfo { restarts: false, ..stopped("a", "n", "tok") };
        let none = Attempts::default();
        assert_eq!(none.next(&refused(&["tok"]), &view(&[no_policy]), false, now), Some(settle("tok")));
        let mut attempts = Attempts::default();
        attempts.begun(&refused(&["tok"]), &view(&[stopped("a", "n", "tok")]), "a");
        let pause = attempts.failed("a", now).unwrap();
        // Its user has started it and stopped it in the pause: Docker forgets the reason of a start that failed before.
        let by_its_user = view(&[stopped("a", "n", "")]);
        assert_eq!(attempts.next(&refused(&["tok"]), &by_its_user, false, now), Some(settle("tok")));
        let later = now + pause;
        assert_eq!(attempts.next(&refused(&["tok"]), &by_its_user, false, later), Some(settle("tok")));
    }

    #[test]
    fn nothing_is_started_before_all_is_known() {
        let (none, now) = (Attempts::default(), Instant::now());
        let mut all = view(&[stopped("a", "n", "tok")]);
        all.containers.insert("b".into(), Sketch::Name("b".into()));
        assert_eq!(none.next(&refused(&["tok"]), &all, false, now), None);
        assert_eq!(none.next(&refused(&["tok"]), &all, true, now), Some(start("a", "tok")), "not for ever");
        let away = DockerView { connected: false, ..view(&[stopped("a", "n", "tok")]) };
        assert_eq!(none.next(&refused(&["tok"]), &away, false, now), None);
    }

    #[test]
    fn one_starts_at_a_time_on_a_network() {
        let tokens = refused(&["tok-a", "tok-b", "tok-c"]);
        let all = view(&[
            stopped("a", "lan", "tok-a"),
            stopped("b", "lan", "tok-b"),
            stopped("c", "other", "tok-c"),
        ]);
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        attempts.begun(&tokens, &all, "a");
        assert_eq!(attempts.next(&tokens, &all, false, now), Some(start("c", "tok-c")), "another network's");
        attempts.begun(&tokens, &all, "c");
        assert_eq!(attempts.next(&tokens, &all, false, now), None);
        assert_eq!(attempts.succeeded("a").as_deref(), Some("tok-a"));
        assert_eq!(attempts.next(&refused(&["tok-b", "tok-c"]), &all, false, now), Some(start("b", "tok-b")));
    }

    #[test]
    fn one_that_fails_is_tried_again_later_and_not_for_ever() {
        let tokens = refused(&["tok"]);
        let (mut attempts, mut now) = (Attempts::default(), Instant::now());
        attempts.begun(&tokens, &view(&[stopped("a", "lan", "tok")]), "a");
        // What Docker shows of it from now on.
        let all = view(&[stopped("a", "lan", "no DHCP server answered"), stopped("b", "lan", "")]);
        let mut pauses = Vec::new();
        loop {
            match attempts.failed("a", now) {
                Ok(pause) => {
                    pauses.push(pause.as_secs());
                    assert_eq!(attempts.next(&tokens, &all, false, now), None, "too early");
                    assert_eq!(attempts.due(), Some(now + pause));
                    now += pause;
                    assert_eq!(attempts.next(&tokens, &all, false, now), Some(start("a", "tok")));
                    attempts.begun(&tokens, &all, "a");
                }
                Err(settled) => break assert_eq!(settled.as_deref(), Some("tok")),
            }
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!((attempts.next(&tokens, &all, false, now), attempts.due()), (None, None));
    }

    #[test]
    fn one_that_a_daemon_of_before_has_begun_is_known_by_its_container() {
        let begun = RefusedStart { container: Some("a".into()), ..refusal("tok") };
        let tokens: BTreeMap<_, _> = [("tok".to_owned(), begun)].into();
        let (attempts, now) = (Attempts::default(), Instant::now());
        let all = view(&[stopped("a", "lan", "no DHCP server answered"), stopped("b", "lan", "")]);
        assert_eq!(attempts.next(&tokens, &all, false, now), Some(start("a", "tok")));
        let up = ContainerInfo { running: true, ..stopped("a", "lan", "") };
        assert_eq!(attempts.next(&tokens, &view(&[up]), false, now), Some(settle("tok")));
    }

    #[test]
    fn one_that_is_removed_meanwhile_is_settled() {
        let tokens = refused(&["tok"]);
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        attempts.begun(&tokens, &view(&[stopped("a", "lan", "tok")]), "a");
        attempts.failed("a", now).unwrap();
        assert_eq!(attempts.next(&tokens, &view(&[]), false, now), Some(settle("tok")));
        attempts.settled("tok");
        assert_eq!(attempts.due(), None);
    }
}
