//! What host access can be asked for, and what it is refused for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use landline_kernel::{Address, Link};
use landline_spec::NetworkId;
use landline_types::IfName;
use serde::{Deserialize, Serialize};

use super::plan::{host_addresses, suitable_parent};
use super::probe;
use super::record::AccessRecord;
use super::seen::{SeenNetwork, Wire, find};
use crate::store::StoreError;

/// What the user typed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AccessRequest {
    /// The network's name or id.
    pub network: String,
    /// Addresses for the shim, with or without the length of a prefix.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Further destinations.
    #[serde(default)]
    pub routes: Vec<String>,
    /// What the shim is to be called.
    #[serde(default)]
    pub interface: Option<String>,
    /// Whether `rp_filter` of the parent may be set to 2.
    #[serde(default)]
    pub loosen: bool,
}

/// Why host access was not given or taken back. The text goes to the user as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Not an address.
    #[error("{0:?} is not an address of a machine; write one like 192.0.2.50 or 192.0.2.50/24")]
    Address(String),
    /// Not a destination.
    #[error("{0:?} is not an address or a network; write one like 198.51.100.0/24")]
    Route(String),
    /// Two of one family.
    #[error("{0} and {1} are both for the interface; give one IPv4 and one IPv6 address at most")]
    TwoAddresses(IpNet, IpNet),
    /// Not a name of an interface.
    #[error("{0:?} cannot be the name of an interface; write at most 15 letters and digits")]
    Interface(String),
    /// A name for an interface that several networks share.
    #[error(
        "an interface without an address is shared by all networks of its NIC and named by Landline; leave out --interface or add --ip"
    )]
    InterfaceUnnumbered,
    /// Destinations beyond the containers are asked for by ARP, which takes an address.
    #[error("{route} can only be reached from an interface with an {family} address of its own; add --ip")]
    RouteUnnumbered {
        /// The destination.
        route: IpNet,
        /// Which protocol.
        family: &'static str,
    },
    /// Docker is away.
    #[error(
        "Docker's API cannot be reached, so the network {0} cannot be looked up; try again when Docker runs"
    )]
    Docker(String),
    /// No such network.
    #[error("there is no Docker network {0}; docker network ls shows those there are")]
    NoNetwork(String),
    /// Not a network for this.
    #[error("{0}")]
    Unsuitable(String),
    /// The parent is not there.
    #[error("{network} hangs on {parent}, which {what}")]
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
    /// The kernel or `nft` did not do it.
    #[error("{0}")]
    Failed(String),
    /// It was not enabled.
    #[error("{0} has no host access; landline host-access ls shows what has")]
    NotEnabled(String),
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

fn list(nets: &[IpNet]) -> String {
    nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl AccessRequest {
    /// What it says.
    ///
    /// # Errors
    /// What of it makes no sense by itself.
    pub fn read(&self) -> Result<AccessRecord, AccessError> {
        let net = |text: &String| {
            let text = text.trim();
            text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        };
        let machine = |net: &IpNet| {
            let address = net.addr();
            let whole = net.prefix_len() == net.max_prefix_len();
            let end = address == net.network() || (address.is_ipv4() && address == net.broadcast());
            let short = net.max_prefix_len() - net.prefix_len() < 2;
            !(address.is_unspecified() || address.is_multicast() || address.is_loopback())
                && (whole || short || !end)
        };
        let mut addresses: Vec<IpNet> = Vec::new();
        for text in &self.addresses {
            let address = net(text).filter(machine).ok_or_else(|| AccessError::Address(cut(text)))?;
            if let Some(other) = addresses.iter().find(|a| a.addr().is_ipv4() == address.addr().is_ipv4()) {
                return Err(AccessError::TwoAddresses(*other, address));
            }
            addresses.push(address);
        }
        let mut routes = Vec::new();
        for text in &self.routes {
            let route =
                net(text).filter(|net| net.prefix_len() > 0).ok_or_else(|| AccessError::Route(cut(text)))?;
            let route = route.trunc();
            let v4 = route.addr().is_ipv4();
            if !addresses.iter().any(|a| a.addr().is_ipv4() == v4) {
                let family = if v4 { "IPv4" } else { "IPv6" };
                return Err(AccessError::RouteUnnumbered { route, family });
            }
            routes.push(route);
        }
        let interface = self.interface.as_ref().filter(|name| !name.is_empty());
        let interface =
            interface.map(|name| clean(name).ok_or_else(|| AccessError::Interface(cut(name)))).transpose()?;
        if interface.is_some() && addresses.is_empty() {
            return Err(AccessError::InterfaceUnnumbered);
        }
        Ok(AccessRecord { network: self.network.clone(), addresses, routes, interface, loosen: self.loosen })
    }
}

/// A name without anything that means something in a rule of nft.
fn clean(name: &str) -> Option<IfName> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.parse().ok().filter(|_| name.chars().all(harmless))
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// What is known when a request is judged.
pub(super) struct Situation<'a> {
    pub(super) networks: &'a BTreeMap<NetworkId, SeenNetwork>,
    pub(super) links: &'a [Link],
    pub(super) addresses: &'a [Address],
    /// Addresses that shims have by now, which are not in anybody's way.
    pub(super) held: &'a [IpNet],
}

