//! How often what routers and servers say is stored, set up and logged.
//!
//! Anybody on the LAN can send router advertisements, as fast as the wire carries them, and a server can grant leases of a
//! second. What they change is collected, and stored and set up once in a while; the first change at once. Of what is logged
//! about one endpoint the first lines come at once, too.

use std::time::Duration;

/// The time from one store and setup of an endpoint to the next.
const PACE: Duration = Duration::from_secs(1);

/// The longest time from a setup that failed to the next attempt.
const LONGEST: Duration = Duration::from_mins(1);

/// What is to be done about a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// It is to be stored.
    Store,
    /// It is to be stored, and the link to be set up as it says.
    SetUp,
}

/// What waits for its time. Times are of one clock.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    waiting: Option<Due>,
    not_before: Duration,
    /// When a setup that failed is tried again, if nothing else has the link set up before.
    again: Option<Duration>,
    /// How many setups have failed since the last that did not.
    failures: u32,
}

impl Pace {
    /// This is to be done, now or when it is time.
    pub(crate) fn want(&mut self, due: Due) {
        self.waiting = self.waiting.max(Some(due));
    }

    /// Setting the link up failed. It is tried again after a pause, which doubles with each failure.
    pub(crate) fn failed(&mut self, now: Duration) {
        let pause = PACE.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.again = Some(now + pause);
    }

    /// The link was set up, or there is none any more.
    pub(crate) fn succeeded(&mut self) {
        (self.again, self.failures) = (None, 0);
    }

    /// What is to be done now. The caller does it, and says what became of a setup.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Due> {
        if now < self.not_before {
            return None;
        }
        if self.again.take_if(|at| *at <= now).is_some() {
            self.want(Due::SetUp);
        }
        let due = self.waiting.take();
        if due.is_some() {
            self.not_before = now + PACE;
        }
        due
    }

    /// What waits, whether or not it is time.
    pub(crate) fn take_early(&mut self) -> Option<Due> {
        let again = self.again.take().map(|_| Due::SetUp);
        self.waiting.take().max(again)
    }

    /// When there is something to be done, if nothing else comes.
    pub(crate) fn next(&self) -> Option<Duration> {
        let waiting = self.waiting.map(|_| self.not_before);
        let again = self.again.map(|at| at.max(self.not_before));
        waiting.into_iter().chain(again).min()
    }
}

/// The last of what was asked for, which is done at once if nothing was a moment ago, and else when its time has come. Times are of
/// one clock.
#[derive(Debug)]
pub(crate) struct Spaced<T> {
    waiting: Option<T>,
    not_before: Duration,
}

impl<T> Default for Spaced<T> {
    fn default() -> Self {
        Self { waiting: None, not_before: Duration::ZERO }
    }
}

impl<T> Spaced<T> {
    /// This is to be done, in the place of what waits.
    pub(crate) fn want(&mut self, value: T) {
        self.waiting = Some(value);
    }

    /// What is to be done now.
    pub(crate) fn take(&mut self, now: Duration) -> Option<T> {
        if now < self.not_before {
            return None;
        }
        let value = self.waiting.take()?;
        self.not_before = now + PACE;
        Some(value)
    }

    /// When there is something to be done, if nothing else comes.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.waiting.as_ref().map(|_| self.not_before)
    }
}

/// How many lines one endpoint may log within [`PERIOD`].
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(20);

/// How much is logged of what others on the LAN make an endpoint say. Times are of one clock.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    since: Duration,
    lines: u32,
    left_out: u32,
}

