//! What happened: the last events, in memory and in the store.
//!
//! Whoever sees something happen notes it, which costs no system call and never waits. Equal events in a row are one with a count, and of
//! one endpoint only a few of a kind are kept apart, so that a LAN on which something goes wrong all the time does not push out what
//! happened elsewhere. A task writes what is new, at most once a second; renewals alone are no reason to write.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use landline_links::mark::is_implicit;
use landline_model::{EventKind, EventRecord};
use landline_options::{EndpointId, NetworkId};
use landline_store::{Batch, Store};
use landline_types::chain;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::inventory::Ledger;

/// How many events are kept.
const MOST: usize = 1000;
/// Equal events within this time are one, in milliseconds.
const SAME: u64 = 10 * 60 * 1000;
/// Renewals within this time are one.
const SAME_RENEWAL: u64 = 24 * 60 * 60 * 1000;
/// How many events of a kind are kept apart for one endpoint within [`SAME`].
const APART: usize = 4;
/// How long what happened is gathered before it is written. Until then the names of a container that has just started become
/// known.
const GATHER: Duration = Duration::from_secs(1);
/// The longest detail, in characters.
const LONGEST: usize = 300;

/// Something that happens now.
#[derive(Debug, Clone)]
pub struct Happened {
    kind: EventKind,
    endpoint: Option<EndpointId>,
    container: Option<String>,
    network: Option<NetworkId>,
    address: Option<IpAddr>,
    detail: Option<String>,
}

impl Happened {
    /// This, to nobody in particular.
    pub fn new(kind: EventKind) -> Self {
        Self { kind, endpoint: None, container: None, network: None, address: None, detail: None }
    }

    /// To this endpoint, on this network.
    #[must_use]
    pub fn to(mut self, endpoint: &EndpointId, network: &NetworkId) -> Self {
        (self.endpoint, self.network) = (Some(endpoint.clone()), Some(network.clone()));
        self
    }

    /// To the container of this name.
    #[must_use]
    pub fn container(mut self, name: &str) -> Self {
        self.container = Some(name.to_owned());
        self
    }

    /// About this address.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpAddr>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// For this reason, or with these words.
    #[must_use]
    pub fn because(mut self, detail: impl AsRef<str>) -> Self {
        self.detail = Some(detail.as_ref().chars().take(LONGEST).collect());
        self
    }
}

/// An event, and where it stands among all changes of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Counts changes since the daemon started: an event that happens again has a new one.
    pub revision: u64,
    /// The event.
    pub event: EventRecord,
}

/// The last events.
#[derive(Debug, Default)]
pub struct History {
    state: Mutex<State>,
    /// The latest revision.
    latest: watch::Sender<u64>,
    /// Counts reasons to write.
    urgent: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The oldest first, in the order of their numbers.
    events: VecDeque<Noted>,
    next: u64,
    revision: u64,
    /// What the file does not have yet, and what it has too much, by number.
    changed: BTreeSet<String>,
    dropped: BTreeSet<String>,
}

impl History {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with what was stored.
    pub(crate) fn resume(&self, mut events: Vec<EventRecord>) {
        events.sort_by(|a, b| a.number.cmp(&b.number));
        let mut state = self.state();
        let last = events.last().and_then(|event| event.number.parse::<u64>().ok());
        state.next = last.map_or(0, |last| last.saturating_add(1));
        state.events = events.into_iter().map(|event| Noted { revision: 0, event }).collect();
        state.trim();
    }

    /// Something happens now.
    pub fn note(&self, happened: Happened) {
        self.note_at(happened, wall_ms());
    }

    fn note_at(&self, happened: Happened, now: u64) {
        let mut state = self.state();
        state.revision += 1;
        let revision = state.revision;
        let again = state.same(&happened, now).map(|again| {
            again.revision = revision;
            let event = &mut again.event;
            (event.at_ms, event.count) = (now, event.count.saturating_add(1));
            (event.address, event.detail) = (happened.address, happened.detail.clone());
            if event.endpoint != happened.endpoint {
                (event.endpoint, event.container) = (happened.endpoint.clone(), happened.container.clone());
            }
            event.number.clone()
        });
        let urgent = again.is_none();
        let number = again.unwrap_or_else(|| state.add(happened, revision, now));
        state.changed.insert(number);
        state.trim();
        // Before another thread has a later revision.
        self.latest.send_replace(revision);
        drop(state);
        if urgent {
            self.urgent.send_modify(|urgent| *urgent += 1);
        }
    }

