//! Which addresses a container may have: one decision, whatever its link and wherever its address comes from.
//!
//! The LAN cannot be asked about all of it. On macvlan and ipvlan the kernel hides the host from its children, so no probe
//! finds the host's own addresses; two containers with one address would take turns in their neighbours' tables; and
//! `conflict_check=off` leaves out every probe.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::IpNet;
use landline_links::{VlanBy, facts_of};
use landline_options::{EndpointId, NetworkOptions, Vlan};
use landline_types::{IfName, Mac};

/// A broadcast domain, as far as this host can tell two of them apart. On separate ones the same address may be used
/// twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lan {
    /// That of a host interface, or one of its VLANs. A VLAN of a NIC is an interface of its own; where a bridge has the same
    /// one, the host's links show that both are one LAN.
    Parent(IfName, Option<u16>),
    /// That of the switch in this directory.
    Switch(PathBuf),
}

impl Lan {
    /// Where the endpoints of a network with these options are.
    pub fn of(options: &NetworkOptions) -> Self {
        if let Some(dir) = options.switch_dir() {
            return Self::Switch(dir.to_owned());
        }
        // A VLAN of a NIC is the parent by itself.
        let port = matches!(facts_of(options.mode).vlan, VlanBy::Filter | VlanBy::Tag);
        Self::Parent(options.parent.clone(), options.vlan.filter(|_| port).map(Vlan::get))
    }
}

/// Who asks whether it may have an address.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Where it would be.
    pub lan: &'a Lan,
    /// Which endpoint it is: what is its own is in nobody's way.
    pub endpoint: Option<&'a EndpointId>,
    /// The host interface that it is itself, or that has its address for it: what is there is in nobody's way.
    pub interface: Option<&'a IfName>,
    /// Whether the host would route to the address: it may have none outside the host's own subnets on that LAN, because the route
    /// would take what the host and all that it routes for send to whoever has the address.
    pub routed: bool,
}

/// An endpoint that has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Which it is.
    pub(crate) endpoint: EndpointId,
    /// How messages call whoever has it: `container web`.
    pub(crate) name: String,
    /// Its hardware address.
    pub(crate) mac: Mac,
    /// The sandbox it is in.
    pub(crate) sandbox: Option<PathBuf>,
}

/// The addresses that are in use on this host and behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InUse {
    /// The host's own, and the interfaces that have them.
    pub(crate) host: BTreeMap<IpAddr, Vec<IfName>>,
    /// The subnets that the host's interfaces are in.
    pub(crate) subnets: BTreeSet<(IfName, IpNet)>,
    /// Those of endpoints, on each LAN; whoever had it first comes first.
    pub(crate) endpoints: BTreeMap<(Lan, IpAddr), Vec<Holder>>,
}

impl InUse {
    /// The host has these addresses now, with their subnets.
    pub(crate) fn set_host(&mut self, addresses: Vec<(IfName, IpNet)>) {
        self.host.clear();
        self.subnets.clear();
        for (on, net) in addresses {
            self.host.entry(net.addr()).or_default().push(on.clone());
            self.subnets.insert((on, net.trunc()));
        }
    }
}

/// Why a container may not have an address. The text is a whole clause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotPermitted {
    /// No host can have it.
    #[error("{address} is {kind}, which no container can have")]
    NoHost {
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: &'static str,
    },
    /// It means its subnet, or all of it.
    #[error("{address} is the {kind} address of {subnet}, which no container can have")]
    OfSubnet {
        /// The address.
        address: IpAddr,
        /// Which of them.
        kind: &'static str,
        /// The subnet.
        subnet: IpNet,
    },
    /// The host has it.
    #[error("this host has {address} itself, on {interface}")]
    Host {
        /// The address.
        address: IpAddr,
        /// The interface.
        interface: IfName,
    },
    /// The host would route to it, and it is not of the LAN.
    #[error(
        "{address} is in no subnet that this host has on that LAN ({}), and with mode=routed the host would route it to \
         the container",
        list(subnets)
    )]
    OffLan {
        /// The address.
        address: IpAddr,
        /// The host's IPv4 subnets there.
        subnets: Vec<IpNet>,
    },
    /// Another container on the same LAN has it.
    #[error("{holder} has {address} on the same LAN")]
    Endpoint {
        /// The address.
        address: IpAddr,
        /// Which endpoint has it.
        endpoint: EndpointId,
        /// How messages call whoever has that.
        holder: String,
    },
}

