use std::collections::BTreeMap;

use landline_kernel::PortState;
use landline_options::{Addressing, AttachSpec, LinkChoice, Parent};

use super::*;
use crate::LinkRequest;
use crate::host::Host as _;
use crate::host::fake::{FakeHost, link};
use crate::mark::End;
use crate::plan::{Plan, Step};

const MODES: [Mode; 8] =
    [Mode::Bridge, Mode::Macvlan, Mode::Ipvlan, Mode::Ovs, Mode::Vde, Mode::Nat, Mode::Routed, Mode::Nic];

/// The plan for a container with the hardware address 02:00:00:00:00:01 on eth0, a NIC, or br0, a bridge.
fn plan(mode: Mode) -> Plan {
    let on_bridge = facts_of(mode).host_end != HostEnd::None;
    let parent: IfName = if on_bridge { "br0" } else { "eth0" }.parse().unwrap();
    let link = FakeHost::with_bridge_and_nic().link(&parent).unwrap().unwrap();
    let link = Link { mac: Some(Mac::new([2, 0, 0, 0, 0, 9])), ..link };
    let mut options = NetworkOptions { mode, ..NetworkOptions::new(parent) };
    options.vlan = Some(12.try_into().unwrap()).filter(|_| facts_of(mode).vlan != VlanBy::None);
    let (endpoint, mac) = ("e".repeat(64).parse().unwrap(), Mac::new([2, 0, 0, 0, 0, 1]));
    let request = LinkRequest { endpoint: &endpoint, options: &options, parent: &link, mac, host_name: None };
    request.plan().plan
}

#[test]
fn what_a_driver_says_is_what_its_plan_does() {
    for mode in MODES {
        let (facts, plan) = (facts_of(mode), plan(mode));
        let has = |wanted: fn(&Step) -> bool| plan.steps.iter().any(wanted);
        let script = plan.to_string();
        assert_eq!(
            facts.host_end == HostEnd::BridgePort,
            has(|step| matches!(step, Step::SetController { .. })),
            "{mode}"
        );
        assert_eq!(facts.host_end == HostEnd::SwitchPort, script.contains("ovs-vsctl add-port"), "{mode}");
        assert_eq!(facts.host_routes(), script.contains("proxy_arp=1"), "{mode}");
        assert_eq!(facts.host_end == HostEnd::None, !script.contains("type veth peer"), "{mode}");
        assert_eq!(facts.moves_parent(), !script.contains("ip link add"), "{mode}");
        assert_eq!(facts.shares_mac(), !script.contains("address 02:00:00:00:00:01"), "{mode}");
        assert_eq!(facts.vlan == VlanBy::Filter, script.contains("bridge vlan add"), "{mode}");
        assert_eq!(facts.vlan == VlanBy::Tag, script.contains("tag=12"), "{mode}");
    }
}

#[test]
fn interfaces_are_called_after_their_bridge_if_its_name_is_short_enough() {
    let called = |mode, parent: &str| facts_of(mode).container_prefix(&parent.parse().unwrap());
    for mode in [Mode::Bridge, Mode::Ovs] {
        assert_eq!((called(mode, "br0"), called(mode, "br-0123456789a")), ("br0".into(), "eth".into()));
    }
    assert_eq!(called(Mode::Vde, "llb0123456789ab"), "vde");
    for mode in [Mode::Macvlan, Mode::Ipvlan, Mode::Nat, Mode::Routed, Mode::Nic] {
        assert_eq!(called(mode, "eth0"), "eth", "{mode}");
    }
}

#[test]
fn only_networks_on_the_administrators_bridges_want_them_alone() {
    for mode in MODES {
        let mut options = NetworkOptions { mode, ..NetworkOptions::new("br0".parse().unwrap()) };
        assert_eq!(wants_bridge_alone(&options), mode == Mode::Bridge, "{mode}");
        options.ignore_conflicts = true;
        assert!(!wants_bridge_alone(&options), "{mode}");
    }
}

/// What comes of these options in a network of this mode, or in an attachment where only that can have it.
fn network(mode: Mode, options: &[(&str, &str)]) -> Option<NetworkOptions> {
    let mut all: BTreeMap<String, String> =
        options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let parent: IfName = "eth0".parse().unwrap();
    if facts_of(mode).moves_parent() {
        let spec = AttachSpec::new(Parent::Name(parent.clone()));
        let spec = AttachSpec { link: LinkChoice::Nic, dhcp: true, options: all, ..spec };
        return spec.network(&parent, Mode::Macvlan).ok();
    }
    all.insert("mode".into(), mode.to_string());
    if facts_of(mode).parent != ParentIs::OwnBridge || facts_of(mode).is_translated() {
        all.insert("parent".into(), parent.to_string());
    }
    NetworkOptions::parse(&all).ok()
}