    /// Another receiver of the latest revision.
    pub fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The events that changed after this revision, the latest change last; those of former daemons have revision 0 and are there if
    /// `after` is `None`.
    pub fn read(&self, after: Option<u64>, ledger: &Ledger) -> Vec<Noted> {
        let mut state = self.state();
        state.name(ledger);
        let wanted = |noted: &&Noted| after.is_none_or(|after| noted.revision > after);
        let mut found: Vec<Noted> = state.events.iter().filter(wanted).cloned().collect();
        found.sort_by_key(|noted| noted.event.at_ms);
        found
    }

    /// Writes what the file does not have yet, if there is anything.
    pub async fn write(&self, store: &Store, ledger: &Ledger) {
        let Some((batch, changed, dropped)) = self.state().take_changes(ledger) else { return };
        if let Err(error) = store.write(batch).await {
            tracing::warn!(error = %chain(&error), "events could not be stored");
            // With what happens next.
            self.put_back(changed, dropped);
        }
    }

    /// These are not written after all.
    fn put_back(&self, changed: BTreeSet<String>, dropped: BTreeSet<String>) {
        let mut state = self.state();
        state.changed.extend(changed);
        state.dropped.extend(dropped);
    }

    /// Writes what is new, until `cancel`.
    pub(crate) async fn follow(
        self: Arc<Self>,
        store: Arc<Store>,
        ledger: Ledger,
        cancel: CancellationToken,
    ) {
        let mut urgent = self.urgent.subscribe();
        // Something may have happened before this task began.
        urgent.mark_changed();
        loop {
            let ended = tokio::select! {
                changed = urgent.changed() => changed.is_err(),
                () = cancel.cancelled() => true,
            };
            // More may come with it.
            let gathered = cancel.run_until_cancelled(tokio::time::sleep(GATHER)).await;
            urgent.mark_unchanged();
            self.write(&store, &ledger).await;
            if ended || gathered.is_none() {
                return;
            }
        }
    }
}

impl State {
    /// The event that this one is one with.
    fn same(&mut self, happened: &Happened, now: u64) -> Option<&mut Noted> {
        let span = if happened.kind == EventKind::LeaseRenewed { SAME_RENEWAL } else { SAME };
        // A container that is started again and again has another endpoint each time, and the same address.
        let at_same_address = |event: &EventRecord| {
            happened.address.is_some()
                && event.address == happened.address
                && event.network_id == happened.network
        };
        let like = |event: &EventRecord| {
            event.kind == happened.kind
                && (event.endpoint == happened.endpoint || at_same_address(event))
                && (happened.container.is_none() || event.container == happened.container)
                && now.saturating_sub(event.first_ms) < span
        };
        let family = |address: Option<IpAddr>| address.map(|address| address.is_ipv4());
        let (mut latest, mut apart) = (None, 0);
        for (at, noted) in self.events.iter().enumerate().rev().filter(|(_, noted)| like(&noted.event)) {
            if noted.event.address == happened.address {
                return self.events.get_mut(at);
            }
            if family(noted.event.address) == family(happened.address) {
                latest = latest.or(Some(at));
                apart += 1;
            }
        }
        latest.filter(|_| apart >= APART).and_then(|at| self.events.get_mut(at))
    }

    /// Adds an event; its number.
    fn add(&mut self, happened: Happened, revision: u64, now: u64) -> String {
        let number = format!("{:020}", self.next);
        self.next = self.next.saturating_add(1);
        let Happened { kind, endpoint, container, network, address, detail } = happened;
        let event = EventRecord {
            number: number.clone(),
            kind,
            first_ms: now,
            at_ms: now,
            count: 1,
            endpoint,
            container,
            network_id: network,
            network: None,
            address,
            detail,
        };
        self.events.push_back(Noted { revision, event });
        number
    }

    fn trim(&mut self) {
        while self.events.len() > MOST
            && let Some(oldest) = self.events.pop_front()
        {
            self.changed.remove(&oldest.event.number);
            self.dropped.insert(oldest.event.number);
        }
    }

