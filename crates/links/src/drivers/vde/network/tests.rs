use landline_kernel::LinkKind;
use landline_model::NetworkRecord;
use landline_options::Mode;

use super::*;
use crate::host::fake::{FakeHost, link};
use crate::network::name_bridge;

fn network() -> NetworkId {
    "b".repeat(64).parse().unwrap()
}

fn options(change: impl FnOnce(&mut NetworkOptions)) -> NetworkOptions {
    let mut options = NetworkOptions::new("vde".parse().unwrap());
    options.mode = Mode::Vde;
    change(&mut options);
    let mut record = NetworkRecord::new(network(), options);
    name_bridge(&mut record);
    record.options
}

fn script(options: &NetworkOptions, links: &[Link]) -> String {
    plan(&network(), options, links, true).unwrap().to_string()
}

#[test]
fn a_network_of_its_own_has_a_bridge_a_tap_and_a_switch() {
    let options = options(|_| {});
    assert_eq!(options.parent.as_str(), "llbbbbbbbbbbbbb");
    let all = script(&options, &[]);
    let lines: Vec<&str> = all.lines().collect();
    assert!(lines[0].starts_with("ip link add name llbbbbbbbbbbbbb address fe:"), "{all}");
    assert!(lines[0].ends_with("mtu 9216 type bridge mcast_snooping 0"), "{all}");
    for line in [
        "ip tuntap add llubbbbbbbbbbbb mode tap",
        "ip link set llubbbbbbbbbbbb master llbbbbbbbbbbbbb",
        "ip link set llubbbbbbbbbbbb type bridge_slave group_fwd_mask 0xfffd",
        "vde_switch -daemon -sock /run/landline-vde/bbbbbbbbbbbb -tap llubbbbbbbbbbbb -numports 32 \
         -mgmt /run/landline-vde/bbbbbbbbbbbb.mgmt.sock",
        "ip link set llbbbbbbbbbbbbb up",
    ] {
        assert!(lines.contains(&line), "{line} in\n{all}");
    }
}

#[test]
fn what_is_there_stays_as_it_is() {
    let options = options(|_| {});
    let mark = NetworkMark::new(&network(), Role::Switch);
    let bridge = LinkKind::Bridge { vlan_filtering: false };
    let bridge = Link { alias: Some(mark.to_string()), ..link(7, options.parent.as_str(), bridge) };
    let some = script(&options, std::slice::from_ref(&bridge));
    assert!(!some.contains("type bridge mcast_snooping") && some.contains("ip tuntap add"), "{some}");
    let tap = link(8, NetworkMark::new(&network(), Role::Uplink).link_name().as_str(), LinkKind::Tun);
    let rest = script(&options, &[bridge, tap]);
    assert!(!rest.contains("ip tuntap add") && rest.contains("vde_switch"), "{rest}");
}

#[test]
fn a_switch_that_should_be_there_must_be() {
    let missing = || options(|o| o.vde.socket_dir = Some("/nowhere/sw".into()));
    let error = plan(&network(), &missing(), &[], true).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/sw; start one there, or add -o create_sockets=true"),
        "{error}"
    );
    // After a restart it may be late; what containers have of it is known.
    let later = plan(&network(), &missing(), &[], false).unwrap().to_string();
    assert!(!later.contains("vde_"), "each container has a cable: {later}");
    // A bridge that somebody has removed belonged to our own switch if that has an uplink.
    let mark = NetworkMark::new(&network(), Role::Uplink);
    let uplink = Link { alias: Some(mark.to_string()), ..link(8, mark.link_name().as_str(), LinkKind::Tun) };
    let again = plan(&network(), &missing(), &[uplink], false).unwrap().to_string();
    assert!(again.contains("type bridge") && again.contains("vde_switch -daemon"), "{again}");
    let made = options(|o| {
        o.vde.socket_dir = Some("/nowhere/sw".into());
        o.vde.create_sockets = true;
        o.vde.socket_group = Some("4711".into());
    });
    let made = script(&made, &[]);
    assert!(made.contains("-sock /nowhere/sw ") && made.ends_with("llbbbbbbbbbbbbb up\n"), "{made}");
    assert!(made.contains("-group 4711") && !made.contains("-mgmt"), "{made}");
    let nobody = options(|o| o.vde.socket_group = Some("no such group".into()));
    assert!(matches!(plan(&network(), &nobody, &[], true), Err(VdeError::NoGroup(_))));
}

#[test]
fn a_plan_that_fails_leaves_nothing() {
    let host = FakeHost::with_bridge_and_nic();
    let plan = plan(&network(), &options(|_| {}), &[], true).unwrap();
    let before = host.names();
    for failing in 0..plan.steps.len() {
        host.fail_at(Some(failing));
        plan.apply(&host).unwrap_err();
        assert_eq!(host.names(), before, "step {failing}");
    }
    host.fail_at(None);
    plan.apply(&host).unwrap();
    crate::network::remove(&host, &NetworkRecord::new(network(), options(|_| {}))).unwrap();
    assert_eq!(host.names(), before);
}
