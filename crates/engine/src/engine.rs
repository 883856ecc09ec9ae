//! The engine itself: its endpoints, how it starts, and how it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use landline_leases::ipv6::Status6;
use landline_leases::{
    EndpointState, Foundation, Inventory, Ledger, Networks, Noted, Orders, Services, Status, Supervised,
};
use landline_links::{BridgeMacs, Host};
use landline_options::EndpointId;
use landline_store::Store;
use landline_types::IfName;
use tokio::sync::{OwnedMutexGuard, watch};

use crate::admission::Admission;
use crate::identities::{Derivation, Identities};
use crate::late::Late;
use crate::parent_links::ParentLinks;
use crate::release::Releaser;

/// An endpoint that exists or is being made.
#[derive(Debug)]
pub struct Endpoint {
    /// Its record.
    pub state: Arc<EndpointState>,
    /// The lease's task, for endpoints that have one.
    pub(crate) supervised: Mutex<Option<Supervised>>,
    /// The task for IPv6, where there is to be any.
    pub(crate) ipv6: Mutex<Option<Supervised<Status6>>>,
    /// Its link was not in a sandbox when the daemon started.
    pub(crate) found_on_host: bool,
    /// Docker was told no address of it, because nothing told which container it is for.
    pub(crate) late: Option<Late>,
    /// The link to the LAN on which another machine was heard that has its hardware address too.
    pub(crate) elsewhere: OnceLock<IfName>,
}

impl Endpoint {
    /// What its DHCP client is at, for endpoints that have one.
    pub fn status(&self) -> Option<Status> {
        self.supervised().as_ref().map(|task| task.status.borrow().clone())
    }

    /// What there is of IPv6, for endpoints that Landline gives any.
    pub fn status6(&self) -> Option<Status6> {
        self.ipv6().as_ref().map(|task| task.status.borrow().clone())
    }

    pub(crate) fn supervised(&self) -> MutexGuard<'_, Option<Supervised>> {
        self.supervised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ipv6(&self) -> MutexGuard<'_, Option<Supervised<Status6>>> {
        self.ipv6.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its link may be on another LAN now: its tasks ask again.
    pub fn reconnected(&self) {
        self.tasks().iter().for_each(Orders::reconnected);
    }

    /// Its tasks look at once whether they may keep its addresses.
    pub fn recheck(&self) {
        self.tasks().iter().for_each(Orders::recheck);
    }

    /// The link to the LAN on which another machine was heard that has its hardware address and an address of it, too.
    pub fn elsewhere(&self) -> Option<&IfName> {
        self.elsewhere.get()
    }

    /// Another machine was heard on this link. `false`: that was known.
    pub fn found_elsewhere(&self, link: IfName) -> bool {
        self.elsewhere.set(link).is_ok()
    }

    /// All its tasks.
    pub(crate) fn tasks(&self) -> Vec<Orders> {
        let lease = self.supervised().as_ref().map(|s| s.orders.clone());
        let ipv6 = self.ipv6().as_ref().map(|s| s.orders.clone());
        lease.into_iter().chain(ipv6).collect()
    }

    /// Ends its tasks; with `release` the addresses are given back.
    pub async fn stop(&self, release: bool) {
        let (lease, ipv6) = (self.supervised().take(), self.ipv6().take());
        let lease = async {
            if let Some(lease) = lease {
                lease.stop(release).await;
            }
        };
        let ipv6 = async {
            if let Some(ipv6) = ipv6 {
                ipv6.stop(release).await;
            }
        };
        tokio::join!(lease, ipv6);
    }
}

/// One endpoint id: its operations run one after the other.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) operation: Arc<tokio::sync::Mutex<()>>,
    pub(crate) current: Mutex<Option<Arc<Endpoint>>>,
}

impl Slot {
    pub(crate) fn current(&self) -> Option<Arc<Endpoint>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, endpoint: Option<Arc<Endpoint>>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = endpoint;
    }
}

/// As long as this is held, no operation on one endpoint begins.
#[derive(Debug)]
pub struct Turn {
    _operation: OwnedMutexGuard<()>,
    _slot: Arc<Slot>,
}

/// Networks and endpoints, and everything done to them.
pub struct Engine {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) store: Arc<Store>,
    /// What the tasks of leases share.
    pub(crate) services: Services,
    /// What there is, as all others see it.
    pub(crate) ledger: Ledger,
    /// The features that take part in the answers to Docker.
    pub(crate) admission: Arc<dyn Admission>,
    /// Who containers are on their networks.
    pub(crate) identities: Arc<Identities>,
    pub(crate) parents: Arc<ParentLinks>,
    pub(crate) releaser: Releaser,
    slots: Mutex<BTreeMap<EndpointId, Arc<Slot>>>,
}

