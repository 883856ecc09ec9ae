//! Whether a NIC can become the port of a bridge, and what will be done.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use landline_kernel::{Link, LinkKind, Neighbour, Netlink, Route, WholeAddress, WholeRoute};
use landline_links::mark::PROTOCOL;
use landline_types::IfName;

use super::{BridgeKind, MARK, UplinkError, ovs};

/// A NIC that can be moved under a bridge, with what the host has on it.
#[derive(Debug, Clone)]
pub struct Uplink {
    pub(super) nic: Link,
    pub(super) bridge: IfName,
    pub(super) kind: BridgeKind,
    addresses: Vec<WholeAddress>,
    routes: Vec<WholeRoute>,
}

impl Uplink {
    /// The NIC as it is now.
    pub const fn nic(&self) -> &Link {
        &self.nic
    }

    /// The IPv4 address that ends by itself unless whoever got it from a DHCP server renews it.
    pub fn leased(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|whole| match whole.address.net {
            IpNet::V4(net) if !whole.address.is_permanent() => Some(net.addr()),
            _ => None,
        })
    }
}

/// Why it must not, or cannot, be done. Each says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedUplink {
    /// There is no such interface.
    #[error("there is no interface {name}")]
    NoLink {
        /// What was asked for.
        name: IfName,
    },
    /// The name for the bridge is in use.
    #[error("there is an interface {name} already; give the bridge another name")]
    Taken {
        /// The name.
        name: IfName,
    },
    /// It is no NIC.
    #[error("{name} is {what}; name the NIC that is plugged into the LAN")]
    NoNic {
        /// The interface.
        name: IfName,
        /// What it is.
        what: &'static str,
    },
    /// Access points drop what does not come from the address that logged in.
    #[error(
        "{name} is a Wi-Fi interface: the access point drops frames of other hardware addresses, so nothing on the \
         bridge would be reachable; use a wired interface, or networks with mode=routed or mode=ipvlan"
    )]
    Wireless {
        /// The interface.
        name: IfName,
    },
    /// It is a port already.
    #[error("{name} is a port of {controller} already; use that one")]
    Port {
        /// The interface.
        name: IfName,
        /// Whose port it is.
        controller: String,
    },
    /// It has links that a bridge's port cannot have.
    #[error(
        "{name} has the macvlan or ipvlan links {}, which the port of a bridge cannot have; stop their containers \
         first, and create their networks on the bridge afterwards",
        names(children)
    )]
    Children {
        /// The interface.
        name: IfName,
        /// The links on it.
        children: Vec<IfName>,
    },
    /// It has such links in other namespaces, which only the kernel knows.
    #[error(
        "{name} has macvlan or ipvlan links in containers, which the port of a bridge cannot have; stop those \
         containers first, and create their networks on the bridge afterwards"
    )]
    ChildrenElsewhere {
        /// The interface.
        name: IfName,
    },
    /// The host answers on it for containers that it routes to, which would end.
    #[error(
        "the host routes between {name} and containers with mode=routed ({}), which would lose the LAN; stop them first, and \
         create their networks again with the bridge as their parent",
        list(addresses)
    )]
    Routed {
        /// The interface.
        name: IfName,
        /// The containers' addresses.
        addresses: Vec<IpAddr>,
    },
    /// It does not carry anything.
    #[error("{name} is down; bring it up first: ip link set {name} up")]
    Down {
        /// The interface.
        name: IfName,
    },
    /// A route that cannot be exchanged in one request.
    #[error(
        "the route {route} leaves through {name} and has several next hops, or one by id; replace it by plain ones"
    )]
    Route {
        /// The interface.
        name: IfName,
        /// The route.
        route: String,
    },
    /// Somebody else's bridge.
    #[error("{name} is not a bridge that landline bridge adopt made")]
    NotOurs {
        /// The interface.
        name: IfName,
    },
    /// A bridge with other ports.
    #[error(
        "{bridge} has other ports ({}), which would lose the LAN; stop what uses them first",
        guests.join(", ")
    )]
    Guests {
        /// The bridge.
        bridge: IfName,
        /// Its ports.
        guests: Vec<String>,
    },
    /// Open vSwitch could not forward in the kernel.
    #[error(
        "this kernel does not forward for Open vSwitch; load its module (modprobe openvswitch), or let ovs-vswitchd \
         forward itself, slower and only as long as it runs (--kind ovs-netdev), or use --kind bridge"
    )]
    NoDatapath,
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn names(links: &[IfName]) -> String {
    links.iter().map(IfName::as_str).collect::<Vec<_>>().join(", ")
}

