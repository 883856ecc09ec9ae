//! When the links that networks need on the host are made again.

use std::sync::Arc;

use landline_kernel::Link;
use landline_leases::Location;
use landline_links::{ParentIs, blocking, facts_of};
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

    /// When one was removed, or after the end of the process that runs switches: bridges of Landline's own are there, switches
    /// run and cables are plugged in, where they were not.
    pub(crate) async fn reopen_own_bridges(&self) {
        let own = |network: &NetworkRecord| facts_of(network.options.mode).parent == ParentIs::OwnBridge;
        for network in self.all_networks().iter().filter(|network| own(network)) {
            self.parents.reopen(network).await;
        }
        for endpoint in self.endpoints() {
            let record = endpoint.state.read().await;
            self.plug_again(&record, endpoint.state.options()).await;
        }
    }

    /// Brings switches back whose process has ended, whoever ended it.
    pub(crate) async fn keep_switches(self: Arc<Self>, ended: Arc<Notify>) {
        loop {
            ended.notified().await;
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

    /// Plugs the cable of an endpoint in again, if it has one.
    pub(crate) async fn plug_again(&self, record: &EndpointRecord, options: &NetworkOptions) {
        let Some(dir) = options.vde.socket_dir.clone() else { return };
        let Some(place) = self.find(record).await else { return };
        let (host, id, link) = (self.host.clone(), record.id.clone(), record.link.clone());
        let plugged = blocking(move || {
            let sandbox = match &place {
                Location::Host(_) => None,
                Location::Sandbox(path) => Some(path.as_path()),
            };
            host.plug_again(&id, &link, sandbox, &dir)
        });
        if let Err(error) = plugged.await {
            let endpoint = record.id.short();
            tracing::warn!(endpoint, error = %landline_types::chain(&error), "a container is cut off from its VDE switch");
        }
    }

    fn all_networks(&self) -> Vec<NetworkRecord> {
        self.networks().values().cloned().collect()
    }
}
