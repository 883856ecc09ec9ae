//! A shim with an address of its own, and what is reached through it besides containers.

use std::collections::BTreeSet;

use landline_testbed::Dockerd;

use super::tools::{HOST, HOST_V6, answers, docker_network, strict_world, v4};
use crate::tools::start_daemon;
use crate::world::Result;

const OWN: &str = "192.0.2.50";

#[test]
fn an_address_of_its_own() -> Result {
    let mut world = strict_world()?;
    let page = world.host_serves()?;
    docker_network(&world.host, "macvlan", "dk", &[])?;
    world.serve("c0", "dk", 0)?;
    world.host.docker_ok(&["update", "--restart=always", "c0"])?;
    let before = world.host.snapshot()?;

    let (own, own_v6) = (format!("{OWN}/24"), "2001:db8:1::50/64");
    let further = ["--route", "198.51.100.0/24", "--route", "203.0.113.7", "--interface", "lan0"];
    world.access(&[&["enable", "dk", "--ip", &own, "--ip", own_v6], &further[..]].concat())?;
    world.both_ways("c0", 0)?;
    world
        .inside("c0", &["sh", "-ec", &format!("ping -q -c1 -W5 {OWN}; ping -6 -q -c1 -W5 2001:db8:1::50")])?;
    let row = world.access_row("dk")?;
    assert_eq!((&row["interface"], &row["addresses"][0]), (&"lan0".into(), &own.as_str().into()), "{row}");

    // One answer each, and the LAN's traffic goes where it went.
    let peer = world.lan.peer();
    let (parent, shim) = (world.host.node().mac("eth0")?, world.host.node().mac("lan0")?);
    assert_eq!(answers(&world, peer, HOST)?, BTreeSet::from([parent]));
    assert_eq!(answers(&world, peer, OWN)?, BTreeSet::from([shim]));
    for address in ["192.0.2.2", "192.0.2.1"] {
        let way = world.host.check(&["ip", "route", "get", address])?;
        assert!(way.contains("dev eth0"), "{way}");
    }
    peer.check(&["ping", "-q", "-c1", "-W5", OWN])?;

    // An address that nobody told us of, found by asking; and a network that keeps its length.
    let pid = world.host.container_pid("c0")?.to_string();
    world.host.check(&[
        "nsenter",
        "-t",
        &pid,
        "--net",
        "ip",
        "address",
        "add",
        "203.0.113.7/32",
        "dev",
        "eth0",
    ])?;
    world.host_reaches("203.0.113.7")?;
    let route = world.host.check(&["ip", "route", "show", "198.51.100.0/24"])?;
    assert!(
        route.starts_with("198.51.100.0/24 dev lan0") && route.contains(&format!("src {OWN}")),
        "{route}"
    );

    // From one kind to the other and back: nothing of the first is left.
    let numbered = world.host.snapshot()?;
    world.access(&["enable", "dk"])?;
    world.both_ways("c0", 0)?;
    assert!(world.host.check(&["ip", "link", "show", "lan0"]).is_err());
    world.access(&[&["enable", "dk", "--ip", &own, "--ip", own_v6], &further[..]].concat())?;
    world.both_ways("c0", 0)?;
    assert_eq!(numbered.diff(&world.host.snapshot()?), "");

    world.access(&["disable", "dk"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");

    // It is back when the host is.
    world.access(&["enable", "dk", "--ip", OWN])?;
    drop(page);
    world.host.reboot()?;
    world
        .host
        .node()
        .sh(&format!("ip address add {HOST}/24 dev eth0; ip address add {HOST_V6}/64 dev eth0 nodad"))?;
    world.daemon = start_daemon(&world.host)?;
    world.host.dockerd(Dockerd::default())?;
    world.host_reaches(&v4(0))?;
    assert_eq!(world.access_row("dk")?["addresses"][0], format!("{OWN}/32"));
    Ok(())
}
