//! `ipv6=true|dhcp|slaac` beside IPv4: what routers and servers of a LAN say reaches the container, and nothing they
//! leave unsaid keeps it from starting.

use std::time::{Duration, Instant};

use landline_testbed::{BEYOND_V6, Dnsmasq, Frame, Ra, Reservation6, Signal, wait_for};

use crate::kinds::Kind;
use crate::six::declines6;
use crate::tools::{at_once, hears_router, names, start_daemon};
use crate::world::{Result, SOON, World, bare};

#[test]
fn bridge_has_a_leased_address() -> Result {
    stateful(Kind::Bridge)
}

#[test]
fn macvlan_has_a_leased_address() -> Result {
    stateful(Kind::Macvlan)
}

fn stateful(kind: Kind) -> Result {
    let mut world = kind.world(&Dnsmasq { ra: Ra::Stateful, ..Dnsmasq::default() })?;
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
    silent(&mut world, kind, "web")
}

/// The daemon's death and return is no reason to say anything.
fn silent(world: &mut World, kind: Kind, container: &str) -> Result {
    let mac = world.mac(container, kind.interface())?;
    wait_for("the name at the server", SOON, || {
        world
            .dhcp
            .leases()
            .iter()
            .any(|lease| lease.ip.is_ipv6() && lease.hostname.as_deref() == Some(container))
    })?;
    let before = world.addresses6(container, kind.interface())?;
    let capture = world.lan.capture(world.lan.router(), "eth0", &format!("ip6 and ether src {mac}"))?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = start_daemon(&world.host)?;
    world.ipv6(container, |ipv6| ipv6["state"] == "BOUND")?;
    assert_eq!(world.addresses6(container, kind.interface())?, before);
    world.inside(container, &["ping", "-6", "-c1", "-W5", BEYOND_V6])?;
    let asked = capture.frames().iter().filter(|frame| is_question(frame)).count();
    assert_eq!(asked, 0, "{}", capture.lines().join("\n"));
    Ok(())
}

/// A Router Solicitation, the probe of an address, or `DHCPv6`.
fn is_question(frame: &Frame) -> bool {
    match frame.ip() {
        Some((source, _, 58, message)) => match message.first() {
            Some(133) => true,
            Some(135) => source.is_unspecified(),
            _ => false,
        },
        Some((_, _, 17, datagram)) => datagram.get(2..4) == Some(&547_u16.to_be_bytes()),
        _ => false,
    }
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

#[test]
fn an_address_that_another_host_has_is_declined() -> Result {
    const MAC: &str = "02:42:c0:00:02:96";
    const TAKEN: &str = "2001:db8:1::77";
    let reserved = Reservation6 { duid: format!("00:03:00:01:{MAC}"), ip: TAKEN.to_owned() };
    let world =
        World::bridge_with(Dnsmasq { ra: Ra::Stateful, hosts6: vec![reserved], ..Dnsmasq::default() })?;
    world.lan.peer().check(&["ip", "address", "add", &format!("{TAKEN}/64"), "dev", "eth0", "nodad"])?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 547")?;
    world.network("lan", &["bridge=br0", "ipv6=dhcp"])?;
    world.run("web", "lan", &["--mac-address", MAC])?;

    let address = world.address6("web", "br00", "2001:db8:1::1")?;
    capture.wait_for("a Decline of the address", SOON, |frame| declines6(frame, TAKEN))?;
    let told = world.ipv6("web", |ipv6| ipv6["state"] == "BOUND")?;
    assert_eq!((&told["conflicts"], &told["addresses"]), (&1.into(), &serde_json::json!([address])));
    world.is_reached6("web", &address)
}

/// A host that answers neighbours for addresses beyond it is no other machine: who on this host has an address is known
/// without asking.
#[test]
fn what_the_host_answers_for_others_is_no_conflict() -> Result {
    const MAC: &str = "02:42:c0:00:02:96";
    const LEASED: &str = "2001:db8:1::77";
    let reserved = Reservation6 { duid: format!("00:03:00:01:{MAC}"), ip: LEASED.to_owned() };
    let world =
        World::bridge_with(Dnsmasq { ra: Ra::Stateful, hosts6: vec![reserved], ..Dnsmasq::default() })?;
    world.host.node().sh(&format!(
        "sysctl -w net.ipv6.conf.br0.forwarding=1 net.ipv6.conf.br0.proxy_ndp=1 net.ipv6.neigh.br0.proxy_delay=0
         ip -6 neigh add proxy {LEASED} dev br0"
    ))?;
    // It answers for nobody while it looks whether its own address is free.
    wait_for("the host's own address", SOON, || {
        let own = world.host.node().sh("ip -6 -o address show dev br0 scope link -tentative").ok()?;
        (!own.is_empty()).then_some(())
    })?;
    let host: landline_types::Mac = world.host.node().mac("br0")?.parse()?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "icmp6 or udp port 547")?;
    world.network("lan", &["bridge=br0", "ipv6=dhcp"])?;
    world.run("web", "lan", &["--mac-address", MAC])?;
    // To the last probe, a second after the address is in use.
    let target = LEASED.parse::<std::net::Ipv6Addr>()?.octets();
    let answers = |frame: &Frame| {
        let (_, _, _, message) = frame.ip().filter(|(_, _, protocol, _)| *protocol == 58)?;
        let by_host = message.windows(6).any(|octets| octets == host.octets());
        (message.first() == Some(&136) && message.get(8..24) == Some(&target) && by_host).then_some(())
    };
    wait_for("the host's answers", SOON, || capture.frames().iter().filter_map(answers).count() >= 3)
        .map_err(|error| format!("{error}\n{}", capture.lines().join("\n")))?;
    let told = world.ipv6("web", |ipv6| ipv6["state"] == "BOUND")?;
    assert_eq!(told["conflicts"], 0, "{told}");
    let addresses = world.addresses6("web", "br00")?;
    assert_eq!(addresses.iter().map(|net| bare(net)).collect::<Vec<_>>(), [LEASED]);
    assert!(!capture.frames().iter().any(|frame| declines6(frame, LEASED).is_some()));
    Ok(())
}

