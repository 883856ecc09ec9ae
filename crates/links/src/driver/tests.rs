use landline_kernel::{IpvlanMode, Link, LinkKind as Kind};
use landline_options::Mode;

use super::find_parent;
use crate::host::fake::link;

fn host() -> Vec<Link> {
    vec![
        Link { loopback: true, ..link(1, "lo", Kind::Physical) },
        link(2, "eth0", Kind::Physical),
        link(3, "br0", Kind::Bridge { vlan_filtering: false }),
        Link { controller: Some(3), ..link(4, "eth1", Kind::Physical) },
        Link { wireless: true, ..link(5, "wlan0", Kind::Physical) },
        Link { up: false, ..link(6, "br1", Kind::Bridge { vlan_filtering: false }) },
    ]
}

fn refusal(name: &str, mode: Mode) -> String {
    find_parent(&name.parse().unwrap(), mode, &host()).unwrap_err().to_string()
}

#[test]
fn what_suits_is_found() {
    let links = host();
    for (name, mode) in [
        ("br0", Mode::Bridge),
        ("eth0", Mode::Macvlan),
        ("br0", Mode::Macvlan),
        ("eth0", Mode::Ipvlan),
        ("wlan0", Mode::Ipvlan),
        ("wlan0", Mode::Routed),
    ] {
        assert_eq!(find_parent(&name.parse().unwrap(), mode, &links).unwrap().name.as_str(), name);
    }
}

#[test]
fn infiniband_is_refused() {
    // What the kernel says of IP over InfiniBand: ARPHRD_INFINIBAND (32), and of some cards also a kind.
    for kind in [Kind::Physical, Kind::Other("ipoib".into())] {
        let port = Link { ethernet: false, mac: None, ..link(2, "ib0", kind) };
        for mode in [Mode::Macvlan, Mode::Ipvlan, Mode::Nic] {
            let refused =
                find_parent(&"ib0".parse().unwrap(), mode, std::slice::from_ref(&port)).unwrap_err();
            assert!(refused.to_string().starts_with("ib0 is not an Ethernet interface"), "{mode}: {refused}");
        }
        let bridge = find_parent(&"ib0".parse().unwrap(), Mode::Bridge, &[port]).unwrap_err();
        assert!(matches!(bridge, super::ParentError::WrongKind { .. }), "{bridge}");
    }
}

