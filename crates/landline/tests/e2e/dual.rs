//! `ipv6=true|dhcp|slaac` beside IPv4: what routers and servers of a LAN say reaches the container, and nothing they
//! leave unsaid keeps it from starting.

use std::time::Instant;

use landline_testbed::{BEYOND_V6, Dnsmasq, Ra};

use crate::kinds::Kind;
use crate::world::{Result, World, bare};

#[test]
fn bridge_has_a_leased_address() -> Result {
    stateful(Kind::Bridge)
}

#[test]
fn macvlan_has_a_leased_address() -> Result {
    stateful(Kind::Macvlan)
}

fn stateful(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq { ra: Ra::Stateful, ..Dnsmasq::default() })?;
    world.network_of(kind, "lan", &["ipv6=true"])?;
    let before = Instant::now();
    world.run("web", "lan", &[])?;
    println!("docker run with both families: {:?}", before.elapsed());
    let (four, six) = (world.address("web", kind.interface())?, world.addresses6("web", kind.interface())?);
    assert!(four.starts_with("192.0.2."), "{four}");
    let [address] = six.as_slice() else { panic!("one address expected: {six:?}") };
    assert!(address.starts_with("2001:db8:1::1"), "{address}");
    let lease =
        world.dhcp.lease_at(bare(address).parse::<std::net::IpAddr>()?).expect("a lease of the server's");
    let duid = lease.client_id.unwrap_or_default();
    let mac = world.mac("web", kind.interface())?;
    assert_eq!(duid, format!("00:03:00:01:{mac}"), "the client is known by its hardware address");
    complete(&world, kind, "web", address)?;
    let told = world.ipv6("web", |ipv6| ipv6["state"] == "BOUND")?;
    assert_eq!(told["addresses"], serde_json::json!([address]));
    assert_eq!(told["dns"], serde_json::json!(["2001:db8:1::1"]));
    Ok(())
}

#[test]
fn bridge_makes_addresses_of_prefixes() -> Result {
    autoconfigured(Kind::Bridge)
}

#[test]
fn macvlan_makes_addresses_of_prefixes() -> Result {
    autoconfigured(Kind::Macvlan)
}

/// One router that has prefixes and other parameters by `DHCPv6`, and a network of each way to make addresses.
fn autoconfigured(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq { ra: Ra::Slaac, ..Dnsmasq::default() })?;
    world.network_of(kind, "lan", &["ipv6=true"])?;
    world.run("web", "lan", &[])?;
    let [address] = &world.addresses6("web", kind.interface())?[..] else { panic!("one address expected") };
    assert!(address.starts_with("2001:db8:1:0:") && address.ends_with("/64"), "{address}");
    assert!(!address.contains("ff:fe"), "not of the hardware address: {address}");
    complete(&world, kind, "web", address)?;
    // The parameters of stateless DHCPv6 may come after the start.
    let told = world.ipv6("web", |ipv6| ipv6["state"] == "INFORMED")?;
    assert_eq!(told["dns"], serde_json::json!(["2001:db8:1::1"]));
    assert_eq!(world.dhcp.leases().iter().filter(|lease| lease.ip.is_ipv6()).count(), 0);

    world.network_of(kind, "eui", &["ipv6=slaac", "ipv6_address=eui64"])?;
    world.run("second", "eui", &[])?;
    let address = world.address6("second", kind.interface(), "2001:db8:1:")?;
    assert!(address.contains("ff:fe"), "of the hardware address: {address}");
    world.is_reached6("second", &address)
}

/// Routes, reachability, and what Docker knows.
fn complete(world: &World, kind: Kind, container: &str, address: &str) -> Result {
    let gateways = world.gateways6(container)?;
    assert_eq!(gateways.len(), 1, "{gateways:?}");
    assert!(gateways[0].starts_with("fe80:"), "{gateways:?}");
    world.is_reached6(container, address)?;
    world.inside(container, &["ping", "-6", "-c1", "-W5", BEYOND_V6])?;
    let inspected = world.host.docker_ok(&[
        "inspect",
        "-f",
        "{{.NetworkSettings.Networks.lan.GlobalIPv6Address}}",
        container,
    ])?;
    assert_eq!(inspected.trim(), bare(address));
    let setting = format!("/proc/sys/net/ipv6/conf/{}/", kind.interface());
    for (key, value) in [("accept_ra", "0"), ("autoconf", "0"), ("disable_ipv6", "0")] {
        assert_eq!(world.inside(container, &["cat", &format!("{setting}{key}")])?.trim(), value, "{key}");
    }
    Ok(())
}