/// The options are read without the links: what they say of a mode must be what its driver does.
#[test]
fn options_go_with_the_modes_whose_links_can_have_them() {
    for mode in MODES {
        let facts = facts_of(mode);
        let takes = |options: &[(&str, &str)]| network(mode, options).is_some();
        let plain = network(mode, &[]).unwrap_or_else(|| panic!("{mode}"));
        assert_eq!(plain.mode, mode);
        let own_bridge = facts.parent == ParentIs::OwnBridge;
        assert_eq!(plain.addressing == Addressing::Static, own_bridge, "{mode}: who gives addresses");
        let named = own_bridge && !facts.is_translated();
        assert_eq!(takes(&[("bridge", "eth0")]), !named, "{mode}: parent");

        assert_eq!(takes(&[("vlan", "12")]), facts.vlan != VlanBy::None, "{mode}: vlan");
        assert_eq!(takes(&[("vlan", "12"), ("trunks", "13")]), facts.vlan == VlanBy::Tag, "{mode}: trunks");
        assert_eq!(takes(&[("host_access", "true")]), facts.shim.is_some(), "{mode}: host_access");
        let filtered = facts.is_lan_bridge() || facts.is_translated() || facts.host_routes();
        assert_eq!(takes(&[("firewall", "open")]), filtered, "{mode}: firewall");

        let direct = !facts.is_translated();
        assert_eq!(takes(&[("addressing", "dhcp")]), direct, "{mode}: addressing");
        assert_eq!(takes(&[("lan_ip", "192.0.2.9")]), !direct, "{mode}: lan_ip");
        // Nobody would hear the routers of a card that has moved.
        let ipv6 = direct && !facts.moves_parent() && !facts.host_routes();
        assert_eq!(takes(&[("ipv6", "true")]), ipv6, "{mode}: ipv6");
        let own_mac = !facts.shares_mac();
        let eui64 = [("ipv6", "true"), ("ipv6_address", "eui64")];
        assert_eq!(takes(&eui64), ipv6 && own_mac, "{mode}: ipv6_address");
        let by_mac = [("addressing", "dhcp"), ("client_id", "ll-{mac}")];
        assert_eq!(takes(&by_mac), direct && own_mac, "{mode}: client_id");
    }
}

#[test]
fn packets_lead_over_the_endpoints_own_port_and_those_of_its_parent() {
    let mark = || Mark::new(&"e".repeat(64).parse().unwrap(), End::Host);
    let nic = |lower_up| Link { lower_up, ..link(2, "eth0", LinkKind::Physical) };
    let port = |index, state| Link {
        controller: Some(3),
        port_state: Some(state),
        ..link(index, "p0", LinkKind::Physical)
    };
    let bridge = link(3, "br0", LinkKind::Bridge { vlan_filtering: false });
    let links = [bridge, nic(true)];
    let is = |mode, parent: &str, link: &Link| {
        let options = NetworkOptions { mode, ..NetworkOptions::new(parent.parse().unwrap()) };
        leads_over(link, &mark(), &options, &links)
    };
    assert!(is(Mode::Macvlan, "eth0", &nic(true)));
    assert!(!is(Mode::Macvlan, "eth1", &nic(true)));
    assert!(is(Mode::Macvlan, "br0", &port(2, PortState::Forwarding)), "the cable of its bridge");
    assert!(!is(Mode::Bridge, "br0", &nic(true)), "it is not in it");
    assert!(is(Mode::Bridge, "br0", &port(5, PortState::Forwarding)));
    assert!(!is(Mode::Bridge, "br1", &port(5, PortState::Forwarding)));
    let own = Link { alias: Some(mark().to_string()), ..port(4, PortState::Forwarding) };
    assert!(is(Mode::Bridge, "br0", &own));
    let others = Mark::new(&"f".repeat(64).parse().unwrap(), End::Host);
    assert!(!is(Mode::Bridge, "br0", &Link { alias: Some(others.to_string()), ..own }));
    assert!(is(Mode::Ipvlan, "eth0", &nic(true)) && is(Mode::Routed, "eth0", &nic(true)));
    // A card is in its container, and no port of a bridge of Landline's own leads to the LAN.
    assert!(!is(Mode::Nic, "eth0", &nic(true)));
    for mode in [Mode::Vde, Mode::Nat] {
        assert!(!is(mode, "br0", &port(5, PortState::Forwarding)), "{mode}");
    }
    let datapath = [link(3, "ovs-system", LinkKind::OpenVswitch)];
    let ovs = NetworkOptions { mode: Mode::Ovs, ..NetworkOptions::new("ovsbr0".parse().unwrap()) };
    assert!(leads_over(&port(5, PortState::Forwarding), &mark(), &ovs, &datapath), "whatever its bridge");
    assert!(!leads_over(&nic(true), &mark(), &ovs, &datapath));
}
