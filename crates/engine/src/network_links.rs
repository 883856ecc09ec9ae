//! What networks need on the host beside their containers' links: there when it is needed, and gone with the last that
//! needs it.

use std::sync::Arc;

use landline_kernel::Link;
use landline_leases::Location;
use landline_links::network::{self, NetworkLinksError, has_links};
use landline_links::{ParentIs, blocking, facts_of, vlan};
use landline_model::{EndpointRecord, NetworkRecord};
use landline_spec::NetworkOptions;
use landline_types::IfName;
use tokio::sync::Notify;

use crate::engine::Engine;

impl Engine {
    /// Makes what the network needs on the host, as far as it is not there; what its parent is called. `new`: the network is
    /// being created, so what it only joins must be there.
    pub async fn ensure_network_links(
        &self,
        network: &NetworkRecord,
        new: bool,
    ) -> Result<IfName, NetworkLinksError> {
        if !has_links(&network.options) {
            return Ok(network.options.parent.clone());
        }
        // Networks of the same NIC and VLAN share its interface.
        let _turn = match vlan::of_nic(&network.options) {
            Some(_) => Some(self.turns.vlans.lock().await),
            None => None,
        };
        let (host, network) = (self.host.clone(), network.clone());
        blocking(move || network::ensure(&*host, &network, new)).await
    }

    /// Makes what a new network needs, and has it as the network's parent in the place of the NIC that was named.
    pub async fn enter_network_links(&self, network: &mut NetworkRecord) -> Result<(), NetworkLinksError> {
        let parent = self.ensure_network_links(network, true).await?;
        take_parent(network, parent);
        Ok(())
    }

    /// As [`Self::enter_network_links`] for a network that exists: what cannot be made now is made later.
    pub(crate) async fn adopt_network_links(&self, network: &mut NetworkRecord) {
        let parent = match self.ensure_network_links(network, false).await {
            Ok(parent) => parent,
            Err(error) => {
                missing(network, &error);
                vlan::expected(&network.options).unwrap_or_else(|| network.options.parent.clone())
            }
        };
        take_parent(network, parent);
    }

    /// Makes again what is gone of what a network needs.
    pub(crate) async fn reopen_network_links(&self, network: &NetworkRecord) {
        match self.ensure_network_links(network, false).await {
            Ok(parent) if parent == network.options.parent => {}
            Ok(parent) => {
                let (was, network) = (&network.options.parent, network.id.short());
                tracing::warn!(network, %was, is = %parent, "the interface of a VLAN has another name now; rename it");
            }
            Err(error) if vlan::of_nic(&network.options).is_some() => {
                tracing::debug!(error = %landline_types::chain(&error), "a VLAN is missing for now");
            }
            Err(error) => missing(network, &error),
        }
    }

    /// Makes the interface of a network's VLAN again, if it has one and that is gone.
    pub(crate) async fn reopen_vlan(&self, network: &NetworkRecord) {
        if vlan::of_nic(&network.options).is_some() && network.nic.is_some() {
            self.reopen_network_links(network).await;
        }
    }

    /// After a start: what networks need is there, and no VLAN that none needs, unless not all networks are known.
    pub(crate) async fn reopen_all_network_links(&self, all_known: bool) {
        self.reopen_own_bridges().await;
        for network in self.all_networks() {
            self.reopen_vlan(&network).await;
        }
        if all_known {
            self.leave_vlans(None).await;
        }
    }

    /// When one was removed, or after the end of the process that runs switches: bridges of Landline's own are there, switches
    /// run and cables are plugged in, where they were not.
    pub(crate) async fn reopen_own_bridges(&self) {
        let own = |network: &NetworkRecord| facts_of(network.options.mode).parent == ParentIs::OwnBridge;
        for network in self.all_networks().iter().filter(|network| own(network)) {
            self.reopen_network_links(network).await;
        }
        for endpoint in self.endpoints() {
            let record = endpoint.cell.read().await;
            self.plug_again(&record, endpoint.cell.options()).await;
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
            self.reopen_vlan(network).await;
        }
    }

    /// Removes what a network had on the host. A VLAN that another network needs stays.
    pub async fn remove_network_links(&self, network: &NetworkRecord) {
        if !has_links(&network.options) {
            return;
        }
        if vlan::of_nic(&network.options).is_some() {
            if network.nic.is_some() {
                self.leave_vlans(Some(&network.options.parent)).await;
            }
            return;
        }
        let (host, gone) = (self.host.clone(), network.clone());
        if let Err(error) = blocking(move || network::remove(&*host, &gone)).await {
            let network = network.id.short();
            tracing::warn!(network, error = %landline_types::chain(&error), "the links of a network could not be removed");
        }
    }

    /// Removes the marked interface of this name, or all of them, unless a network needs it.
    async fn leave_vlans(&self, which: Option<&IfName>) {
        let _turn = self.turns.vlans.lock().await;
        let needed: Vec<IfName> = self.networks().values().map(|n| n.options.parent.clone()).collect();
        let (host, which) = (self.host.clone(), which.cloned());
        let wanted = move |link: &Link| {
            which.as_ref().is_none_or(|name| link.name == *name) && !needed.contains(&link.name)
        };
        if let Err(error) = blocking(move || vlan::remove(&*host, wanted)).await {
            tracing::warn!(error = %landline_types::chain(&error), "the interface of a VLAN could not be removed");
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

fn missing(network: &NetworkRecord, error: &NetworkLinksError) {
    let network = network.id.short();
    tracing::warn!(network, error = %landline_types::chain(error), "a network has no way to the LAN for now");
}

/// A network has this parent in the place of the NIC that was named.
fn take_parent(network: &mut NetworkRecord, parent: IfName) {
    if network.options.parent != parent {
        network.nic = Some(std::mem::replace(&mut network.options.parent, parent));
    }
}
