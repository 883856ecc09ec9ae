//! When the links that networks need on the host are made again.

use std::sync::Arc;

use landline_kernel::Link;
use landline_leases::Location;
use landline_links::{ConnectedLink, ParentIs, blocking, driver_of, facts_of};
use landline_model::{EndpointRecord, NetworkRecord};
use landline_options::NetworkOptions;
use landline_types::IfName;
use tokio::sync::Notify;

use crate::engine::Engine;

impl Engine {
    /// After a start: what networks need is there, and nothing that none needs, unless not all networks are known.
    pub(crate) async fn reopen_all_network_links(&self, all_known: bool) {
        self.reopen_own_bridges().await;
        for network in self.all_networks() {
            self.parents.reopen_vlan(&network).await;
        }
        if all_known {
            self.parents.leave_vlans(None).await;
            self.parents.remove_unknown().await;
        }
    }

    /// When one was removed, or after the end of a process that connected links: bridges of Landline's own are there, with
    /// all that belongs to them, and links are connected, where they were not.
    pub(crate) async fn reopen_own_bridges(&self) {
        let own = |network: &NetworkRecord| facts_of(network.options.mode).parent == ParentIs::OwnBridge;
        for network in self.all_networks().iter().filter(|network| own(network)) {
            self.parents.reopen(network).await;
        }
        for endpoint in self.endpoints() {
            let record = endpoint.state.read().await;
            self.reconnect(&record, endpoint.state.options()).await;
        }
    }

    /// Connects again what a process had connected that has ended, whoever ended it.
    pub(crate) async fn keep_connections(self: Arc<Self>, lost: Arc<Notify>) {
        loop {
            lost.notified().await;
            self.reopen_own_bridges().await;
        }
    }

    /// Makes the VLANs of NICs that are back.
    pub(crate) async fn nics_are_up(&self, links: &[Link]) {
        let back = |nic: &IfName| links.iter().any(|link| link.up && link.name == *nic);
        for network in self.all_networks().iter().filter(|network| network.nic.as_ref().is_some_and(back)) {
            self.parents.reopen_vlan(network).await;
        }
    }

    /// Connects an endpoint's link again, where the kernel alone does not keep it connected.
    pub(crate) async fn reconnect(&self, record: &EndpointRecord, options: &NetworkOptions) {
        let step = |sandbox| {
            let (endpoint, name) = (record.id.clone(), record.link.clone());
            driver_of(options.mode).reconnect(options, ConnectedLink { endpoint, name, sandbox })
        };
        if step(None).is_none() {
            return;
        }
        let sandbox = match self.find(record).await {
            Some(Location::Host(_) | Location::Parent(_)) => None,
            Some(Location::Sandbox(path)) => Some(path),
            None => return,
        };
        let (host, step) = (self.host.clone(), step(sandbox));
        if let Err(error) = blocking(move || step.map_or(Ok(()), |step| host.apply(&step))).await {
            let endpoint = record.id.short();
            tracing::warn!(endpoint, error = %landline_types::chain(&error), "a container is cut off from its switch");
        }
    }

    fn all_networks(&self) -> Vec<NetworkRecord> {
        self.networks().values().cloned().collect()
    }
}
