//! The links that networks have as their parents: found, made where they are Landline's, kept as they were, and gone with
//! the last network that needs them.

use std::collections::BTreeSet;
use std::sync::Arc;

use landline_kernel::Link;
use landline_leases::Ledger;
use landline_links::network::{self, NetworkLinks, NetworkLinksError, as_planned, has_links, name_bridge};
use landline_links::{
    BridgeMacs, Host, HostError, LinkRequest, ParentError, Plan, PlannedLink, blocking, check_vlan,
    driver_of, facts_of, find_parent, vlan,
};
use landline_model::NetworkRecord;
use landline_options::{EndpointId, NetworkId, NetworkOptions};
use landline_types::{IfName, Mac};

/// What networks have as their parents on the host.
pub struct ParentLinks {
    host: Arc<dyn Host>,
    ledger: Ledger,
    /// The hardware addresses of bridges, which containers must not change.
    bridge_macs: Arc<BridgeMacs>,
    /// Held while interfaces of VLANs are looked at, made and removed.
    vlans: tokio::sync::Mutex<()>,
}

/// A link that an endpoint is to have on its network's parent.
#[derive(Debug)]
pub struct WantedLink<'a> {
    /// Whose it is.
    pub endpoint: &'a EndpointId,
    /// Its hardware address.
    pub mac: Mac,
    /// What the end on the host is to be called.
    pub host_name: Option<IfName>,
}

impl WantedLink<'_> {
    /// How it is made on the parent of a network with these options, as that is among these links.
    fn plan<'l>(
        self,
        options: &NetworkOptions,
        links: &'l [Link],
    ) -> Result<(&'l Link, PlannedLink), ParentError> {
        let parent = find_parent(&options.parent, options.mode, links)?;
        check_vlan(options, parent)?;
        let Self { endpoint, mac, host_name } = self;
        Ok((parent, LinkRequest { endpoint, options, parent, mac, host_name }.plan()))
    }
}

