//! What there is: networks, endpoints and containers, in one value that whoever needs it watches.
//!
//! The engine is the only writer ([`Ledger`]). Features receive the value through a [`watch`](tokio::sync::watch) channel, whose
//! changes are merged while the receiver is busy: nobody calls the engine to find out what there is, and nothing waits for a
//! feature.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use landline_model::{EndpointRecord, NetworkRecord};
use landline_options::{EndpointId, NetworkId};
use tokio::sync::watch;

/// What there is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// All networks, those of attachments included.
    pub networks: BTreeMap<NetworkId, NetworkRecord>,
    /// The endpoints whose creation was answered.
    pub endpoints: BTreeMap<EndpointId, Present>,
    /// When the networks were created (`CLOCK_BOOTTIME`) that Docker has asked for since the daemon started.
    pub created: BTreeMap<NetworkId, Duration>,
    /// The ids of the containers there are, once the watcher has listed all of them.
    pub(crate) containers: Option<BTreeSet<String>>,
}

#[cfg(any(test, feature = "testing"))]
impl Inventory {
    /// These networks and endpoints.
    pub fn of(
        networks: impl IntoIterator<Item = NetworkRecord>,
        endpoints: impl IntoIterator<Item = Present>,
    ) -> Self {
        let networks = networks.into_iter().map(|network| (network.id.clone(), network));
        let endpoints = endpoints.into_iter().map(|present| (present.record.id.clone(), present));
        Self { networks: networks.collect(), endpoints: endpoints.collect(), ..Self::default() }
    }
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    /// Its record.
    pub record: Arc<EndpointRecord>,
    /// How often its link in the sandbox was set up.
    pub set_up: u64,
    /// How often its link was made again.
    pub remade: u64,
    /// How often something was heard that may change what its container is to know about names (`dns=search|replace`).
    pub names: u64,
    /// How often its sandbox could not be found.
    pub lost: u64,
}

impl Present {
    /// One that nothing has happened to.
    pub fn new(record: &EndpointRecord) -> Self {
        Self { record: Arc::new(record.clone()), set_up: 0, remade: 0, names: 0, lost: 0 }
    }
}

/// The engine's side of the [`Inventory`]: the only one that changes it.
#[derive(Debug, Clone, Default)]
pub struct Ledger(watch::Sender<Inventory>);

impl Ledger {
    /// What there is now. To be held for a moment only: while it is, nothing can be changed.
    pub fn read(&self) -> watch::Ref<'_, Inventory> {
        self.0.borrow()
    }

    /// Another receiver of what there is.
    pub fn watch(&self) -> watch::Receiver<Inventory> {
        self.0.subscribe()
    }

    /// All networks. To be held for a moment only: while it is, nothing can be changed.
    pub fn networks(&self) -> Networks<'_> {
        Networks(self.0.borrow())
    }

    /// Adds a network, or replaces the one of its id.
    pub fn put_network(&self, network: NetworkRecord) {
        self.0.send_if_modified(|all| {
            all.networks.get(&network.id) != Some(&network) && {
                all.networks.insert(network.id.clone(), network);
                true
            }
        });
    }

    /// Adds a network that was created at this time (`CLOCK_BOOTTIME`).
    pub fn create_network(&self, network: NetworkRecord, at: Duration) {
        self.0.send_modify(|all| {
            all.created.insert(network.id.clone(), at);
            all.networks.insert(network.id.clone(), network);
        });
    }

    /// Removes a network, if there is one of that id.
    pub fn remove_network(&self, id: &NetworkId) -> Option<NetworkRecord> {
        let mut removed = None;
        self.0.send_if_modified(|all| {
            all.created.remove(id);
            removed = all.networks.remove(id);
            removed.is_some()
        });
        removed
    }

    /// Gives a network a name. `None`: there is no such network, or that is its name already.
    pub fn name_network(&self, id: &NetworkId, name: &str) -> Option<NetworkRecord> {
        let mut named = None;
        self.0.send_if_modified(|all| {
            let network = all.networks.get_mut(id).filter(|network| network.name.as_deref() != Some(name));
            named = network.map(|network| {
                network.name = Some(name.to_owned());
                network.clone()
            });
            named.is_some()
        });
        named
    }

    /// Adds an endpoint, or replaces its record.
    pub(crate) fn put_endpoint(&self, record: &EndpointRecord) {
        self.0.send_if_modified(|all| match all.endpoints.get_mut(&record.id) {
            Some(present) if *present.record == *record => false,
            Some(present) => {
                present.record = Arc::new(record.clone());
                true
            }
            None => {
                all.endpoints.insert(record.id.clone(), Present::new(record));
                true
            }
        });
    }

    /// Removes an endpoint, if there is one of that id.
    pub(crate) fn remove_endpoint(&self, id: &EndpointId) {
        self.0.send_if_modified(|all| all.endpoints.remove(id).is_some());
    }

    /// An endpoint's link in its sandbox was set up.
    pub(crate) fn set_up(&self, id: &EndpointId) {
        self.note(id, |present| present.set_up += 1);
    }

    /// An endpoint's link was made again in its sandbox, and has what its lease or its fixed address gives it.
    pub fn remade(&self, id: &EndpointId) {
        self.note(id, |present| present.remade += 1);
    }

    /// Something was heard that may change what an endpoint's container is to know about names.
    pub(crate) fn names_changed(&self, id: &EndpointId) {
        self.note(id, |present| present.names += 1);
    }

    /// An endpoint's sandbox could not be found.
    pub(crate) fn sandbox_lost(&self, id: &EndpointId) {
        self.note(id, |present| present.lost += 1);
    }

    fn note(&self, id: &EndpointId, note: impl FnOnce(&mut Present)) {
        self.0.send_if_modified(|all| all.endpoints.get_mut(id).map(note).is_some());
    }

    /// These are all the containers there are.
    pub fn set_containers(&self, containers: BTreeSet<String>) {
        self.0.send_if_modified(|all| {
            all.containers.as_ref() != Some(&containers) && {
                all.containers = Some(containers);
                true
            }
        });
    }

    /// Whether there is a container of this id. `None`: nobody has listed them yet.
    pub fn has_container(&self, id: &str) -> Option<bool> {
        self.0.borrow().containers.as_ref().map(|all| all.contains(id))
    }

    /// Whether all containers were listed.
    pub fn knows_containers(&self) -> bool {
        self.0.borrow().containers.is_some()
    }
}