#[test]
fn leases_are_given_back_as_those_of_ipv4_are() -> Result {
    let world = World::bridge_with(Dnsmasq { ra: Ra::Stateful, ..Dnsmasq::default() })?;
    world.network("lan", &["bridge=br0", "ipv6=true", "release_after=1s"])?;
    let six = |world: &World| world.dhcp.leases().into_iter().filter(|lease| lease.ip.is_ipv6()).count();
    for (name, options) in [("gone", &["--rm"][..]), ("kept", &[])] {
        world.run(name, "lan", options)?;
        world.row(name)?;
        world.address6(name, "br00", "2001:db8:1::1")?;
    }
    let kept = world.addresses6("kept", "br00")?;
    assert_eq!(six(&world), 2);
    world.host.docker_ok(&["stop", "-t0", "gone", "kept"])?;
    wait_for("the lease of the --rm container to be released", SOON, || six(&world) == 1)?;
    world.host.docker_ok(&["start", "kept"])?;
    assert_eq!(world.addresses6("kept", "br00")?, kept);
    world.host.docker_ok(&["rm", "-f", "kept"])?;
    wait_for("the lease of the removed container to be released", SOON, || six(&world) == 0)?;
    // Who comes back all the same requested for the same address.
    world.run("kept", "lan", &[])?;
    assert_eq!(world.addresses6("kept", "br00")?, kept);
    Ok(())
}

#[test]
fn ipv6_alone_is_waited_for() -> Result {
    let mut world = World::bridge_with(Dnsmasq { ra: Ra::Stateful, ..Dnsmasq::default() })?;
    let alone = |timeout| ["bridge=br0", "ignore_conflicts=true", "addressing=none", "ipv6=true", timeout];
    world.network("alone", &alone("lease_timeout=10s"))?;
    world.network("hasty", &alone("lease_timeout=2s"))?;
    world.run("web", "alone", &[])?;
    let address = world.address6("web", "br00", "2001:db8:1::1")?;
    assert!(world.address("web", "br00").is_err(), "no IPv4");
    world.is_reached6("web", &address)?;
    world.dhcp.stop()?;
    let refused = world.host.docker(&["run", "--rm", "--network", "hasty", "box", "true"]);
    assert!(
        refused
            .stderr
            .contains("no router and no DHCPv6 server gave an IPv6 address on br0 within 2 s; check"),
        "{}",
        refused.stderr
    );
    Ok(())
}