/// Looks whether `nic` can become the port of a new bridge called `bridge`, of this kind.
///
/// # Errors
/// See [`RefusedUplink`], or the kernel cannot be asked.
pub fn survey(nic: &IfName, bridge: &IfName, kind: BridgeKind) -> Result<Uplink, UplinkError> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let found = candidate(nic, bridge, &links)?;
    let routed = routed_on(found.index, &netlink.proxy_neighbours()?);
    if !routed.is_empty() {
        return Err(RefusedUplink::Routed { name: nic.clone(), addresses: routed }.into());
    }
    if kind != BridgeKind::Linux {
        ovs::check(nic, bridge, kind)?;
    }
    let routes = netlink.whole_routes(found.index)?;
    check_routes(nic, routes.iter().map(|whole| (&whole.route, whole.is_by_object())))?;
    let addresses = netlink.whole_addresses(found.index)?;
    Ok(Uplink { nic: found.clone(), bridge: bridge.clone(), kind, addresses, routes })
}

/// The NIC, if it can become the port of a new bridge of this name.
fn candidate<'a>(nic: &IfName, bridge: &IfName, links: &'a [Link]) -> Result<&'a Link, RefusedUplink> {
    let found = links.iter().find(|link| link.name == *nic);
    let found = found.ok_or_else(|| RefusedUplink::NoLink { name: nic.clone() })?;
    check(found, links)?;
    if links.iter().any(|link| link.name == *bridge) {
        return Err(RefusedUplink::Taken { name: bridge.clone() });
    }
    Ok(found)
}

/// Whether each of a NIC's routes can be exchanged in one request. With each comes whether its next hop is an object of its
/// own (`ip nexthop`).
fn check_routes<'a>(
    nic: &IfName,
    routes: impl IntoIterator<Item = (&'a Route, bool)>,
) -> Result<(), RefusedUplink> {
    match routes.into_iter().find(|(route, by_object)| route.multipath || *by_object) {
        Some((odd, _)) => Err(RefusedUplink::Route { name: nic.clone(), route: odd.to_string() }),
        None => Ok(()),
    }
}

/// The addresses of containers that the host answers for on this link.
fn routed_on(index: u32, proxies: &[Neighbour]) -> Vec<IpAddr> {
    let ours = proxies.iter().filter(|proxy| proxy.index == index && proxy.protocol == PROTOCOL);
    ours.map(|proxy| proxy.address).collect()
}

fn check(nic: &Link, links: &[Link]) -> Result<(), RefusedUplink> {
    let name = nic.name.clone();
    let what = match &nic.kind {
        _ if nic.loopback => Some("the loopback interface"),
        LinkKind::Bridge { .. } => Some("a bridge itself"),
        LinkKind::Macvlan { .. } | LinkKind::Macvtap | LinkKind::Ipvlan { .. } => {
            Some("a macvlan or ipvlan link")
        }
        _ if !nic.ethernet => Some("no Ethernet interface"),
        _ => None,
    };
    if let Some(what) = what {
        return Err(RefusedUplink::NoNic { name, what });
    }
    if nic.wireless {
        return Err(RefusedUplink::Wireless { name });
    }
    if let Some(controller) = nic.controller {
        let owner = links.iter().find(|link| link.index == controller);
        let controller =
            owner.map_or_else(|| format!("link number {controller}"), |link| link.name.to_string());
        return Err(RefusedUplink::Port { name, controller });
    }
    let on_it = |link: &&Link| {
        let child =
            matches!(link.kind, LinkKind::Macvlan { .. } | LinkKind::Macvtap | LinkKind::Ipvlan { .. });
        child && link.parent == Some(nic.index) && link.parent_netns.is_none()
    };
    let children: Vec<IfName> = links.iter().filter(on_it).map(|link| link.name.clone()).collect();
    if !children.is_empty() {
        return Err(RefusedUplink::Children { name, children });
    }
    if nic.up { Ok(()) } else { Err(RefusedUplink::Down { name }) }
}

