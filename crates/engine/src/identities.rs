//! Which identities there are, who holds which, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landline_leases::OsRandom;
use landline_leases::clock::wall;
use landline_links::facts_of;
use landline_model::{
    ContainerRecord, DerivedIdentity, IdentityId, IdentityRecord, KnownBy, NetworkRecord, SiteKey,
};
use landline_options::{EndpointId, IdentitySource, NetworkOptions};
use landline_store::{Store, StoreError};
use landline_types::Mac;
use tokio::time::Instant;

use crate::endpoints::random_mac;
use crate::identity::{Candidate, IdentityQuery};

/// How long an identity whose container is removed is kept while nobody uses it: 90 days, in seconds.
const IDLE: u64 = 90 * 24 * 3600;

/// How long whoever was taken for another may take to start again.
const SUSPICION: Duration = Duration::from_mins(1);

/// The most identities kept; the longest unused ones of removed containers go first.
const MOST: usize = 10_000;

/// From what identities are derived, and on which networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Derivation {
    /// The site's key; `None`: identities are drawn everywhere.
    pub key: Option<SiteKey>,
    /// Whether networks without the option `identity` have derived ones.
    pub by_default: bool,
}

impl Derivation {
    /// What identities on such a network are derived from, if they are.
    fn on(&self, options: &NetworkOptions) -> Option<&SiteKey> {
        let wanted = options.identity.map_or(self.by_default, |source| source == IdentitySource::Derived);
        self.key.as_ref().filter(|_| wanted)
    }
}

/// All identities. The lock is held for moments only; writing to the store is done outside it.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<IdentityId, IdentityRecord>,
    /// Who uses which: at most one endpoint each.
    held: BTreeMap<IdentityId, EndpointId>,
    /// Which were taken for another's by mistake, and when: whoever tries again is still not the one.
    suspected: BTreeMap<IdentityId, Instant>,
    derivation: Derivation,
}

