use landline_options::NetworkOptions;

use super::*;

fn endpoint(name: &str, state: &str, address: Option<&str>) -> EndpointView {
    serde_json::from_value(serde_json::json!({
        "endpoint": "e".repeat(64), "network_id": "n".repeat(64), "network": "lan", "container": name,
        "interface": "eth0", "mac": "02:00:00:00:00:01", "address": address, "state": state, "naks": 0, "conflicts": 0,
    }))
    .unwrap()
}

fn network(parent: &str) -> NetworkRecord {
    serde_json::from_value(serde_json::json!({
        "id": "n".repeat(64), "name": "lan",
        "options": NetworkOptions::new(parent.parse().unwrap()),
    }))
    .unwrap()
}

#[test]
fn the_worst_check_counts() {
    let check = |level| Check { name: CheckName::Docker, level, reason: None };
    assert_eq!(Health::of(vec![]).level, Level::Ok);
    assert_eq!(Health::of(vec![check(Level::Warn), check(Level::Ok)]).level, Level::Warn);
    assert_eq!(Health::of(vec![check(Level::Warn), check(Level::Fail)]).level, Level::Fail);
}

#[test]
fn docker_is_missed_where_it_has_networks() {
    let mut view = DockerView::default();
    let level =
        |view: &DockerView, networks: &[NetworkRecord]| docker(view, networks).map(|(level, _)| level);
    assert_eq!(level(&view, &[]), Some(Level::Warn));
    assert_eq!(level(&view, &[network("br0")]), Some(Level::Fail));
    view.connected = true;
    assert_eq!(level(&view, &[network("br0")]), None);
}

#[test]
fn addresses_that_are_lost_or_soon_will_be_are_noticed() {
    let well = || vec![endpoint("web", "BOUND", Some("192.0.2.7/24")), endpoint("tool", "link only", None)];
    assert_eq!(leases(&well()), None);
    let with = |more: EndpointView| leases(&[well(), vec![more]].concat()).unwrap();
    let (level, why) = with(endpoint("db", "REBINDING", Some("192.0.2.8/24")));
    assert!(level == Level::Warn && why.contains("renews the lease of db;"), "{why}");
    let (level, why) = with(endpoint("db", "SELECTING", None));
    assert!(level == Level::Fail && why.starts_with("without an address: db;"), "{why}");
    let released = endpoint("db", "STOPPED", None);
    assert_eq!(leases(&[released]), None, "as its user wants it");
    let held = Some("another host uses its identity".to_owned());
    let (_, why) = with(EndpointView { held, ..endpoint("db", "STOPPED", None) });
    assert!(why.starts_with("without an address: db (another host uses its identity);"), "{why}");
    let many: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| endpoint(name, "INIT", None)).into();
    assert!(leases(&many).unwrap().1.contains("a, b, c and 2 more;"));
}

#[test]
fn a_parent_is_well_again_when_it_is_up_again() {
    let networks = [network("br0")];
    let with = |now: Option<LinkUse>| {
        let found = parents(&networks, |name| Some((name.clone(), now.filter(|_| name.as_str() == "br0")?)));
        found.map(|(level, why)| (level, why.replace(" (lan)", "")))
    };
    assert_eq!(with(Some(LinkUse::Works)), None);
    let why = "br0 has no carrier; check its cable and the switch port".to_owned();
    assert_eq!(with(Some(LinkUse::NoCarrier)), Some((Level::Warn, why)));
    assert_eq!(with(Some(LinkUse::Down)), Some((Level::Fail, "br0 is down; ip link set br0 up".into())));
    assert_eq!(with(None), Some((Level::Fail, "br0 does not exist".into())));
    assert_eq!(with(Some(LinkUse::Works)), None, "nothing is remembered");
}

#[test]
fn the_port_and_the_nic_that_carry_nothing_are_named() {
    let found = parents(&[network("br0")], |_| Some(("eth0".parse().unwrap(), LinkUse::NoCarrier)));
    let why = "eth0, the port of br0 (lan), has no carrier; check its cable and the switch port";
    assert_eq!(found, Some((Level::Warn, why.into())));
    let mut translated = network("llbr0");
    translated.options.mode = landline_options::Mode::Nat;
    translated.nic = Some("eth1".parse().unwrap());
    let found = parents(&[translated], |name| Some((name.clone(), LinkUse::Down)));
    assert_eq!(found, Some((Level::Fail, "eth1 (lan) is down; ip link set eth1 up".into())));
}

#[test]
fn starts_that_wait_are_a_warning() {
    assert_eq!(starts(0), None);
    assert_eq!(starts(2).unwrap().0, Level::Warn);
}
