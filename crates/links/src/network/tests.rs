use landline_options::Mode;

use super::*;
use crate::host::fake::FakeHost;

fn network(mode: Mode) -> NetworkRecord {
    let mut options = NetworkOptions { mode, ..NetworkOptions::new("eth0".parse().unwrap()) };
    if mode == Mode::Macvlan {
        options.vlan = Some(12.try_into().unwrap());
    }
    let mut network = NetworkRecord::new("b".repeat(64).parse().unwrap(), options);
    network.bridge_address = Some("203.0.113.1/24".parse().unwrap());
    name_bridge(&mut network);
    network
}

/// The kinds of networks that need something, and what that is called.
const MAKE: [(Mode, &[&str]); 3] = [
    (Mode::Macvlan, &["eth0.12"]),
    (Mode::Vde, &["llbbbbbbbbbbbbb", "llubbbbbbbbbbbb"]),
    (Mode::Nat, &["llbbbbbbbbbbbbb"]),
];

#[test]
fn what_is_missing_is_made_once_and_named_as_the_parent() {
    for (mode, made) in MAKE {
        let (host, network) = (FakeHost::with_bridge_and_nic(), network(mode));
        assert!(has_links(&network.options), "{mode}");
        let parent = ensure(&host, &network, true).unwrap();
        assert_eq!(parent.as_str(), made[0], "{mode}");
        assert_eq!(host.names()[2..], *made, "{mode}");
        assert_eq!(ensure(&host, &network, false).unwrap(), parent, "{mode}");
        assert_eq!(host.names()[2..], *made, "{mode}: a second look makes nothing");
    }
}

#[test]
fn a_failure_at_any_step_leaves_nothing_behind() {
    for (mode, _) in MAKE {
        let (host, network) = (FakeHost::with_bridge_and_nic(), network(mode));
        let links = host.links().unwrap();
        let steps = driver_of(mode).network(&network, &links, true).unwrap().plan.steps.len();
        assert!(steps > 1, "{mode}");
        for failing in 0..steps {
            host.fail_at(Some(failing));
            let error = ensure(&host, &network, true).unwrap_err();
            assert!(landline_types::chain(&error).ends_with("injected failure"), "{error}");
            assert_eq!(host.names(), ["br0", "eth0"], "{mode}, step {failing}");
        }
    }
}

#[test]
fn a_failure_says_what_could_not_be_made() {
    let says = |mode| {
        let (host, network) = (FakeHost::with_bridge_and_nic(), network(mode));
        host.fail_at(Some(0));
        ensure(&host, &network, true).unwrap_err().to_string()
    };
    assert!(says(Mode::Macvlan).starts_with("cannot make VLAN 12 of eth0"), "{}", says(Mode::Macvlan));
    assert_eq!(says(Mode::Vde), "the network's switch cannot be used");
    assert_eq!(says(Mode::Nat), "the network's bridge cannot be made");
}

#[test]
fn a_network_that_is_gone_takes_its_own_links_along_and_no_other() {
    for mode in [Mode::Vde, Mode::Nat] {
        let (host, network) = (FakeHost::with_bridge_and_nic(), network(mode));
        let other = NetworkRecord { id: "d".repeat(64).parse().unwrap(), ..network.clone() };
        ensure(&host, &network, true).unwrap();
        remove(&host, &other).unwrap();
        assert_ne!(host.names(), ["br0", "eth0"], "{mode}");
        remove(&host, &network).unwrap();
        assert_eq!(host.names(), ["br0", "eth0"], "{mode}");
    }
}

#[test]
fn a_bridge_of_its_own_is_the_parent_and_a_nic_that_was_named_is_kept() {
    let nic: IfName = "eth0".parse().unwrap();
    for (mode, parent, kept) in [
        (Mode::Nat, "llbbbbbbbbbbbbb", Some(&nic)),
        (Mode::Vde, "llbbbbbbbbbbbbb", None),
        (Mode::Bridge, "eth0", None),
        (Mode::Macvlan, "eth0", None),
    ] {
        let network = network(mode);
        assert_eq!((network.options.parent.as_str(), network.nic.as_ref()), (parent, kept), "{mode}");
    }
}

#[test]
fn the_others_need_nothing() {
    for mode in [Mode::Bridge, Mode::Ipvlan, Mode::Ovs, Mode::Routed, Mode::Nic] {
        let (host, network) = (FakeHost::with_bridge_and_nic(), network(mode));
        assert!(!has_links(&network.options), "{mode}");
        assert_eq!(ensure(&host, &network, true).unwrap().as_str(), "eth0", "{mode}");
        assert_eq!(host.names(), ["br0", "eth0"], "{mode}");
    }
}

#[test]
fn a_link_is_seen_before_it_is_made() {
    let host = FakeHost::with_bridge_and_nic();
    let links = host.links().unwrap();
    let planned = |mode| {
        let NetworkLinks { parent, plan } = driver_of(mode).network(&network(mode), &links, true).unwrap();
        as_planned(&parent, &plan, &links).unwrap()
    };
    let vlan = planned(Mode::Macvlan);
    assert_eq!((vlan.name.as_str(), vlan.kind), ("eth0.12", LinkKind::Vlan { id: 12 }));
    let bridge = planned(Mode::Vde);
    assert_eq!((bridge.name.as_str(), bridge.mtu), ("llbbbbbbbbbbbbb", 9216));
    assert_eq!(as_planned(&"eth7".parse().unwrap(), &Plan::default(), &links), None);
}