impl Quota {
    /// Whether a line about this endpoint may be logged now.
    pub(crate) fn take(&mut self, now: Duration, endpoint: &str) -> bool {
        if now >= self.since + PERIOD {
            if self.left_out > 0 {
                tracing::warn!(endpoint, lines = self.left_out, "it changed too often to log all of it");
            }
            *self = Self { since: now, ..Self::default() };
        }
        let may = self.lines < LINES;
        if may {
            self.lines += 1;
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use landline_dhcp::Instant;
    use landline_dhcp::v6::{Preference, Router, State6};
    use landline_model::{Defaults6, EndpointRecord, Ipv6Identity, Ipv6Record, Now, StateRecord};
    use landline_options::NetworkOptions;
    use landline_store::Store;
    use landline_types::Mac;

    use super::*;
    use crate::addressing::book::AddressBook;
    use crate::endpoint_state::EndpointState;
    use crate::inventory::Ledger;
    use crate::random::OsRandom;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_last_of_many_names_is_told_after_the_first() {
        let (mut names, ms) = (Spaced::default(), Duration::from_millis);
        assert_eq!((names.take(ms(5000)), names.next()), (None, None));
        names.want("web");
        assert_eq!(names.take(ms(5000)), Some("web"), "at once");
        for n in 1..=300 {
            names.want(if n == 300 { "last" } else { "another" });
            assert_eq!(names.take(ms(5000 + n)), None);
        }
        assert_eq!(names.next(), Some(ms(6000)));
        assert_eq!(names.take(ms(6000)), Some("last"));
        assert_eq!((names.take(ms(9000)), names.next()), (None, None));
    }

    #[test]
    fn the_first_is_done_at_once_and_the_rest_once_a_second() {
        let mut pace = Pace::default();
        assert_eq!((pace.take(at(0)), pace.next()), (None, None));
        pace.want(Due::Store);
        assert_eq!(pace.take(at(5)), Some(Due::Store));
        pace.want(Due::SetUp);
        pace.want(Due::Store);
        assert_eq!((pace.take(at(6)), pace.next()), (None, Some(at(1005))));
        assert_eq!(pace.take(at(1004)), None);
        assert_eq!((pace.take(at(1005)), pace.next()), (Some(Due::SetUp), None));
        assert_eq!(pace.take(at(9000)), None);
        pace.want(Due::Store);
        assert_eq!(pace.take(at(9000)), Some(Due::Store), "a quiet time is over");
        pace.want(Due::Store);
        assert_eq!(pace.take_early(), Some(Due::Store), "the end waits for nothing");
    }

    #[test]
    fn a_setup_that_failed_is_tried_again_after_pauses_that_grow() {
        let mut pace = Pace::default();
        pace.want(Due::SetUp);
        let (mut now, mut pauses) = (at(0), Vec::new());
        assert_eq!(pace.take(now), Some(Due::SetUp));
        for _ in 0..9 {
            pace.failed(now);
            let next = pace.next().unwrap();
            assert_eq!(pace.take(next.saturating_sub(at(1))), None);
            assert_eq!(pace.take(next), Some(Due::SetUp));
            pauses.push(next.saturating_sub(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        pace.failed(now);
        pace.want(Due::Store);
        assert_eq!(pace.take(now + at(1000)), Some(Due::Store), "what is new does not wait so long");
        assert_eq!(pace.next(), Some(now + at(60_000)), "and the setup is still due");
        pace.succeeded();
        assert_eq!((pace.take(now + at(90_000)), pace.next()), (None, None));
        pace.failed(now + at(90_000));
        assert_eq!(pace.next(), Some(now + at(91_000)), "the first pause is short again");
    }

    #[test]
    fn of_many_lines_the_first_are_logged_and_the_rest_are_counted() {
        let mut quota = Quota::default();
        let logged = (0..1000).filter(|n| quota.take(at(100_000 + n), "web")).count();
        assert_eq!((logged, quota.left_out), (20, 980));
        assert!(!quota.take(at(119_999), "web"));
        assert!(quota.take(at(120_000), "web"));
        assert_eq!((quota.lines, quota.left_out), (1, 0));
    }

    /// An endpoint whose record is in the store.
    async fn endpoint(n: u8, store: &Arc<Store>) -> Arc<EndpointState> {
        let mac = Mac::new([2, 0, 0, 0, 0, n]);
        let identity = Ipv6Identity::draw(mac, false, None, &mut OsRandom);
        let record: EndpointRecord = serde_json::from_value(serde_json::json!({
            "id": format!("{n:064x}"), "network": "n", "mac": mac, "link": "llc0", "prefix": "eth", "address": "none",
        }))
        .unwrap();
        let ipv6 = Ipv6Record {
            identity,
            hostname: None,
            hostname_given: false,
            told: None,
            applied: Vec::new(),
            defaults: Defaults6::default(),
            routes: Vec::new(),
            switched_on: false,
        };
        let record = EndpointRecord { ipv6: Some(ipv6), ..record };
        store.put(&record).await.unwrap();
        let options = NetworkOptions::new("br0".parse().unwrap());
        Arc::new(EndpointState::stored(
            record,
            options,
            store.clone(),
            &AddressBook::default(),
            &Ledger::default(),
        ))
    }

    /// 300 advertisements a second for 10 seconds, each with another MTU, reach 8 endpoints.
    #[tokio::test]
    async fn a_flood_costs_a_store_a_second_however_many_endpoints_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("state.redb")).unwrap();
        let store = Arc::new(store);
        let mut endpoints = Vec::new();
        for n in 0..8 {
            endpoints.push((endpoint(n, &store).await, Pace::default()));
        }
        let before = store.commits();
        let mut setups = 0;
        for (tick, mtu) in (0..3000_u64).zip((1280..=1500_u16).cycle()) {
            let now = at(tick * 10_000 / 3000);
            let until = Some(Instant::from_boot(now + Duration::from_mins(30)));
            let router =
                Router { address: "fe80::1".parse().unwrap(), preference: Preference::default(), until };
            let state = State6 { mtu: Some(mtu), routers: vec![router], ..State6::default() };
            let row = StateRecord::of(&state, "boot", Now { instant: Instant::from_boot(now), wall: 0 });
            let mut writes = tokio::task::JoinSet::new();
            for (endpoint, pace) in &mut endpoints {
                pace.want(Due::SetUp);
                if pace.take(now).is_some() {
                    setups += 1;
                    let (endpoint, row) = (endpoint.clone(), row.clone());
                    writes.spawn(async move {
                        let change = |record: &mut EndpointRecord| {
                            record.ipv6.as_mut().unwrap().identity.state = Some(row);
                        };
                        endpoint.update(change).await.unwrap();
                    });
                }
            }
            writes.join_all().await;
        }
        assert_eq!(setups, 8 * 10);
        let commits = store.commits() - before;
        assert!((10..=80).contains(&commits), "{commits} transactions");
    }
}
