use landline_kernel::{IpvlanMode, Link, LinkKind as Kind};
use landline_spec::Mode;

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
    ] {
        assert_eq!(find_parent(&name.parse().unwrap(), mode, &links).unwrap().name.as_str(), name);
    }
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
    assert!(refusal("wlan0", Mode::Macvlan).ends_with("-o mode=ipvlan"));
    assert!(refusal("eth1", Mode::Ipvlan).ends_with("use that bridge: -o mode=bridge -o bridge=br0"));
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
