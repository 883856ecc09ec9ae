use landline_kernel::LinkKind;
use landline_links::fake::link;

use super::*;

fn nic() -> Link {
    Link { mac: Some(Mac::new([2, 0, 0, 0, 0, 9])), ..link(2, "eth0", LinkKind::Physical) }
}

fn host(text: &str) -> Address {
    Address::new(2, text.parse().unwrap())
}

fn member(n: u8, addresses: &[&str]) -> Member {
    Member {
        endpoint: format!("e{n}").parse().unwrap(),
        container: Some(format!("c{n}")),
        mac: Some(Mac::new([2, 0, 0, 0, 1, n])),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        sandbox: Some(format!("/run/netns/{n}").into()),
    }
}

fn network(name: &str, wire: Wire, members: Vec<Member>) -> (NetworkId, SeenNetwork) {
    let network = SeenNetwork {
        name: name.into(),
        driver: "macvlan".into(),
        wire,
        parent: Some("eth0".parse().unwrap()),
        subnets: vec!["192.0.2.0/24".parse().unwrap()],
        members,
    };
    (format!("id-of-{name}").parse().unwrap(), network)
}

/// The plan for these networks on a host with these addresses, whose filter is strict.
fn planned(accesses: &[Access], networks: &[(NetworkId, SeenNetwork)], addresses: &[&str]) -> Target {
    let addresses: Vec<Address> = addresses.iter().map(|text| host(text)).collect();
    let strict = BTreeSet::from(["eth0".parse().unwrap()]);
    let facts = Facts { links: &[nic()], addresses: &addresses, strict: &strict };
    let by = AccessOrigin::Command;
    let wanted = |access: &Access| Wanted { access: access.clone(), by, held: None };
    let wanted: Vec<Wanted> = accesses.iter().map(wanted).collect();
    plan(&wanted, &networks.iter().cloned().collect(), &facts)
}

fn states(target: &Target) -> Vec<String> {
    target.views.iter().map(|(_, view)| view.state.to_string()).collect()
}

#[test]
fn networks_on_one_nic_share_a_shim_without_an_address() {
    let networks = [
        network("one", Wire::Macvlan, vec![member(1, &["192.0.2.65"])]),
        network("two", Wire::Macvlan, vec![member(2, &["192.0.2.66"])]),
    ];
    let accesses = [Access::new("one"), Access::new("id-of-two")];
    let target = planned(&accesses, &networks, &["192.0.2.10/24", "203.0.113.1/24"]);
    assert_eq!(states(&target), ["ready", "ready"]);
    let [(key, shim)] = target.shims.iter().collect::<Vec<_>>()[..] else { panic!("{target:?}") };
    assert_eq!((key.as_str(), shim.name.as_str()), ("macvlan:eth0", "lls2"));
    let ours: IpAddr = "192.0.2.10".parse().unwrap();
    assert!(shim.addresses.is_empty() && shim.routes.values().all(|source| *source == ours), "{shim:?}");
    assert_eq!(shim.routes.len(), 2);
    // The host's address in another network is behind a router for the containers.
    assert!(shim.insides.iter().all(|inside| inside.hosts == BTreeSet::from([ours])));
}

#[test]
fn an_address_makes_a_shim_of_ones_own() {
    let networks = [network("one", Wire::Macvlan, vec![member(1, &["192.0.2.65", "2001:db8:1::65"])])];
    let access = Access {
        addresses: vec!["192.0.2.50/24".parse().unwrap()],
        routes: vec!["198.51.100.0/24".parse().unwrap()],
        ..Access::new("one")
    };
    let target = planned(&[access], &networks, &["192.0.2.10/24", "2001:db8:1::10/64"]);
    let shim = &target.shims["id-of-one"];
    let routes: Vec<String> = shim.routes.iter().map(|(to, from)| format!("{to} from {from}")).collect();
    assert_eq!(
        routes,
        [
            "192.0.2.65/32 from 192.0.2.50",
            "198.51.100.0/24 from 192.0.2.50",
            "2001:db8:1::65/128 from 2001:db8:1::10"
        ]
    );
    let hosts: Vec<String> = shim.insides[0].hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["192.0.2.10", "2001:db8:1::10"]);
}