    /// Gives containers and networks the names that have become known.
    fn name(&mut self, ledger: &Ledger) {
        let all = ledger.read();
        for noted in &mut self.events {
            let event = &mut noted.event;
            let present = event.endpoint.as_ref().and_then(|id| all.endpoints.get(id));
            let container = present.and_then(|present| present.record.container.as_ref());
            if event.container.is_none()
                && let Some(container) = container
            {
                event.container = Some(container.name.clone());
                self.changed.insert(event.number.clone());
            }
            let network = event.network_id.as_ref().filter(|id| event.network.is_none() && !is_implicit(id));
            if let Some(name) =
                network.and_then(|id| all.networks.get(id)).and_then(|network| network.name.clone())
            {
                event.network = Some(name);
                self.changed.insert(event.number.clone());
            }
        }
    }

    /// What is to be written, and the numbers of the events that it writes and removes.
    fn take_changes(&mut self, ledger: &Ledger) -> Option<(Batch, BTreeSet<String>, BTreeSet<String>)> {
        self.name(ledger);
        if self.changed.is_empty() && self.dropped.is_empty() {
            return None;
        }
        let (changed, dropped) = (std::mem::take(&mut self.changed), std::mem::take(&mut self.dropped));
        let events = self.events.iter().filter(|noted| changed.contains(&noted.event.number));
        let batch = events.fold(Batch::default(), |batch, noted| batch.put(&noted.event));
        let batch = dropped.iter().fold(batch, |batch, number| batch.remove::<EventRecord>(number));
        Some((batch, changed, dropped))
    }
}

fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn endpoint(n: usize) -> EndpointId {
        format!("{n:064x}").parse().unwrap()
    }

    /// Each endpoint has addresses of its own.
    fn event(kind: EventKind, n: usize, last: u8) -> Happened {
        let network = "n".repeat(64).parse().unwrap();
        let [.., high, low] = n.to_be_bytes();
        Happened::new(kind).to(&endpoint(n), &network).address([10, high, low, last])
    }

    fn counts(history: &History) -> Vec<(EventKind, u64)> {
        let events = history.read(None, &Ledger::default());
        events.into_iter().map(|noted| (noted.event.kind, noted.event.count)).collect()
    }

    #[test]
    fn equal_events_are_one_for_a_while() {
        let history = History::default();
        for now in [0, 1000, SAME - 1, SAME, SAME + 1] {
            history.note_at(event(EventKind::Conflict, 1, 7), now);
        }
        history.note_at(event(EventKind::Conflict, 2, 7), SAME + 2);
        assert_eq!(counts(&history), [3, 2, 1].map(|count| (EventKind::Conflict, count)));
        let renewed = History::default();
        for hour in 0..30 {
            renewed.note_at(event(EventKind::LeaseRenewed, 1, 7), hour * DAY / 24);
        }
        assert_eq!(counts(&renewed), [24, 6].map(|count| (EventKind::LeaseRenewed, count)));
    }

    #[test]
    fn a_flood_at_one_container_does_not_push_out_what_happened_to_others() {
        let history = History::default();
        history.note_at(event(EventKind::LeaseAcquired, 2, 9), 0);
        for n in 0..100_000_u32 {
            history.note_at(event(EventKind::Conflict, 1, u8::try_from(n % 250).unwrap()), 1);
        }
        let found = counts(&history);
        assert_eq!(found.len(), 1 + APART);
        assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 100_001);
        for n in 0..5 * MOST {
            history.note_at(event(EventKind::Conflict, n, 7), 2);
        }
        assert_eq!(counts(&history).len(), MOST);
    }

    #[test]
    fn a_container_that_starts_again_and_again_does_not_push_out_what_happened_to_others() {
        let history = History::default();
        history.note_at(event(EventKind::LeaseAcquired, 2, 9), 0);
        let network = "n".repeat(64).parse().unwrap();
        for n in 10..10 + 5 * MOST {
            let again = Happened::new(EventKind::LeaseAcquired).to(&endpoint(n), &network);
            history.note_at(again.address([192, 0, 2, 7]), 1);
        }
        let found: Vec<_> =
            history.read(None, &Ledger::default()).into_iter().map(|noted| noted.event).collect();
        let last = (found.len(), found[1].count, found[1].endpoint.clone());
        assert_eq!(last, (2, 5 * MOST as u64, Some(endpoint(10 + 5 * MOST - 1))));
        let elsewhere =
            Happened::new(EventKind::LeaseAcquired).to(&endpoint(1), &"m".repeat(64).parse().unwrap());
        history.note_at(elsewhere.address([192, 0, 2, 7]), 1);
        assert_eq!(counts(&history).len(), 3, "another network may have the same address");
    }

    #[test]
    fn the_latest_revision_never_goes_back() {
        let history = Arc::<History>::default();
        let mut latest = history.latest();
        std::thread::scope(|scope| {
            let notes: Vec<_> = (0..4)
                .map(|n| {
                    let history = history.clone();
                    scope.spawn(move || {
                        (0..5000).for_each(|_| history.note_at(event(EventKind::Conflict, n, 7), 1));
                    })
                })
                .collect();
            let mut last = 0;
            while !notes.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                let now = *latest.borrow_and_update();
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
        });
        assert_eq!(*history.latest().borrow(), 20_000);
    }

    #[test]
    fn who_follows_sees_an_event_again_when_it_happens_again() {
        let history = History::default();
        let ledger = Ledger::default();
        history.note_at(event(EventKind::LeaseAcquired, 1, 7), 0);
        history.note_at(event(EventKind::Conflict, 1, 7), 1);
        let seen = history.read(Some(0), &ledger);
        assert_eq!(seen.iter().map(|noted| noted.revision).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(history.read(Some(2), &ledger), []);
        history.note_at(event(EventKind::Conflict, 1, 7), 2);
        let again = history.read(Some(2), &ledger);
        assert_eq!((again.len(), again[0].revision, again[0].event.count), (1, 3, 2));
        assert_eq!(*history.latest().borrow(), 3);
    }

    /// A store, its history, and the task that writes.
    fn written(
        path: &std::path::Path,
    ) -> (Arc<Store>, Arc<History>, CancellationToken, tokio::task::JoinHandle<()>) {
        let (store, mut rows) = Store::open(path).unwrap();
        let (store, history) = (Arc::new(store), Arc::<History>::default());
        history.resume(rows.take());
        let cancel = CancellationToken::new();
        let task = tokio::spawn(history.clone().follow(store.clone(), Ledger::default(), cancel.clone()));
        (store, history, cancel, task)
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_few_writes_and_what_is_written_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let (store, history, cancel, task) = written(&path);
        store.break_after(usize::MAX);
        for second in 0..60_u64 {
            for n in 0..100 {
                history.note_at(event(EventKind::Conflict, n, 7), second * 1000);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!((1..=3).contains(&store.written()), "{} writes", store.written());
        for minute in 0..60 {
            history.note_at(event(EventKind::LeaseRenewed, 1, 7), minute * 60_000);
            tokio::time::sleep(Duration::from_mins(1)).await;
        }
        assert!(store.written() <= 5, "{} writes", store.written());
        cancel.cancel();
        task.await.unwrap();
        drop((store, history));
        let (_store, history, ..) = written(&path);
        let found = counts(&history);
        assert_eq!(found.len(), 101);
        assert_eq!(found.last(), Some(&(EventKind::LeaseRenewed, 60)), "the end writes what is left");
        history.note_at(event(EventKind::DockerGone, 1, 1), DAY);
        let last = history.read(Some(0), &Ledger::default());
        assert_eq!(last[0].event.number, format!("{:020}", 101), "numbers go on");
    }

    #[test]
    fn what_could_not_be_written_or_removed_is_tried_again() {
        let (history, ledger) = (History::default(), Ledger::default());
        for n in 0..MOST + 10 {
            history.note_at(event(EventKind::Conflict, n, 7), 0);
        }
        let taken = || history.state().take_changes(&ledger).map(|(_, changed, dropped)| (changed, dropped));
        let (changed, dropped) = taken().unwrap();
        assert_eq!((changed.len(), dropped.len()), (MOST, 10));
        assert_eq!(taken(), None);
        history.put_back(changed.clone(), dropped.clone());
        assert_eq!(taken(), Some((changed, dropped)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_pushed_out_is_removed_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let (store, history, cancel, task) = written(&path);
        for n in 0..MOST + 10 {
            history.note_at(event(EventKind::Conflict, n, 7), 0);
            if n == MOST / 2 {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        }
        cancel.cancel();
        task.await.unwrap();
        drop((store, history));
        let (_store, mut rows) = Store::open(&path).unwrap();
        let rows: Vec<EventRecord> = rows.take();
        assert_eq!((rows.len(), &*rows[0].number), (MOST, &*format!("{:020}", 10)));
    }
}