/// Somebody has every address of the `DHCPv6` server's pool: whoever waits for one learns who, and so does the doctor.
#[test]
fn addresses_that_another_has_are_named() -> Result {
    const POOL: u16 = 4;
    let extra = ["--dhcp-range=2001:db8:1::1000,2001:db8:1::1003,64,10m", "--enable-ra"].map(str::to_owned);
    let world = World::bridge_with(Dnsmasq { extra: extra.to_vec(), ..Dnsmasq::default() })?;
    for n in 0..POOL {
        let address = format!("2001:db8:1::{:x}/64", 0x1000 + n);
        world.lan.peer().check(&["ip", "address", "add", &address, "dev", "eth0", "nodad"])?;
    }
    let squatter = world.lan.peer().mac("eth0")?;
    let alone = ["bridge=br0", "ignore_conflicts=true", "addressing=none", "ipv6=dhcp"];
    world.network("strict", &[&alone[..], &["lease_timeout=4s"]].concat())?;
    world.network("lenient", &[&alone[..], &["lease_timeout=1s", "on_timeout=continue"]].concat())?;
    let refused = world.host.docker(&["run", "--rm", "--network", "strict", "box", "true"]).stderr;
    assert!(refused.contains(&squatter) && refused.contains("2001:db8:1::100"), "{refused}");
    world.run("web", "lenient", &[])?;
    let found = || world.host.landline(crate::world::binary(), &["doctor"]).stdout;
    let named = || {
        let found = found();
        (found.contains("container web") && found.contains(&squatter)).then_some(())
    };
    wait_for("the doctor to name who has them", Duration::from_mins(1), named)
        .map_err(|error| format!("{error}: {}\n{}", found(), world.daemon.log()))?;
    Ok(())
}

/// What hosts of a LAN see of three that start with IPv6: no frame of the links' ends on the host, and of the containers
/// what RFC 4862 wants, from a link-local address or none.
#[test]
fn the_lan_hears_of_containers_only_what_it_must() -> Result {
    let world = World::bridge_with(Dnsmasq { ra: Ra::Both, ..Dnsmasq::default() })?;
    hears_router(&world.host)?;
    let before = world.host.snapshot()?;
    world.network("lan", &["bridge=br0", "ipv6=true"])?;
    let known: Vec<String> = [world.lan.router(), world.lan.peer(), world.host.node()]
        .iter()
        .map(|node| node.mac("eth0"))
        .chain([world.host.node().mac("br0")])
        .collect::<std::result::Result<_, _>>()?;
    let capture = world.lan.capture(world.lan.peer(), "eth0", "ip6")?;
    let crowd = names("c", 3);
    at_once(&crowd, |name| world.run(name, "lan", &[]))?;
    let mut macs = Vec::new();
    for name in &crowd {
        let all = wait_for(format!("both addresses of {name}"), SOON, || {
            world.addresses6(name, "br00").ok().filter(|all| all.len() == 2)
        })?;
        for address in &all {
            world.is_reached6(name, address)?;
        }
        macs.push(world.mac(name, "br00")?);
    }
    for mac in &macs {
        let first = capture.wait_for("the first word of a container", SOON, |frame| {
            (frame.source() == *mac).then(|| frame.ip()).flatten().map(|(from, to, ..)| (from, to))
        })?;
        assert!(first.0.is_unspecified(), "{first:?}");
        // The group of the address that is probed is joined (RFC 4862 section 5.4.2), so that switches send it here.
        capture.wait_for("a report of groups before there is an address", SOON, |frame| {
            let (from, to, ..) = frame.ip().filter(|_| frame.source() == *mac)?;
            (from.is_unspecified() && to.to_string() == "ff02::16").then_some(())
        })?;
    }
    at_once(&crowd, |name| Ok(world.host.docker_ok(&["rm", "-f", name]).map(drop)?))?;
    world.lan.peer().check(&["ping", "-6", "-c1", "-W5", "2001:db8:1::1"])?;
    let frames = capture.stop()?;
    let strangers: Vec<String> = frames
        .iter()
        .filter(|frame| !known.contains(&frame.source()) && !macs.contains(&frame.source()))
        .map(ToString::to_string)
        .collect();
    assert!(strangers.is_empty(), "neither hosts nor containers:\n{}", strangers.join("\n"));
    for frame in frames.iter().filter(|frame| macs.contains(&frame.source())) {
        let Some((from, to, protocol, message)) = frame.ip() else { continue };
        let kind = message.first().copied();
        let rightly = match (protocol, kind) {
            // Router Solicitation and the two of neighbours, echoes, and behind a hop-by-hop header reports of groups;
            // what was fetched.
            (58, Some(133 | 135 | 136 | 128 | 129)) | (0, Some(58)) | (6, _) => true,
            // To servers.
            (17, _) => to.to_string() == "ff02::1:2" && from.to_string().starts_with("fe80:"),
            _ => false,
        };
        assert!(rightly, "{frame}");
    }
    assert_eq!(before.diff(&world.host.snapshot()?), "", "the containers left something behind");
    Ok(())
}
