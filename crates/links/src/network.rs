//! What a network needs on the host beside its containers' links: a VLAN of its NIC, a bridge of its own, a switch. Its
//! driver plans it; it is made, made again and removed in the same way for all of them.

use landline_kernel::{Link, LinkKind};
use landline_model::NetworkRecord;
use landline_options::{NetworkId, NetworkOptions};
use landline_types::IfName;

use super::vlan;
use super::{ParentIs, driver_of, facts_of};
use crate::host::{Host, HostError, mark_of};
use crate::mark::{NetworkMark, Role, is_implicit};
use crate::plan::{LinkType, Plan, Step};

/// What a network needs, as its driver plans it.
#[derive(Debug, PartialEq, Eq)]
pub struct NetworkLinks {
    /// What the links of its containers have as their parent once the plan is carried out.
    pub parent: IfName,
    /// What makes it, and all that goes with it, as far as it is not there.
    pub plan: Plan,
}

impl NetworkLinks {
    /// Those of a network that needs nothing but its parent.
    pub(crate) fn none(network: &NetworkRecord) -> Self {
        Self { parent: network.options.parent.clone(), plan: Plan::default() }
    }
}

/// Why what a network needs on the host is not there.
#[derive(Debug, thiserror::Error)]
pub enum NetworkLinksError {
    /// The interface that its containers' links need may be about to come, so it is waited for as any parent is.
    #[error(transparent)]
    Awaited(Box<dyn std::error::Error + Send + Sync>),
    /// Waiting does not help.
    #[error(transparent)]
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// Its bridge.
    #[error("the network's bridge cannot be made")]
    Bridge(#[source] HostError),
}

/// Whether a network with these options needs anything.
pub fn has_links(options: &NetworkOptions) -> bool {
    facts_of(options.mode).parent == ParentIs::OwnBridge || vlan::of_nic(options).is_some()
}

/// What the bridge of a network is called that has one of its own.
pub fn own_bridge(network: &NetworkId) -> IfName {
    // The name is the same whatever the role.
    NetworkMark::new(network, Role::Switch).link_name()
}

/// Gives a network its own bridge as its parent, if its driver makes one; a NIC that was named leads to the LAN. A parent that nobody
/// names is called so too, since networks with one parent are on one LAN.
pub fn name_bridge(network: &mut NetworkRecord) {
    let mode = network.options.mode;
    let facts = facts_of(mode);
    if facts.parent == ParentIs::OwnBridge || !mode.has_named_parent() {
        let named = std::mem::replace(&mut network.options.parent, own_bridge(&network.id));
        network.nic = Some(named).filter(|_| facts.is_translated());
    }
}

/// Makes what is missing of what the network needs, all of it or nothing; what its parent is then called. `new`: the network
/// is being created, so what it only joins must be there.
pub fn ensure(host: &dyn Host, network: &NetworkRecord, new: bool) -> Result<IfName, NetworkLinksError> {
    let driver = driver_of(network.options.mode);
    let refused = |source| driver.refused(network, source);
    let links = host.links().map_err(refused)?;
    let NetworkLinks { parent, plan } = driver.network(network, &links, new)?;
    plan.apply(host).map_err(refused)?;
    let makes = |step: &Step| matches!(step, Step::AddLink { link, .. } if link.name == parent);
    if plan.steps.iter().any(makes) {
        tracing::info!(network = network.id.short(), link = %parent, "a network's own link is there");
    }
    Ok(parent)
}

/// Removes what is marked as the network's, after what runs there has ended.
pub fn remove(host: &dyn Host, network: &NetworkRecord) -> Result<(), HostError> {
    let of_network = |link: &Link| {
        let mark = link.alias.as_deref().and_then(NetworkMark::read)?;
        Some(mark).filter(|mark| mark.network == network.id)
    };
    let links: Vec<(Link, NetworkMark)> =
        host.links()?.into_iter().filter_map(|link| Some((link.clone(), of_network(&link)?))).collect();
    if let Some(step) = driver_of(network.options.mode).network_ends(network, &links)
        && let Err(error) = host.apply(&step)
    {
        tracing::warn!(network = network.id.short(), error = %landline_types::chain(&error), "not ended: {step}");
    }
    for (link, _) in links {
        if let Some(alias) = &link.alias {
            host.remove_marked(link.index, alias)?;
        }
    }
    Ok(())
}

/// Removes what is marked as a Docker network's that is none of these: the daemon was killed between the host and the store.
/// Such a network has no containers; one that has is left alone, whoever lost the word of it.
pub fn remove_unknown(host: &dyn Host, known: impl Fn(&NetworkId) -> bool) -> Result<(), HostError> {
    let links = host.links()?;
    let network = |link: &Link| Some(NetworkMark::read(link.alias.as_deref()?)?.network);
    let is_used = |bridge: &Link| {
        links.iter().any(|port| port.controller == Some(bridge.index) && mark_of(port).is_some())
    };
    let used: Vec<NetworkId> = links.iter().filter(|link| is_used(link)).filter_map(network).collect();
    for link in &links {
        let Some(alias) = &link.alias else { continue };
        let Some(mark) = NetworkMark::read(alias) else { continue };
        // Those of attachments are known later.
        if !is_implicit(&mark.network) && !known(&mark.network) && !used.contains(&mark.network) {
            tracing::info!(link = %link.name, "removing a link that belongs to no network");
            host.remove_marked(link.index, alias)?;
        }
    }
    Ok(())
}

/// The link of this name as it is after the plan. `None`: it is neither there nor made.
pub fn as_planned(name: &IfName, plan: &Plan, links: &[Link]) -> Option<Link> {
    let there = |name: &IfName| links.iter().find(|link| link.name == *name);
    if let Some(link) = there(name) {
        return Some(link.clone());
    }
    let (end, kind) = plan.steps.iter().find_map(|step| match step {
        Step::AddLink { link, kind } if link.name == *name => Some((link, kind)),
        _ => None,
    })?;
    let (kind, like) = match kind {
        LinkType::Vlan { parent, id } => (LinkKind::Vlan { id: *id }, there(parent)?),
        LinkType::Bridge | LinkType::PlainBridge => {
            (LinkKind::Bridge { vlan_filtering: false }, links.first()?)
        }
        _ => return None,
    };
    let (name, mac) = (name.clone(), end.mac.or(like.mac));
    Some(Link { name, mac, mtu: end.mtu, alias: Some(end.alias.clone()), kind, up: true, ..like.clone() })
}

#[cfg(test)]
mod tests;