#[test]
fn ipvlan_needs_the_users_word_or_an_address() {
    let networks = [network("one", Wire::Ipvlan, vec![Member { mac: None, ..member(1, &["192.0.2.65"]) }])];
    let target = planned(&[Access::new("one")], &networks, &["192.0.2.10/24"]);
    assert!(states(&target)[0].starts_with("rp_filter of eth0 is 1 (strict)"), "{target:?}");
    assert!(target.shims.is_empty() && target.loosen.is_empty());

    let loosened = Access { loosen: true, ..Access::new("one") };
    let target = planned(&[loosened], &networks, &["192.0.2.10/24"]);
    assert_eq!((states(&target), target.loosen.len()), (vec!["ready".to_owned()], 1));
    let numbered = Access { addresses: vec!["192.0.2.50/32".parse().unwrap()], ..Access::new("one") };
    let target = planned(&[numbered], &networks, &["192.0.2.10/24"]);
    assert_eq!((states(&target), target.loosen.len()), (vec!["ready".to_owned()], 0));
    let shim = &target.shims["id-of-one"];
    assert_eq!(shim.neighbours.values().collect::<Vec<_>>(), [&nic().mac.unwrap()], "all have the parent's");
}

#[test]
fn what_is_missing_is_said() {
    let cut_off = |change: &dyn Fn(&mut SeenNetwork)| {
        let mut one = network("one", Wire::Macvlan, vec![]);
        change(&mut one.1);
        let target = planned(&[Access::new("one")], &[one], &["203.0.113.1/32"]);
        assert!(target.shims.is_empty(), "{target:?}");
        states(&target)[0].clone()
    };
    assert_eq!(
        cut_off(&|n| n.wire = Wire::macvlan("vepa")),
        "one has macvlan_mode=vepa, which leaves it to the switch outside to send the host's frames back"
    );
    assert_eq!(cut_off(&|n| n.parent = "eth9".parse().ok()), "waits for eth9, which is not there");
    assert!(cut_off(&|n| n.parent = None).contains("has no parent"));
    let one = [network("one", Wire::Macvlan, vec![])];
    let target = planned(&[Access::new("one")], &one, &[]);
    assert!(states(&target)[0].starts_with("waits for an address of the host on eth0"));
    assert_eq!(states(&planned(&[Access::new("two")], &one, &[])), ["there is no such network now"]);
}

#[test]
fn a_container_takes_its_networks_subnets_for_its_lan() {
    let host: IpNet = "192.0.2.10/24".parse().unwrap();
    let address = "192.0.2.200".parse().unwrap();
    let subnets = |text: &str| vec![text.parse::<IpNet>().unwrap()];
    assert!(serves(&host, address, &[]));
    assert!(serves(&host, address, &subnets("0.0.0.0/0")), "Docker's word for no subnet");
    assert!(!serves(&host, address, &subnets("192.0.2.128/25")), "the container sends to its router");
    assert!(!serves(&"192.0.2.10/25".parse().unwrap(), address, &[]));
    assert!(serves(&"192.0.2.10/25".parse().unwrap(), address, &subnets("192.0.2.0/24")));
    assert!(!serves(&host, "2001:db8::1".parse().unwrap(), &[]));
}

#[test]
fn a_shim_has_the_same_hardware_address_again() {
    assert_eq!(mac(&nic(), "macvlan:eth0"), mac(&nic(), "macvlan:eth0"));
    assert_ne!(mac(&nic(), "macvlan:eth0"), mac(&nic(), "ipvlan:eth0"));
    assert_eq!(mac(&nic(), "x").octets()[0], 2);
}