/// All networks, as they are.
pub struct Networks<'a>(watch::Ref<'a, Inventory>);

impl Deref for Networks<'_> {
    type Target = BTreeMap<NetworkId, NetworkRecord>;

    fn deref(&self) -> &Self::Target {
        &self.0.networks
    }
}

#[cfg(test)]
mod tests {
    use landline_options::NetworkOptions;

    use super::*;

    fn network(name: Option<&str>) -> NetworkRecord {
        NetworkRecord {
            id: "n".repeat(64).parse().unwrap(),
            name: name.map(str::to_owned),
            options: NetworkOptions::new("br0".parse().unwrap()),
            nic: None,
            ipam_gateway: None,
            ipam_gateway_v6: None,
            bridge_address: None,
        }
    }

    /// Whether the receiver has something new to look at.
    fn woken(receiver: &mut watch::Receiver<Inventory>) -> bool {
        let changed = receiver.has_changed().unwrap();
        receiver.mark_unchanged();
        changed
    }

    #[test]
    fn receivers_wake_up_for_what_is_new_only() {
        let ledger = Ledger::default();
        let mut receiver = ledger.watch();
        ledger.put_network(network(None));
        assert!(woken(&mut receiver));
        ledger.put_network(network(None));
        assert!(!woken(&mut receiver), "it was there");
        let id = network(None).id;
        assert_eq!(ledger.name_network(&id, "lan"), Some(network(Some("lan"))));
        assert!(woken(&mut receiver));
        assert_eq!(ledger.name_network(&id, "lan"), None);
        assert!(!woken(&mut receiver), "that is its name");
        assert_eq!(ledger.remove_network(&id), Some(network(Some("lan"))));
        assert!(woken(&mut receiver));
        assert_eq!(ledger.remove_network(&id), None);
        ledger.remove_endpoint(&"e".repeat(64).parse().unwrap());
        for note in [Ledger::set_up, Ledger::names_changed, Ledger::sandbox_lost] {
            note(&ledger, &"e".repeat(64).parse().unwrap());
        }
        assert!(!woken(&mut receiver), "there was none");
        assert_eq!(ledger.has_container("c1"), None);
        ledger.set_containers(BTreeSet::from(["c1".to_owned()]));
        assert!(woken(&mut receiver));
        assert_eq!((ledger.has_container("c1"), ledger.has_container("c2")), (Some(true), Some(false)));
        ledger.set_containers(BTreeSet::from(["c1".to_owned()]));
        assert!(!woken(&mut receiver));
    }
}