#[test]
fn a_card_that_moves_in_is_used_by_nothing_else() {
    let nic = link(2, "eth0", Kind::Physical);
    let bridge = link(3, "br0", Kind::Bridge { vlan_filtering: false });
    let said = |links: &[Link]| {
        find_parent(&"eth0".parse().unwrap(), Mode::Nic, links).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(said(&[Link { up: false, ..nic.clone() }]), Ok(()));
    let port = Link { controller: Some(3), ..nic.clone() };
    assert!(said(&[port, bridge.clone()]).unwrap_err().contains("a port of another interface"));
    let child = Link { parent: Some(2), ..link(7, "child0", Kind::Macvlan { mode: None }) };
    assert!(said(&[nic.clone(), child]).unwrap_err().contains("the parent of macvlan links (child0)"));
    let radio = Link { wireless: true, ..nic };
    assert!(said(&[radio]).unwrap_err().contains("iw phy"));
    let refused = find_parent(&"br0".parse().unwrap(), Mode::Nic, &[bridge]).unwrap_err();
    assert!(refused.to_string().starts_with("br0 is a bridge"), "{refused}");
}

#[test]
fn refusals_say_what_to_type() {
    assert_eq!(
        refusal("br9", Mode::Bridge),
        "there is no interface br9; one of these would do: -o parent=br0"
    );
    assert_eq!(
        refusal("nic", Mode::Macvlan),
        "there is no interface nic; one of these would do: -o parent=eth0, -o parent=br0"
    );
    assert!(refusal("eth0", Mode::Bridge).contains("-o mode=macvlan"));
    assert!(refusal("eth1", Mode::Macvlan).ends_with("use that bridge: -o mode=bridge -o bridge=br0"));
    assert!(refusal("wlan0", Mode::Macvlan).contains("Wi-Fi"));
    assert!(refusal("br1", Mode::Bridge).ends_with("ip link set br1 up"));
    assert!(refusal("lo", Mode::Macvlan).contains("loopback"));
    assert!(
        refusal("wlan0", Mode::Macvlan)
            .ends_with("use -o mode=routed or -o mode=ipvlan, or a wired interface")
    );
    assert!(refusal("eth1", Mode::Ipvlan).ends_with("use that bridge: -o mode=bridge -o bridge=br0"));
}

/// What one NIC is used for, what else is asked of it, and what is said; an empty text: it goes.
#[test]
fn each_pair_of_kinds_on_one_nic_goes_or_says_what_goes() {
    let nic = link(2, "eth0", Kind::Physical);
    let port = Link { controller: Some(3), ..nic.clone() };
    let on = |kind| Link { parent: Some(2), ..link(7, "child0", kind) };
    let bridge = link(3, "br0", Kind::Bridge { vlan_filtering: false });
    let free = vec![nic.clone()];
    let bridged = vec![port.clone(), bridge];
    let switched = vec![port, link(3, "ovs-system", Kind::OpenVswitch)];
    let macvlan = vec![nic.clone(), on(Kind::Macvlan { mode: None })];
    let ipvlan = vec![nic.clone(), on(Kind::Ipvlan { mode: Some(IpvlanMode::L2) })];
    // With an address of `landline nat` or a VLAN of its own it is still free.
    let vlan = vec![nic, Link { parent: Some(2), ..link(8, "eth0.12", Kind::Vlan { id: 12 }) }];

    let to_bridge = "use that bridge: -o mode=bridge -o bridge=br0";
    let to_switch = "use the Open vSwitch bridge it is in (ovs-vsctl port-to-br): -o mode=ovs -o bridge=NAME";
    let adopt = "landline bridge adopt eth0 --as br-eth0)";
    let adopt_switch = "landline bridge adopt eth0 --as ovs-eth0 --kind ovs)";
    let table: [(&str, &Vec<Link>, [&str; 4]); 6] = [
        // Asked for:          bridge, ovs, macvlan, ipvlan
        ("free", &free, [adopt, adopt_switch, "", ""]),
        ("with a VLAN", &vlan, [adopt, adopt_switch, "", ""]),
        ("in a bridge", &bridged, [to_bridge; 4]),
        ("in Open vSwitch", &switched, [to_switch; 4]),
        ("under macvlan", &macvlan, ["-o mode=macvlan", "-o mode=macvlan", "", "use mode=macvlan there too"]),
        ("under ipvlan", &ipvlan, ["-o mode=ipvlan", "-o mode=ipvlan", "use mode=ipvlan there too", ""]),
    ];
    for (used, links, said) in table {
        for (mode, wanted) in [Mode::Bridge, Mode::Ovs, Mode::Macvlan, Mode::Ipvlan].into_iter().zip(said) {
            match find_parent(&"eth0".parse().unwrap(), mode, links) {
                Ok(_) => assert_eq!(wanted, "", "{mode} on a NIC {used} was taken"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!wanted.is_empty() && error.contains(wanted), "{mode} on a NIC {used}: {error}");
                }
            }
        }
    }
}

#[test]
fn ipvlan_children_in_another_mode_are_left_as_they_are() {
    let child = |mode| {
        let child = Link { parent: Some(2), ..link(7, "ipvl0", Kind::Ipvlan { mode: Some(mode) }) };
        [host(), vec![child]].concat()
    };
    let eth0 = "eth0".parse().unwrap();
    assert!(find_parent(&eth0, Mode::Ipvlan, &child(IpvlanMode::L2)).is_ok());
    let error = find_parent(&eth0, Mode::Ipvlan, &child(IpvlanMode::L3)).unwrap_err();
    assert!(error.to_string().contains("in another mode than l2 (ipvl0)"), "{error}");
}