/// Why there is no plan for a link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanLinkError {
    /// The parent will not do.
    #[error(transparent)]
    Parent(#[from] ParentError),
    /// The host could not be looked at.
    #[error("cannot look at the host's links")]
    Host(#[from] HostError),
}

impl ParentLinks {
    pub(crate) fn new(host: Arc<dyn Host>, ledger: Ledger, bridge_macs: BridgeMacs) -> Self {
        let (bridge_macs, vlans) = (Arc::new(bridge_macs), tokio::sync::Mutex::default());
        Self { host, ledger, bridge_macs, vlans }
    }

    /// How the link is made on the network's parent as that is now, whose own hardware address is kept.
    pub(crate) async fn plan(
        &self,
        options: &NetworkOptions,
        wanted: WantedLink<'_>,
    ) -> Result<PlannedLink, PlanLinkError> {
        let host = self.host.clone();
        let links = blocking(move || host.links()).await?;
        let (parent, planned) = wanted.plan(options, &links)?;
        self.bridge_macs.keep(options, parent, &links).await;
        Ok(planned)
    }

    /// All that would be done on a host with these links for this link on a new network: what the network needs, what keeps the
    /// parent's hardware address, and the link. Nothing is changed. Blocks.
    ///
    /// # Errors
    /// What would keep it from being done, as far as that can be seen beforehand.
    pub fn preview(
        &self,
        network: &mut NetworkRecord,
        wanted: WantedLink<'_>,
        mut links: Vec<Link>,
    ) -> Result<PlannedLink, NetworkLinksError> {
        name_bridge(network);
        let NetworkLinks { parent, plan } = driver_of(network.options.mode).network(network, &links, true)?;
        if !links.iter().any(|link| link.name == parent) {
            links.extend(as_planned(&parent, &plan, &links));
        }
        take_parent(network, parent);
        let planned = wanted.plan(&network.options, &links);
        let (parent, link) = planned.map_err(|error| NetworkLinksError::Failed(error.into()))?;
        let kept = self.bridge_macs.would_keep(&network.options, parent, &links);
        let steps = plan.steps.into_iter().chain(kept).chain(link.plan.steps).collect();
        Ok(PlannedLink { plan: Plan { steps }, ..link })
    }

    /// Sees to it that the hardware addresses of bridges do not depend on containers.
    pub(crate) async fn keep_bridge_macs(&self) {
        let bridged = |network: &NetworkRecord| facts_of(network.options.mode).is_lan_bridge();
        let bridges: BTreeSet<IfName> = self
            .ledger
            .networks()
            .values()
            .filter(|n| bridged(n))
            .map(|n| n.options.parent.clone())
            .collect();
        let host = self.host.clone();
        match blocking(move || host.links()).await {
            Ok(links) => self.bridge_macs.follow(bridges.iter(), &links).await,
            Err(error) => {
                tracing::warn!(error = %landline_types::chain(&error), "the host's links cannot be listed");
            }
        }
    }

    /// Makes what the network needs on the host, as far as it is not there; what its parent is called. `new`: the network is
    /// being created, so what it only joins must be there.
    pub async fn ensure(&self, network: &NetworkRecord, new: bool) -> Result<IfName, NetworkLinksError> {
        if !has_links(&network.options) {
            return Ok(network.options.parent.clone());
        }
        // Networks of the same NIC and VLAN share its interface.
        let _turn = match vlan::of_nic(&network.options) {
            Some(_) => Some(self.vlans.lock().await),
            None => None,
        };
        let (host, network) = (self.host.clone(), network.clone());
        blocking(move || network::ensure(&*host, &network, new)).await
    }

    /// Makes what a new network needs, and has it as the network's parent in the place of the NIC that was named.
    pub async fn enter(&self, network: &mut NetworkRecord) -> Result<(), NetworkLinksError> {
        let parent = self.ensure(network, true).await?;
        take_parent(network, parent);
        Ok(())
    }

    /// As [`Self::enter`] for a network that exists: what cannot be made now is made later.
    pub(crate) async fn adopt(&self, network: &mut NetworkRecord) {
        let parent = match self.ensure(network, false).await {
            Ok(parent) => parent,
            Err(error) => {
                missing(network, &error);
                vlan::expected(&network.options).unwrap_or_else(|| network.options.parent.clone())
            }
        };
        take_parent(network, parent);
    }

    /// Makes again what is gone of what a network needs.
    pub(crate) async fn reopen(&self, network: &NetworkRecord) {
        match self.ensure(network, false).await {
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
            self.reopen(network).await;
        }
    }

    /// Removes what a network had on the host. A VLAN that another network needs stays.
    pub async fn remove(&self, network: &NetworkRecord) {
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

    /// Removes what was made for networks that nobody knows.
    pub(crate) async fn remove_unknown(&self) {
        let known: BTreeSet<NetworkId> = self.ledger.networks().keys().cloned().collect();
        let host = self.host.clone();
        let removed = blocking(move || network::remove_unknown(&*host, |id| known.contains(id)));
        if let Err(error) = removed.await {
            tracing::warn!(error = %landline_types::chain(&error), "the link of a network that is gone could not be removed");
        }
    }

    /// Removes the marked interface of this name, or all of them, unless a network needs it.
    pub(crate) async fn leave_vlans(&self, which: Option<&IfName>) {
        let _turn = self.vlans.lock().await;
        let needed: Vec<IfName> = self.ledger.networks().values().map(|n| n.options.parent.clone()).collect();
        let (host, which) = (self.host.clone(), which.cloned());
        let wanted = move |link: &Link| {
            which.as_ref().is_none_or(|name| link.name == *name) && !needed.contains(&link.name)
        };
        if let Err(error) = blocking(move || vlan::remove(&*host, wanted)).await {
            tracing::warn!(error = %landline_types::chain(&error), "the interface of a VLAN could not be removed");
        }
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
