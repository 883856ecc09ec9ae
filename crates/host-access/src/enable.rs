//! What host access can be asked for, and what it is refused for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use landline_kernel::{Address, Link};
use landline_leases::probe::Prober;
use landline_options::{Access, AccessSpecError, NetworkId};
use landline_store::StoreError;
use landline_types::IfName;

use super::plan::{host_addresses, strict_filter, suitable_parent};
use super::seen::{SeenNetwork, Wire, find};

/// Why host access was not given or taken back. The text goes to the user as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// It makes no sense by itself.
    #[error(transparent)]
    Spec(#[from] AccessSpecError),
    /// Docker is away.
    #[error(
        "Docker's API cannot be reached, so the network {0} cannot be looked up; try again when Docker runs"
    )]
    Docker(String),
    /// The network, its parent or an address will not do.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The kernel or `nft` did not do it.
    #[error("{0}")]
    Failed(String),
    /// It was not enabled.
    #[error("{0} has no host access; landline host-access ls shows what has")]
    NotEnabled(String),
    /// The administrator wrote it down.
    #[error(
        "{0} has host access by the configuration file; take [host_access.{0}] out of it and reload Landline \
         (systemctl reload landline)"
    )]
    Declared(String),
    /// It is an option of the network.
    #[error("{0} was created with host_access=true; create it without to have none")]
    Option(String),
    /// It could not be stored.
    #[error("cannot store it")]
    Store(#[from] StoreError),
    /// The daemon ends.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Why a network cannot have host access as it was asked for, or cannot yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// No such network.
    #[error("there is no Docker network {0}; docker network ls shows those there are")]
    NoNetwork(String),
    /// Not a network for this.
    #[error("{0}")]
    Unsuitable(String),
    /// The parent is not there.
    #[error("the parent of {network}, {parent}, {what}")]
    Parent {
        /// The network.
        network: String,
        /// The NIC.
        parent: IfName,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The host has no address there.
    #[error(
        "the host has no address on {parent} that containers of {network} would answer; give it one with --ip"
    )]
    NoHostAddress {
        /// The network.
        network: String,
        /// The NIC.
        parent: IfName,
    },
    /// Not one of the network's.
    #[error(
        "{address} is not in a subnet of {network} ({}), so its containers would not answer it",
        list(subnets)
    )]
    Outside {
        /// The address.
        address: IpAddr,
        /// The network.
        network: String,
        /// Its subnets.
        subnets: Vec<IpNet>,
    },
    /// Somebody has it.
    #[error("{address} is in use: {user} has it; give a free one")]
    InUse {
        /// The address.
        address: IpAddr,
        /// Who has it.
        user: String,
    },
    /// The host cannot be looked at.
    #[error("cannot look at the host: {0}")]
    Unseen(String),
}

fn list(nets: &[IpNet]) -> String {
    nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What is known when a request is judged.
pub(super) struct Situation<'a> {
    pub(super) networks: &'a BTreeMap<NetworkId, SeenNetwork>,
    pub(super) links: &'a [Link],
    pub(super) addresses: &'a [Address],
    /// Links whose reverse path filter is strict.
    pub(super) strict: &'a BTreeSet<IfName>,
    /// Addresses that shims have by now, which are not in anybody's way.
    pub(super) held: &'a [IpNet],
}

/// Whether a request can be served. The LAN is asked as well.
pub(super) async fn check(record: &Access, situation: &Situation<'_>, prober: &Prober) -> Result<(), Unfit> {
    let (_, network) =
        find(situation.networks, &record.network).ok_or_else(|| Unfit::NoNetwork(record.network.clone()))?;
    let name = suitable_parent(network).map_err(Unfit::Unsuitable)?;
    let unusable = |what| Unfit::Parent { network: network.name.clone(), parent: name.clone(), what };
    let parent = situation.links.iter().find(|link| link.name == *name);
    let parent = parent.ok_or_else(|| unusable("is not there"))?;
    if !parent.up {
        return Err(unusable("is down; bring it up first"));
    }
    let subnets: Vec<IpNet> = network.subnets.iter().filter(|net| net.prefix_len() > 0).copied().collect();
    if record.addresses.is_empty() {
        let fits = |host: IpNet| subnets.is_empty() || subnets.iter().any(|net| net.contains(&host.addr()));
        if !host_addresses(parent, situation.addresses).any(fits) {
            return Err(Unfit::NoHostAddress { network: network.name.clone(), parent: name.clone() });
        }
        if network.wire == Wire::Ipvlan && !record.loosen && situation.strict.contains(name) {
            return Err(Unfit::Unsuitable(strict_filter(name)));
        }
    }
    for net in record.addresses.iter().filter(|net| !situation.held.contains(net)) {
        let address = net.addr();
        let family = |net: &&IpNet| net.addr().is_ipv4() == address.is_ipv4();
        if subnets.iter().any(|net| family(&net)) && !subnets.iter().any(|net| net.contains(&address)) {
            return Err(Unfit::Outside { address, network: network.name.clone(), subnets });
        }
        if let Some(user) = user(address, situation) {
            return Err(Unfit::InUse { address, user });
        }
        if let (IpAddr::V4(v4), Some(mac)) = (address, parent.mac) {
            match prober.user(parent.index, mac, v4).await {
                Ok(None) => {}
                Ok(Some(mac)) => {
                    return Err(Unfit::InUse { address, user: format!("the machine {mac} on the LAN") });
                }
                // Without the right to listen (a container may lack it) nobody is heard.
                Err(error) => tracing::warn!(%error, "the LAN cannot be asked whether {address} is free"),
            }
        }
    }
    Ok(())
}

/// Who on this host has an address.
fn user(address: IpAddr, situation: &Situation<'_>) -> Option<String> {
    if let Some(own) = situation.addresses.iter().find(|a| a.net.addr() == address) {
        let link = situation.links.iter().find(|link| link.index == own.index);
        return Some(link.map_or_else(|| "this host".into(), |link| format!("this host's {}", link.name)));
    }
    let members = situation.networks.values().flat_map(|network| &network.members);
    let member = members.into_iter().find(|member| member.addresses.contains(&address))?;
    Some(member.container.as_ref().map_or_else(|| "a container".into(), |name| format!("container {name}")))
}