/// Whether a request can be served. The LAN is asked as well.
pub(super) async fn check(record: &AccessRecord, situation: &Situation<'_>) -> Result<(), AccessError> {
    let (_, network) = find(situation.networks, &record.network)
        .ok_or_else(|| AccessError::NoNetwork(record.network.clone()))?;
    let name = suitable_parent(network).map_err(AccessError::Unsuitable)?;
    let unusable = |what| AccessError::Parent { network: network.name.clone(), parent: name.clone(), what };
    let parent = situation.links.iter().find(|link| link.name == *name);
    let parent = parent.ok_or_else(|| unusable("is not there"))?;
    if !parent.up {
        return Err(unusable("is down; bring it up first"));
    }
    let subnets: Vec<IpNet> = network.subnets.iter().filter(|net| net.prefix_len() > 0).copied().collect();
    if record.addresses.is_empty() {
        let fits = |host: IpNet| subnets.is_empty() || subnets.iter().any(|net| net.contains(&host.addr()));
        if !host_addresses(parent, situation.addresses).any(fits) {
            return Err(AccessError::NoHostAddress { network: network.name.clone(), parent: name.clone() });
        }
        let strict =
            || super::strict_filter(parent).filter(|_| network.wire == Wire::Ipvlan && !record.loosen);
        if let Some(why) = strict() {
            return Err(AccessError::Unsuitable(why));
        }
    }
    for net in record.addresses.iter().filter(|net| !situation.held.contains(net)) {
        let address = net.addr();
        let family = |net: &&IpNet| net.addr().is_ipv4() == address.is_ipv4();
        if subnets.iter().any(|net| family(&net)) && !subnets.iter().any(|net| net.contains(&address)) {
            return Err(AccessError::Outside { address, network: network.name.clone(), subnets });
        }
        if let Some(user) = user(address, situation) {
            return Err(AccessError::InUse { address, user });
        }
        if let (IpAddr::V4(v4), Some(mac)) = (address, parent.mac) {
            match probe::user(parent.index, mac, v4).await {
                Ok(None) => {}
                Ok(Some(mac)) => {
                    return Err(AccessError::InUse {
                        address,
                        user: format!("the machine {mac} on the LAN"),
                    });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(addresses: &[&str], routes: &[&str], interface: Option<&str>) -> Result<AccessRecord, String> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let request = AccessRequest {
            network: "lan".into(),
            addresses: texts(addresses),
            routes: texts(routes),
            interface: interface.map(str::to_owned),
            loosen: false,
        };
        request.read().map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_may_lack_a_length_and_routes_keep_theirs() {
        let record =
            read(&["192.0.2.50", "2001:db8::50/64"], &["198.51.100.9/24", "203.0.113.7"], None).unwrap();
        let texts = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&record.addresses), ["192.0.2.50/32", "2001:db8::50/64"]);
        assert_eq!(texts(&record.routes), ["198.51.100.0/24", "203.0.113.7/32"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_a_sentence() {
        for address in ["", "192.0.2.50/33", "192.0.2.0/24", "192.0.2.255/24", "224.0.0.1", "0.0.0.0", "lan"]
        {
            assert!(
                read(&[address], &[], None).unwrap_err().contains("is not an address of a machine"),
                "{address}"
            );
        }
        assert!(
            read(&["192.0.2.50", "192.0.2.51"], &[], None)
                .unwrap_err()
                .contains("are both for the interface")
        );
        assert!(
            read(&["192.0.2.50"], &["198.51.100.0/99"], None)
                .unwrap_err()
                .contains("is not an address or a network")
        );
        assert!(read(&["192.0.2.50"], &["0.0.0.0/0"], None).is_err());
        assert!(read(&[], &["198.51.100.0/24"], None).unwrap_err().contains("add --ip"));
        assert!(
            read(&["192.0.2.50"], &["2001:db8:9::/64"], None)
                .unwrap_err()
                .contains("IPv6 address of its own")
        );
        assert!(read(&["192.0.2.50"], &[], Some("x\"accept")).unwrap_err().contains("at most 15"));
        assert!(read(&["192.0.2.50"], &[], Some("far too long a name")).unwrap_err().contains("at most 15"));
        assert!(read(&[], &[], Some("lan0")).unwrap_err().contains("leave out --interface"));
    }
}