impl Engine {
    /// Takes up every endpoint that was there before, and keeps networks and endpoints as they are to be from now on. Must be
    /// called within a tokio runtime, in the host's namespace, once the features in `admission` have started.
    pub async fn start(ground: &mut Foundation, admission: Arc<dyn Admission>) -> Arc<Self> {
        let (host, store, services) = (ground.host.clone(), ground.store.clone(), ground.services.clone());
        let identities = Arc::new(Identities::new(ground.rows.take()));
        let ledger = ground.ledger.clone();
        let bridge_macs = BridgeMacs::new(host.clone(), store.clone(), ground.rows.take());
        let parents = Arc::new(ParentLinks::new(host.clone(), ledger.clone(), bridge_macs));
        let releaser = Releaser::start(
            host.clone(),
            store.clone(),
            parents.clone(),
            identities.clone(),
            services.clone(),
            services.cancel.clone(),
        );
        for network in std::mem::take(&mut ground.networks) {
            ledger.put_network(network);
        }
        let engine = Arc::new(Self {
            host,
            store,
            services,
            identities,
            releaser,
            ledger,
            admission,
            parents,
            slots: Mutex::default(),
        });
        engine.reconcile(std::mem::take(&mut ground.endpoints)).await;
        engine.reopen_all_network_links(ground.all_networks).await;
        let cancel = &engine.services.cancel;
        let (kept, lost) = (engine.clone(), engine.host.connections_lost());
        tokio::spawn(cancel.clone().run_until_cancelled_owned(kept.keep_connections(lost)));
        engine.sweep_identities().await;
        if !engine.found_on_host().is_empty() {
            let clock = engine.services.clock.clone();
            tokio::spawn(crate::orphans::run(engine.clone(), clock, cancel.clone()));
        }
        let (links, inventory) = (ground.links.clone(), engine.ledger.watch());
        tokio::spawn(crate::repair::run(engine.clone(), links, inventory, cancel.clone()));
        engine
    }

    /// The links that networks have as their parents.
    pub fn parents(&self) -> &ParentLinks {
        &self.parents
    }

    /// What there is, now and whenever it changes.
    pub fn inventory(&self) -> watch::Receiver<Inventory> {
        self.ledger.watch()
    }

    /// What happened after this revision of the history; `None`: everything that is kept.
    pub fn events(&self, after: Option<u64>) -> Vec<Noted> {
        self.services.history.read(after, &self.ledger)
    }

    /// Stops supervising. No lease is released, no link removed: containers go on with what they have.
    pub async fn shutdown(&self) {
        for endpoint in self.endpoints() {
            endpoint.stop(false).await;
        }
        self.services.cancel.cancel();
        self.services.history.write(&self.store, &self.ledger).await;
    }

    /// From now on identities are derived like this. Those that there are stay as they are.
    pub fn derive_identities(&self, derivation: Derivation) {
        self.identities.derive(derivation);
    }

    /// The endpoint of this id.
    pub fn endpoint(&self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.slot_if_known(id)?.current()
    }

    /// Whether there is such an endpoint.
    pub fn knows(&self, id: &EndpointId) -> bool {
        self.slot_if_known(id).is_some_and(|slot| slot.current().is_some())
    }

    /// The turn of an endpoint to which nothing is being done. `None`: something is, or there is none.
    pub fn turn_if_idle(&self, id: &EndpointId) -> Option<Turn> {
        let slot = self.slot_if_known(id)?;
        Some(Turn { _operation: slot.operation.clone().try_lock_owned().ok()?, _slot: slot })
    }

    /// Asks the server again now. `false`: there is no such endpoint, or it has no lease.
    pub fn renew(&self, id: &EndpointId) -> bool {
        let Some(endpoint) = self.slot_if_known(id).and_then(|slot| slot.current()) else { return false };
        let tasks = endpoint.tasks();
        tasks.iter().for_each(Orders::renew);
        !tasks.is_empty()
    }

    /// All networks. To be held for a moment only.
    pub fn networks(&self) -> Networks<'_> {
        self.ledger.networks()
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<EndpointId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot of this id, made if need be.
    pub(crate) fn slot(&self, id: &EndpointId) -> Arc<Slot> {
        self.slots().entry(id.clone()).or_default().clone()
    }

    pub(crate) fn slot_if_known(&self, id: &EndpointId) -> Option<Arc<Slot>> {
        self.slots().get(id).cloned()
    }

    /// Forgets an empty slot that nobody else waits for.
    pub(crate) fn drop_slot(&self, id: &EndpointId, slot: Arc<Slot>) {
        let mut slots = self.slots();
        drop(slot);
        if slots.get(id).is_some_and(|s| Arc::strong_count(s) == 1 && s.current().is_none()) {
            slots.remove(id);
        }
    }

    /// All endpoints there are, ordered by id.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let slots: Vec<Arc<Slot>> = self.slots().values().cloned().collect();
        slots.iter().filter_map(|slot| slot.current()).collect()
    }
}