fn list(subnets: &[IpNet]) -> String {
    if subnets.is_empty() {
        return "it has no IPv4 address there".into();
    }
    subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether a container may have this address, with its prefix. `name_of`: one name for all that are one LAN.
///
/// # Errors
/// What is in the way.
pub(crate) fn permit(
    net: IpNet,
    asker: &Asker<'_>,
    in_use: &InUse,
    name_of: impl Fn(&Lan) -> Lan,
) -> Result<(), NotPermitted> {
    let address = net.addr();
    let lan = name_of(asker.lan);
    let is_here = |interface: &IfName| name_of(&Lan::Parent(interface.clone(), None)) == lan;
    if let Some(kind) = no_host(address) {
        return Err(NotPermitted::NoHost { address, kind });
    }
    if let Some((subnet, kind)) = of_subnet_on(net, in_use, is_here) {
        return Err(NotPermitted::OfSubnet { address, kind, subnet });
    }
    let interfaces = in_use.host.get(&address).into_iter().flatten();
    let in_the_way = |interface: &&IfName| {
        // Link-local addresses are unique on their link only: bridges of containers all have fe80::1.
        asker.interface != Some(*interface) && (!is_link_local(address) || is_here(interface))
    };
    if let Some(interface) = interfaces.clone().find(in_the_way) {
        return Err(NotPermitted::Host { address, interface: interface.clone() });
    }
    if asker.routed && address.is_ipv4() {
        let here = in_use.subnets.iter().filter(|(on, subnet)| subnet.addr().is_ipv4() && is_here(on));
        let subnets: Vec<IpNet> = here.map(|(_, subnet)| *subnet).collect();
        if !subnets.iter().any(|subnet| subnet.contains(&address)) {
            return Err(NotPermitted::OffLan { address, subnets });
        }
    }
    // Of two that ask at the same moment it is the first one's.
    let mut there = in_use.endpoints.iter().filter(|((on, held), _)| *held == address && name_of(on) == lan);
    let first = there.find_map(|(_, holders)| holders.first());
    match first.filter(|holder| Some(&holder.endpoint) != asker.endpoint) {
        Some(Holder { endpoint, name, .. }) => {
            Err(NotPermitted::Endpoint { address, endpoint: endpoint.clone(), holder: name.clone() })
        }
        None => Ok(()),
    }
}

/// What an address is that no host can have.
fn no_host(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("an address of 0.0.0.0/8 (\"this network\")"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some("the unspecified address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ => None,
    }
}

/// What an address is to the subnet it is in, if that is not one of its hosts. One without a subnet of its own (/32, /128) is
/// in those that the host has on that LAN.
fn of_subnet_on(
    net: IpNet,
    in_use: &InUse,
    is_here: impl Fn(&IfName) -> bool,
) -> Option<(IpNet, &'static str)> {
    if net.prefix_len() < net.max_prefix_len() {
        return of_subnet(net).map(|kind| (net.trunc(), kind));
    }
    let mut here = in_use.subnets.iter().filter(|(on, subnet)| subnet.contains(&net.addr()) && is_here(on));
    here.find_map(|(_, subnet)| {
        let within = IpNet::new(net.addr(), subnet.prefix_len()).ok()?;
        of_subnet(within).map(|kind| (*subnet, kind))
    })
}

/// What an address is to its subnet, if that is not one of its hosts. Subnets of two addresses and of one have hosts
/// only (RFC 3021, RFC 6164).
fn of_subnet(net: IpNet) -> Option<&'static str> {
    if net.max_prefix_len() - net.prefix_len() < 2 {
        return None;
    }
    match net {
        IpNet::V4(v4) if v4.addr() == v4.network() => Some("network"),
        IpNet::V4(v4) if v4.addr() == v4.broadcast() => Some("broadcast"),
        // RFC 4291 section 2.6.1.
        IpNet::V6(v6) if v6.addr() == v6.network() => Some("routers' anycast"),
        IpNet::V4(_) | IpNet::V6(_) => None,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> IfName {
        text.parse().unwrap()
    }

    fn endpoint(letter: &str) -> EndpointId {
        letter.repeat(64).parse().unwrap()
    }

    fn lan(parent: &str) -> Lan {
        Lan::Parent(name(parent), None)
    }

    fn holder(letter: &str, called: &str) -> Holder {
        Holder {
            endpoint: endpoint(letter),
            name: called.into(),
            mac: Mac::new([2, 0, 0, 0, 0, 1]),
            sandbox: None,
        }
    }

    /// eth0 has the addresses that end in 10; on its LAN a container has those that end in 70.
    fn in_use() -> InUse {
        let host = [
            ("127.0.0.1", "lo"),
            ("192.0.2.10", "eth0"),
            ("2001:db8:1::10", "eth0"),
            ("fe80::1", "docker0"),
            ("fe80::2", "eth0"),
            ("169.254.7.7", "eth1"),
        ];
        let held =
            |address: &str| ((lan("eth0"), address.parse().unwrap()), vec![holder("a", "container one")]);
        InUse {
            host: host.iter().map(|(address, on)| (address.parse().unwrap(), vec![name(on)])).collect(),
            subnets: ["192.0.2.0/24", "2001:db8:1::/64"]
                .map(|net| (name("eth0"), net.parse().unwrap()))
                .into(),
            endpoints: [held("192.0.2.70"), held("2001:db8:1::70")].into(),
        }
    }

    fn says(net: &str, asker: &Asker<'_>) -> String {
        permit(net.parse().unwrap(), asker, &in_use(), Lan::clone)
            .map_or_else(|refused| refused.to_string(), |()| String::new())
    }

    #[test]
    fn what_a_container_may_have() {
        let on = lan("eth0");
        let asker = Asker { lan: &on, endpoint: Some(&endpoint("b")), interface: None, routed: false };
        for (net, part) in [
            ("192.0.2.77/24", ""),
            ("2001:db8:1::77/64", ""),
            ("169.254.1.1/16", ""),
            ("fe80::9/64", ""),
            // Nobody's.
            ("0.0.0.0/0", "0.0.0.0/8"),
            ("0.1.2.3/8", "0.0.0.0/8"),
            ("127.0.0.5/8", "a loopback"),
            ("224.0.0.9/24", "a multicast"),
            ("239.255.255.250/32", "a multicast"),
            ("255.255.255.255/32", "the broadcast address"),
            ("::/128", "unspecified"),
            ("::1/128", "a loopback"),
            ("ff02::9/64", "a multicast"),
            ("::ffff:192.0.2.77/128", "IPv4-mapped"),
            // The subnet's.
            ("192.0.2.0/24", "the network address of 192.0.2.0/24"),
            ("192.0.2.255/24", "the broadcast address of 192.0.2.0/24"),
            ("192.0.2.64/30", "the network address"),
            ("192.0.2.67/30", "the broadcast address"),
            ("192.0.2.255/23", ""),
            ("192.0.2.0/31", ""),
            ("192.0.2.255/31", ""),
            // Without a subnet of its own: what it is to the host's there.
            ("192.0.2.0/32", "the network address of 192.0.2.0/24"),
            ("192.0.2.255/32", "the broadcast address of 192.0.2.0/24"),
            ("198.51.100.255/32", ""),
            ("192.0.2.77/32", ""),
            ("2001:db8:1::/64", "anycast address of 2001:db8:1::/64"),
            ("2001:db8:1::/127", ""),
            ("2001:db8:1::/128", "anycast address of 2001:db8:1::/64"),
            ("2001:db8:2::/128", ""),
            // The host's, whatever the prefix.
            ("192.0.2.10/24", "this host has 192.0.2.10 itself, on eth0"),
            ("192.0.2.10/32", "this host"),
            ("2001:db8:1::10/64", "this host has 2001:db8:1::10 itself, on eth0"),
            ("2001:db8:1::10/128", "this host"),
            ("fe80::2/64", "this host"),
            // Another link's.
            ("fe80::1/64", ""),
            ("169.254.7.7/16", ""),
            // Another container's.
            ("192.0.2.70/24", "container one has 192.0.2.70 on the same LAN"),
            ("192.0.2.70/32", "container one"),
            ("2001:db8:1::70/64", "container one"),
        ] {
            let said = says(net, &asker);
            assert!(said.contains(part) && said.is_empty() == part.is_empty(), "{net}: {said:?}");
        }
    }

    #[test]
    fn what_is_ones_own_is_in_nobodys_way() {
        let on = lan("eth0");
        let own = endpoint("a");
        let asker = Asker { lan: &on, endpoint: Some(&own), interface: None, routed: false };
        assert_eq!(says("192.0.2.70/24", &asker), "");
        assert!(says("192.0.2.10/24", &asker).contains("this host"));
        // A card that moves into a container, with the address it has on the host.
        let eth0 = name("eth0");
        let card = Asker { interface: Some(&eth0), ..asker };
        assert_eq!(says("192.0.2.10/24", &card), "");
        // An address on two interfaces is the host's still.
        let mut twice = in_use();
        twice.host.insert("192.0.2.10".parse().unwrap(), vec![eth0.clone(), name("lo")]);
        let refused = permit("192.0.2.10/24".parse().unwrap(), &card, &twice, Lan::clone);
        assert!(matches!(refused, Err(NotPermitted::Host { interface, .. }) if interface == name("lo")));
    }

    #[test]
    fn separate_lans_may_have_the_same_addresses_but_not_the_hosts() {
        let elsewhere =
            [lan("eth1"), Lan::Parent(name("eth0"), Some(12)), Lan::Switch("/run/vde.ctl".into())];
        for lan in &elsewhere {
            let asker = Asker { lan, endpoint: None, interface: None, routed: false };
            assert_eq!(says("192.0.2.70/24", &asker), "", "{lan:?}");
            assert!(says("192.0.2.10/24", &asker).contains("this host"), "{lan:?}");
        }
    }

    #[test]
    fn what_another_name_of_the_same_lan_has_is_in_the_way() {
        // eth0 is a port of br0, and has a VLAN 12 by itself.
        let name_of = |lan: &Lan| match lan {
            Lan::Parent(parent, None) if *parent == name("eth0") => Lan::Parent(name("br0"), None),
            Lan::Parent(parent, None) if *parent == name("eth0.12") => Lan::Parent(name("br0"), Some(12)),
            lan => lan.clone(),
        };
        let mut in_use = in_use();
        in_use
            .endpoints
            .insert((lan("eth0.12"), "192.0.2.71".parse().unwrap()), vec![holder("c", "container three")]);
        let may = |net: &str, lan: &Lan, endpoint: &str| {
            let own = self::endpoint(endpoint);
            let asker = Asker { lan, endpoint: Some(&own), interface: None, routed: false };
            permit(net.parse().unwrap(), &asker, &in_use, name_of)
        };
        let tagged = Lan::Parent(name("br0"), Some(12));
        assert!(may("192.0.2.71/24", &tagged, "b").unwrap_err().to_string().contains("container three"));
        assert_eq!(may("192.0.2.71/24", &tagged, "c"), Ok(()), "its own");
        assert_eq!(may("192.0.2.71/24", &lan("br0"), "b"), Ok(()), "another VLAN's");
        assert!(may("192.0.2.70/24", &lan("br0"), "b").unwrap_err().to_string().contains("container one"));
        // What the host has on the NIC is of the bridge's LAN as well.
        assert!(may("192.0.2.255/32", &lan("br0"), "b").is_err());
        assert!(may("fe80::2/64", &lan("br0"), "b").is_err());
        assert_eq!(may("fe80::2/64", &tagged, "b"), Ok(()));
    }

    #[test]
    fn what_the_host_would_route_to_is_in_its_own_subnets_on_that_lan() {
        let mut in_use = in_use();
        in_use.subnets.insert((name("docker0"), "172.17.0.0/16".parse().unwrap()));
        let ask = |net: &str, parent: &str, routed| {
            let on = lan(parent);
            let asker = Asker { lan: &on, endpoint: None, interface: None, routed };
            let refused = permit(net.parse().unwrap(), &asker, &in_use, Lan::clone).err();
            refused.map(|refused| refused.to_string()).unwrap_or_default()
        };
        // A container of Docker's own bridge, and a machine somewhere else.
        for net in ["172.17.0.2/32", "172.17.0.2/24", "9.9.9.9/32", "9.9.9.9/0"] {
            let says = ask(net, "eth0", true);
            assert!(says.contains("is in no subnet that this host has on that LAN (192.0.2.0/24)"), "{says}");
            assert_eq!(ask(net, "eth0", false), "", "{net}: no other link makes a route on the host");
        }
        for net in ["192.0.2.77/32", "192.0.2.77/24", "2001:db8:2::77/64"] {
            assert_eq!(ask(net, "eth0", true), "", "{net}");
        }
        let says = ask("192.0.2.77/24", "eth1", true);
        assert!(says.contains("(it has no IPv4 address there)"), "{says}");
    }

    #[test]
    fn one_lan_has_one_name() {
        let options = |text: &[(&str, &str)]| {
            let given = text.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Lan::of(&NetworkOptions::parse(&given).unwrap())
        };
        let bridge = options(&[("bridge", "br0")]);
        assert_eq!(bridge, options(&[("bridge", "br0"), ("addressing", "none")]));
        assert_eq!(bridge, options(&[("mode", "macvlan"), ("parent", "br0")]));
        assert_ne!(bridge, options(&[("bridge", "br0"), ("vlan", "12")]));
        assert_ne!(bridge, options(&[("bridge", "br1")]));
        let ovs = |vlan| options(&[("mode", "ovs"), ("bridge", "br0"), ("vlan", vlan)]);
        assert_ne!(ovs("12"), ovs("13"), "ports of one switch");
        // Once such a network exists, its parent is the VLAN.
        let child = [("mode", "macvlan"), ("parent", "eth0.12"), ("vlan", "12")];
        assert_eq!(options(&child), Lan::Parent("eth0.12".parse().unwrap(), None));
        let switch = |dir| options(&[("mode", "vde"), ("socket_dir", dir)]);
        assert_eq!(switch("/run/a"), switch("/run/a"));
        assert_ne!(switch("/run/a"), switch("/run/b"));
    }
}