impl Identities {
    pub(crate) fn new(records: Vec<IdentityRecord>) -> Self {
        let records = records.into_iter().map(|r| (r.id.clone(), r)).collect();
        Self { inner: Mutex::new(Inner { records, ..Inner::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The identity for an endpoint, which holds it from now on: a known one, or a fresh one that is not stored
    /// yet.
    pub(crate) fn take(
        &self,
        endpoint: &EndpointId,
        network: &NetworkRecord,
        query: &IdentityQuery<'_>,
    ) -> IdentityRecord {
        let mut inner = self.lock();
        inner.suspected.retain(|_, since| since.elapsed() < SUSPICION);
        let held = inner.withheld();
        let known = query.choose(inner.records.values(), &held);
        let known = known.filter(|known| !inner.lives(known.mac, known.client_id.as_deref())).cloned();
        let fresh = |inner: &Inner| {
            let derives = inner.derivation.on(&network.options).is_some();
            let mut made = fresh(network, query, inner.derived(network, query, &held), derives);
            // Of several that show one key at once, the first has it for good.
            made.temporary |= query.key.is_some_and(|key| inner.is_shown(key, query));
            made
        };
        tracing::debug!(endpoint = %endpoint.short(), candidates = ?query.candidates, known = ?known.as_ref().map(|i| &i.id), "identity");
        let mut identity = known.unwrap_or_else(|| fresh(&inner));
        if facts_of(identity.mode).shares_mac() && !facts_of(network.options.mode).shares_mac() {
            // It had the parent's hardware address, which is no use to a link of its own.
            identity =
                IdentityRecord { id: identity.id.clone(), container: identity.container, ..fresh(&inner) };
        }
        // Compose recreates networks; the identity moves along.
        identity.follow(network);
        identity.used = wall();
        if let Some(ports) = query.ports {
            // Its image may be another one by now.
            identity.ports.clone_from(ports);
        }
        // A fresh one of somebody who cannot be told is known by what is seen of it later.
        identity.known_by = query.known_by(&identity, inner.records.contains_key(&identity.id));
        inner.held.insert(identity.id.clone(), endpoint.clone());
        identity
    }

    /// From now on identities are derived like this. Those that there are stay as they are.
    pub(crate) fn derive(&self, derivation: Derivation) {
        self.lock().derivation = derivation;
    }

    /// Who the container of this key or name is on such a network, if identities are derived there.
    pub(crate) fn derived(&self, network: &NetworkRecord, key: &str) -> Option<DerivedIdentity> {
        let name = network.name.as_deref()?;
        Some(self.lock().derivation.on(&network.options)?.identity(name, key))
    }

    /// The identity that the container of this key or name has on a network, if it has one for good.
    pub(crate) fn of(&self, network: &NetworkRecord, name: &str) -> Option<IdentityRecord> {
        let inner = self.lock();
        let of_network = |identity: &&IdentityRecord| {
            let named = network.name.is_some() && identity.network_name == network.name;
            identity.parent == network.options.parent && (identity.network == network.id || named)
        };
        let lasting = inner.records.values().filter(|identity| !identity.temporary).filter(of_network);
        let keyed = lasting.clone().filter(|identity| identity.key.as_deref() == Some(name));
        let called = |identity: &&IdentityRecord| {
            identity.key.is_none()
                && identity.container.as_ref().is_some_and(|c| c.name == name || c.called().text == name)
        };
        let newest = keyed.max_by_key(|identity| identity.used);
        newest.or_else(|| lasting.filter(called).max_by_key(|identity| identity.used)).cloned()
    }

    /// The container that is starting, if only one can be.
    pub(crate) fn starting(&self, query: &IdentityQuery<'_>) -> Option<Candidate> {
        let inner = self.lock();
        let held: BTreeSet<IdentityId> = inner.held.keys().cloned().collect();
        query.starting(inner.records.values(), &held).cloned()
    }

    /// How many containers may be the one that is starting, where Docker cannot be seen and nothing tells them apart.
    pub(crate) fn possible(&self, query: &IdentityQuery<'_>) -> usize {
        let inner = self.lock();
        let held = inner.withheld();
        query.possible(inner.records.values(), &held)
    }

    /// Whether nothing tells which container is starting.
    pub(crate) fn is_unsure(&self, query: &IdentityQuery<'_>) -> bool {
        let inner = self.lock();
        let held = inner.withheld();
        query.is_unsure(inner.records.values(), &held)
    }

    /// What the container that is starting is called, if only one can be.
    pub(crate) fn expected(&self, query: &IdentityQuery<'_>) -> Option<String> {
        let inner = self.lock();
        let held: BTreeSet<IdentityId> = inner.held.keys().cloned().collect();
        query.expected(inner.records.values(), &held).map(|called| called.to_string())
    }

    /// An endpoint that is there again after a restart holds its identity again.
    pub(crate) fn claim(&self, id: &IdentityId, endpoint: &EndpointId) {
        self.lock().held.insert(id.clone(), endpoint.clone());
    }

    /// Holds it for `endpoint` unless somebody does already.
    pub(crate) fn claim_if_free(&self, id: &IdentityId, endpoint: &EndpointId) -> Option<IdentityRecord> {
        let mut inner = self.lock();
        if inner.held.contains_key(id) {
            return None;
        }
        let record = inner.records.get(id)?.clone();
        inner.held.insert(id.clone(), endpoint.clone());
        Some(record)
    }

    /// It was given to somebody who it does not belong to; for a while nobody is given it on suspicion.
    pub(crate) fn suspect(&self, id: &IdentityId) {
        self.lock().suspected.insert(id.clone(), Instant::now());
    }

    /// Nobody holds it any more.
    pub(crate) fn release(&self, id: &IdentityId) {
        self.lock().held.remove(id);
    }

    /// A copy of an identity.
    pub(crate) fn get(&self, id: &IdentityId) -> Option<IdentityRecord> {
        self.lock().records.get(id).cloned()
    }

    /// Who holds it.
    pub(crate) fn holder(&self, id: &IdentityId) -> Option<EndpointId> {
        self.lock().held.get(id).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<IdentityRecord> {
        self.lock().records.values().cloned().collect()
    }

    /// Remembers a record that is in the store (or is about to be).
    pub(crate) fn keep(&self, record: IdentityRecord) {
        self.lock().records.insert(record.id.clone(), record);
    }

    /// Its endpoint has ended and so does it: it speaks for no container any more, and `holder` sees it off.
    pub(crate) fn retire(&self, id: &IdentityId, holder: EndpointId) {
        let mut inner = self.lock();
        if let Some(record) = inner.records.get_mut(id) {
            record.container = None;
        }
        inner.held.insert(id.clone(), holder);
    }

    /// Changes a record and returns it as it is now, if that changed it.
    pub(crate) fn change(
        &self,
        id: &IdentityId,
        change: impl FnOnce(&mut IdentityRecord),
    ) -> Option<IdentityRecord> {
        let mut inner = self.lock();
        let record = inner.records.get_mut(id)?;
        let before = record.clone();
        change(record);
        (*record != before).then(|| record.clone())
    }

    /// Gives an identity the key that its user has just shown, unless it has one or another has it. Whether it did.
    pub(crate) fn claim_key(&self, id: &IdentityId, key: &str) -> bool {
        let mut inner = self.lock();
        let Some(own) = inner.records.get(id) else { return false };
        let same_lan = |other: &&IdentityRecord| other.parent == own.parent && other.id != own.id;
        let taken = inner.records.values().filter(same_lan).any(|other| other.key.as_deref() == Some(key));
        if taken || own.key.as_deref().is_some_and(|own| own != key) {
            return false;
        }
        if let Some(own) = inner.records.get_mut(id) {
            own.key = Some(key.to_owned());
        }
        true
    }

    /// The identity of this id, else all that have this key.
    pub(crate) fn named(&self, name: &str) -> Vec<IdentityId> {
        let inner = self.lock();
        if let Some(id) = name.parse().ok().filter(|id| inner.records.contains_key(id)) {
            return vec![id];
        }
        let keyed = inner.records.values().filter(|record| record.key.as_deref() == Some(name));
        keyed.map(|record| record.id.clone()).collect()
    }

    /// Forgets a record nobody holds; `None` if there is no such, or it is held.
    pub(crate) fn forget(&self, id: &IdentityId) -> Option<IdentityRecord> {
        let mut inner = self.lock();
        if inner.held.contains_key(id) { None } else { inner.records.remove(id) }
    }

    /// The endpoint's container is known now. Returns the record to store, if that changed one.
    ///
    /// An identity without a container becomes that container's, derived or drawn, unless the container has one already: then it is
    /// temporary, and the older one stays for the next start that can be told apart. One that belongs to another
    /// container (the choice was wrong) is left to that container.
    pub(crate) fn confirm(
        &self,
        id: &IdentityId,
        query: &IdentityQuery<'_>,
        options: &NetworkOptions,
        container: &ContainerRecord,
    ) -> Option<IdentityRecord> {
        let mut inner = self.lock();
        let derives = inner.derivation.on(options).is_some();
        let own = inner.records.get(id)?;
        let keyed = own.key.is_some();
        let theirs = own.container.as_ref();
        let same = theirs.is_some_and(|c| c.id == container.id || c.called() == container.called());
        if theirs.is_some() && !same && !keyed {
            tracing::warn!(identity = %id, container = container.name, "this container has the identity of another");
            return None;
        }
        let has_another = |other: &&IdentityRecord| {
            let c = other.container.as_ref();
            other.id != *id
                && !other.temporary
                && other.key.is_none()
                && query.same_network(other)
                && c.is_some_and(|c| c.id == container.id || c.called() == container.called())
        };
        // Derived for another container, which starts later and is to have it then.
        let borrowed = own.derived.as_ref().is_some_and(|name| !keyed && *name != container.called().text);
        // What was found out once stays so when more of the container becomes known.
        let temporary = match theirs {
            Some(_) => own.temporary,
            // Its network had no name yet: the next start derives its own.
            None if derives && !keyed && own.network_name.is_none() => true,
            // Another has its key as well, or its network had no name yet.
            None if keyed => own.temporary,
            None => own.temporary || borrowed || inner.records.values().any(|r| has_another(&r)),
        };
        let record = inner.records.get_mut(id)?;
        let before = record.clone();
        record.container = Some(container.clone());
        record.temporary = temporary;
        record.known_by = record.known_by.or(Some(KnownBy::Events));
        record.destroyed = false;
        (*record != before).then(|| record.clone())
    }

    /// What is old or too much and held by nobody: taken out, to be removed from the store.
    pub(crate) fn sweep(&self) -> Vec<IdentityId> {
        let mut inner = self.lock();
        let now = wall();
        let nobodys = |r: &IdentityRecord| r.container.is_none() && r.key.is_none();
        let free = |inner: &Inner, r: &IdentityRecord| {
            (r.destroyed || nobodys(r)) && !inner.held.contains_key(&r.id)
        };
        let mut idle: Vec<(u64, IdentityId)> =
            inner.records.values().filter(|r| free(&inner, r)).map(|r| (r.used, r.id.clone())).collect();
        idle.sort();
        let excess = inner.records.len().saturating_sub(MOST);
        let old = idle.iter().filter(|(used, _)| used.saturating_add(IDLE) < now).count();
        let gone: Vec<IdentityId> = idle.into_iter().take(old.max(excess)).map(|(_, id)| id).collect();
        for id in &gone {
            inner.records.remove(id);
        }
        gone
    }
}

impl Inner {
    /// The identities that are given to nobody on suspicion: those in use, and those that were taken for another's just now.
    fn withheld(&self) -> BTreeSet<IdentityId> {
        let suspected = self.suspected.iter().filter(|(_, since)| since.elapsed() < SUSPICION);
        self.held.keys().chain(suspected.map(|(id, _)| id)).cloned().collect()
    }

    /// Whether somebody on the network uses the identity of this key now.
    fn is_shown(&self, key: &str, query: &IdentityQuery<'_>) -> bool {
        let held = self.held.keys().filter_map(|id| self.records.get(id));
        held.filter(|other| query.same_network(other)).any(|other| other.key.as_deref() == Some(key))
    }

    /// What the site's key makes of the container that is starting, and by which name, if only one can be and no other
    /// container of this host is that one already.
    fn derived(
        &self,
        network: &NetworkRecord,
        query: &IdentityQuery<'_>,
        held: &BTreeSet<IdentityId>,
    ) -> Option<(String, DerivedIdentity)> {
        let site = self.derivation.on(&network.options)?;
        if query.mac.is_some() {
            return None;
        }
        let called = || query.name.or_else(|| query.expected(self.records.values(), held));
        let key = query.key.or_else(|| called().map(|called| called.text))?;
        let identity = site.identity(network.name.as_deref()?, key);
        let (mac, client_id) = (identity.mac, identity.client_id());
        // One that another container of this host has for good is that container's.
        let is_kept = |other: &IdentityRecord| {
            let kept = !other.temporary && !other.destroyed && other.container.is_some();
            kept && (other.mac == mac || other.client_id.as_ref() == Some(&client_id))
        };
        let free = !self.lives(mac, Some(&client_id)) && !self.records.values().any(is_kept);
        free.then(|| (key.to_owned(), identity))
    }

    /// Whether somebody has this derived hardware address or client identifier now.
    fn lives(&self, mac: Mac, client_id: Option<&[u8]>) -> bool {
        let has = |other: &IdentityRecord| {
            let shared = facts_of(other.mode).shares_mac();
            (!shared && other.mac == mac) || (client_id.is_some() && other.client_id.as_deref() == client_id)
        };
        self.held
            .keys()
            .filter_map(|id| self.records.get(id))
            .any(|other| other.derived.is_some() && has(other))
    }
}

/// A new identity: the derived one, or one that is drawn.
fn fresh(
    network: &NetworkRecord,
    query: &IdentityQuery<'_>,
    derived: Option<(String, DerivedIdentity)>,
    derives: bool,
) -> IdentityRecord {
    let (from, derived) = derived.unzip();
    let unnamed = derives && network.name.is_none() && query.mac.is_none();
    let mac = query.mac.or(derived.as_ref().map(|d| d.mac)).unwrap_or_else(random_mac);
    IdentityRecord {
        client_id: derived.as_ref().map(DerivedIdentity::client_id),
        key: query.key.map(ToOwned::to_owned),
        ipv6: derived.as_ref().map(DerivedIdentity::ipv6),
        ports: query.ports.cloned().unwrap_or_default(),
        // Derived at the next start, when the network's name is known.
        temporary: unnamed,
        used: wall(),
        derived: from,
        made: Some(wall()),
        ..IdentityRecord::on(network, IdentityId::random(&mut OsRandom), mac)
    }
}

/// Writes a record if there is one; a failure is logged, because the identity itself is good.
pub(crate) async fn write(store: &Arc<Store>, record: Option<IdentityRecord>) {
    let Some(record) = record else { return };
    report(store.put(&record).await);
}

/// Removes a record.
pub(crate) async fn erase(store: &Arc<Store>, id: IdentityId) {
    report(store.remove::<IdentityRecord>(&id).await);
}

fn report(written: Result<(), StoreError>) {
    if let Err(error) = written {
        tracing::warn!(error = %landline_types::chain(&error), "an identity could not be stored");
    }
}

#[cfg(test)]
mod tests;