impl fmt::Display for Uplink {
    /// What will be done, as shell commands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nic, bridge) = (&self.nic.name, &self.bridge);
        let mac = self.nic.mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
        if self.kind == BridgeKind::Linux {
            writeln!(f, "ip link add name {bridge}{mac} mtu {} type bridge", self.nic.mtu)?;
            writeln!(f, "ip link set {bridge} alias {MARK}{nic} up")?;
        } else {
            let hwaddr =
                self.nic.mac.map(|mac| format!(" other_config:hwaddr=\"{mac}\"")).unwrap_or_default();
            writeln!(
                f,
                "ovs-vsctl add-br {bridge} -- set bridge {bridge} datapath_type={}{hwaddr} -- set interface {bridge} \
                 mtu_request={}",
                self.kind.datapath_type(),
                self.nic.mtu
            )?;
            if self.kind == BridgeKind::OvsUserSpace {
                writeln!(f, "ethtool -K {bridge} tx off")?;
            }
            writeln!(f, "ip link set {bridge} up")?;
        }
        let addresses = || self.addresses.iter().filter(|whole| !whole.is_temporary());
        for whole in addresses() {
            writeln!(f, "ip address replace {} dev {bridge}", whole.address.net)?;
        }
        match self.kind {
            BridgeKind::Linux => writeln!(f, "ip link set {nic} master {bridge}")?,
            BridgeKind::Ovs | BridgeKind::OvsUserSpace => writeln!(f, "ovs-vsctl add-port {bridge} {nic}")?,
        }
        let with_addresses = 2;
        let others = self.routes.iter().filter(|whole| whole.route.protocol != with_addresses);
        for whole in others {
            let route = &whole.route;
            write!(f, "ip route replace {}", route.destination)?;
            if let Some(gateway) = route.gateway {
                write!(f, " via {gateway}")?;
            }
            write!(f, " dev {bridge}")?;
            if let Some(metric) = route.priority {
                write!(f, " metric {metric}")?;
            }
            writeln!(f, " table {}", route.table)?;
        }
        for whole in addresses() {
            writeln!(f, "ip address del {} dev {nic}", whole.address.net)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use landline_kernel::MacvlanMode;
    use landline_links::fake::link;

    use super::*;

    const MACVLAN: LinkKind = LinkKind::Macvlan { mode: Some(MacvlanMode::Bridge) };
    const IPVLAN: LinkKind = LinkKind::Ipvlan { mode: None };

    fn name(name: &str) -> IfName {
        name.parse().unwrap()
    }

    fn eth0() -> Link {
        link(2, "eth0", LinkKind::Physical)
    }

    /// What is said of `eth0`, for a bridge called `br0`, where these links are there besides.
    fn says(nic: &Link, others: &[Link]) -> Result<(), RefusedUplink> {
        let links = [std::slice::from_ref(nic), others].concat();
        candidate(&name("eth0"), &name("br0"), &links).map(|found| assert_eq!(found, nic))
    }

    #[test]
    fn a_wired_nic_that_is_up_passes() {
        assert_eq!(says(&eth0(), &[]), Ok(()));
        for kind in [LinkKind::Bond, LinkKind::Vlan { id: 7 }, LinkKind::Veth, LinkKind::Other("team".into())]
        {
            assert_eq!(says(&Link { kind, ..eth0() }, &[]), Ok(()));
        }
        // It needs no carrier.
        assert_eq!(says(&Link { running: false, lower_up: false, ..eth0() }, &[]), Ok(()));
    }

    #[test]
    fn what_is_no_nic_is_refused_by_what_it_is() {
        let what = |nic: Link| match says(&nic, &[]) {
            Err(RefusedUplink::NoNic { name, what }) if name.as_str() == "eth0" => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(what(Link { loopback: true, ethernet: false, ..eth0() }), "the loopback interface");
        let kind = LinkKind::Bridge { vlan_filtering: true };
        assert_eq!(what(Link { kind, ..eth0() }), "a bridge itself");
        for kind in [MACVLAN, LinkKind::Macvtap, IPVLAN] {
            assert_eq!(what(Link { kind, ..eth0() }), "a macvlan or ipvlan link");
        }
        assert_eq!(what(Link { ethernet: false, kind: LinkKind::Tun, ..eth0() }), "no Ethernet interface");
    }

    #[test]
    fn names_must_be_there_and_be_free() {
        let links = [eth0(), link(3, "br1", LinkKind::Bridge { vlan_filtering: false })];
        let says =
            |nic: &str, bridge: &str| candidate(&name(nic), &name(bridge), &links).map(|nic| nic.index);
        assert_eq!(says("eth0", "br0"), Ok(2));
        assert_eq!(says("eth1", "br0"), Err(RefusedUplink::NoLink { name: name("eth1") }));
        assert_eq!(says("eth0", "br1"), Err(RefusedUplink::Taken { name: name("br1") }));
        assert_eq!(says("eth0", "eth0"), Err(RefusedUplink::Taken { name: name("eth0") }));
    }

    #[test]
    fn wireless_interfaces_are_refused() {
        assert_eq!(
            says(&Link { wireless: true, ..eth0() }, &[]),
            Err(RefusedUplink::Wireless { name: name("eth0") })
        );
    }

    #[test]
    fn a_port_is_refused_with_the_name_of_its_bridge() {
        let port = Link { controller: Some(5), ..eth0() };
        let refused = |controller: &str| {
            Err(RefusedUplink::Port { name: name("eth0"), controller: controller.to_owned() })
        };
        let bridge = link(5, "lan0", LinkKind::Bridge { vlan_filtering: false });
        assert_eq!(says(&port, &[bridge]), refused("lan0"));
        assert_eq!(says(&port, &[]), refused("link number 5"));
    }

    #[test]
    fn links_that_a_ports_parent_cannot_have_are_named() {
        let on =
            |index, called: &str, kind, parent| Link { parent: Some(parent), ..link(index, called, kind) };
        let links = [
            on(3, "mv0", MACVLAN, 2),
            on(4, "tap0", LinkKind::Macvtap, 2),
            on(5, "iv0", IPVLAN, 2),
            on(6, "eth0.7", LinkKind::Vlan { id: 7 }, 2),
            on(7, "mv1", MACVLAN, 9),
        ];
        let children = ["mv0", "tap0", "iv0"].map(name).to_vec();
        assert_eq!(says(&eth0(), &links), Err(RefusedUplink::Children { name: name("eth0"), children }));
        // VLANs stay on it, and what is on another link is none of its own.
        assert_eq!(says(&eth0(), &links[3..]), Ok(()));
        // That link 2 is in another namespace.
        let far = Link { parent_netns: Some(1), ..links[0].clone() };
        assert_eq!(says(&eth0(), &[far]), Ok(()));
    }

    #[test]
    fn a_nic_that_is_down_is_refused_after_all_else() {
        let down = Link { up: false, ..eth0() };
        assert_eq!(says(&down, &[]), Err(RefusedUplink::Down { name: name("eth0") }));
        // Its other faults are to be told first: to bring it up would be in vain.
        let wireless = Link { wireless: true, ..down };
        assert_eq!(says(&wireless, &[]), Err(RefusedUplink::Wireless { name: name("eth0") }));
    }

    #[test]
    fn routes_that_cannot_be_exchanged_at_once_are_refused() {
        let plain = Route::on_link("192.0.2.0/24".parse().unwrap(), 2);
        let several = Route { multipath: true, ..Route::on_link("198.51.100.0/24".parse().unwrap(), 2) };
        let says = |routes: &[(&Route, bool)]| check_routes(&name("eth0"), routes.iter().copied());
        let refused =
            |route: &Route| Err(RefusedUplink::Route { name: name("eth0"), route: route.to_string() });
        assert_eq!(says(&[]), Ok(()));
        assert_eq!(says(&[(&plain, false)]), Ok(()));
        assert_eq!(says(&[(&plain, false), (&several, false)]), refused(&several));
        assert_eq!(says(&[(&plain, true)]), refused(&plain));
    }

    #[test]
    fn a_nic_that_the_host_answers_on_for_containers_is_not_moved() {
        let proxy = |index, address: &str| Neighbour::proxy(index, address.parse().unwrap());
        let ours = |index, address| proxy(index, address).protocol(PROTOCOL);
        let proxies =
            [proxy(2, "192.0.2.9"), ours(2, "192.0.2.50"), ours(3, "192.0.2.60"), ours(2, "192.0.2.51")];
        let addresses = routed_on(2, &proxies);
        let says = RefusedUplink::Routed { name: "eth0".parse().unwrap(), addresses }.to_string();
        assert!(
            says.contains("between eth0 and containers with mode=routed (192.0.2.50, 192.0.2.51)"),
            "{says}"
        );
        assert!(routed_on(4, &proxies).is_empty());
    }
}
