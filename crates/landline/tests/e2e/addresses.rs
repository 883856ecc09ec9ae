//! Addresses that no container may have, whoever gives them: those of the host and of other containers on the LAN.

use std::net::Ipv4Addr;

use landline_testbed::{DhcpKind, DhcpMessage, Dnsmasq, FakeServer, Ra, Reply, Reservation6, wait_for};

use crate::attach_allowed::row;
use crate::attach_asked::Asked;
use crate::four_ways::{CONTAINER, Way, nat_row};
use crate::six::declines6;
use crate::tools::{answers_for_all, second_nic};
use crate::world::{Result, SOON, World, bare, binary};

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const HOST_V6: &str = "2001:db8:1::10";
const FREE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// A server on the peer that gives every client this address, until the client declines it.
pub(crate) fn rogue(world: &World, address: Ipv4Addr, then: Option<Ipv4Addr>) -> Result<FakeServer> {
    let server: Ipv4Addr = landline_testbed::PEER_V4.parse()?;
    let mut declined = false;
    let script = move |message: &DhcpMessage| {
        let given = if declined { then } else { Some(address) };
        let grant =
            |kind, address| vec![Reply::now(&DhcpMessage::grant(message, kind, server, address, 3600))];
        let Some(given) = given else { return Vec::new() };
        match message.kind() {
            Some(DhcpKind::Discover) => grant(DhcpKind::Offer, given),
            Some(DhcpKind::Request) if message.address_option(50) == Some(given) => {
                grant(DhcpKind::Ack, given)
            }
            Some(DhcpKind::Decline) => {
                declined = then.is_some();
                Vec::new()
            }
            _ => Vec::new(),
        }
    };
    Ok(FakeServer::start(world.lan.peer(), server, script)?)
}

/// Whom the peer takes for the host, in both families.
fn neighbours(world: &World) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for address in [HOST.to_string(), HOST_V6.to_owned()] {
        world.lan.peer().check(&["ping", "-c1", "-W5", &address])?;
        let shown = world.lan.peer().check(&["ip", "neigh", "show", &address])?;
        let mac = shown.split_whitespace().skip_while(|word| *word != "lladdr").nth(1);
        found.push(mac.ok_or_else(|| format!("no neighbour {address}: {shown}"))?.to_owned());
    }
    Ok(found)
}

/// A host whose NIC has an address of each family.
fn world() -> Result<World> {
    world_with(Dnsmasq::default())
}

fn world_with(dhcp: Dnsmasq) -> Result<World> {
    let world = World::nic_with(dhcp)?;
    world.host.check(&["ip", "address", "add", &format!("{HOST_V6}/64"), "dev", "eth0", "nodad"])?;
    Ok(world)
}

#[test]
fn a_server_that_offers_the_hosts_address_is_declined() -> Result {
    let mut world = world()?;
    world.dhcp.stop()?;
    let before = neighbours(&world)?;
    // ARP shows a macvlan child nothing of its parent; without any check, nothing of anybody.
    world.network("lan", &["mode=macvlan", "parent=eth0", "lease_timeout=4s"])?;
    world.network(
        "blind",
        &["mode=macvlan", "parent=eth0", "lease_timeout=4s", "conflict_check=off", "ignore_conflicts=true"],
    )?;
    for network in ["lan", "blind"] {
        let server = rogue(&world, HOST, None)?;
        let refused = world.run("web", network, &[]).err().ok_or("it has the host's address")?.to_string();
        for part in ["192.0.2.10", "192.0.2.2", "this host", "eth0"] {
            assert!(refused.contains(part), "{part} in {refused}");
        }
        assert!(server.seen().iter().any(|(_, message)| message.kind() == Some(DhcpKind::Decline)));
        assert_eq!(neighbours(&world)?, before);
        world.host.docker_ok(&["rm", "-f", "web"])?;
    }

    // One that has another address to give is taken at its second word.
    let _server = rogue(&world, HOST, Some(FREE))?;
    world.run("web", "lan", &[])?;
    assert_eq!(world.address("web", "eth0")?, format!("{FREE}/24"));
    assert!(world.daemon.log().contains("192.0.2.10"), "the refusal is in the log");
    assert_eq!(neighbours(&world)?, before);
    Ok(())
}

#[test]
fn no_attachment_has_an_address_of_the_host() -> Result {
    let world = world()?;
    let before = neighbours(&world)?;
    world.run("other", "none", &[])?;
    for address in [
        "192.0.2.10/24",
        "2001:db8:1::10/64",
        "192.0.2.10/32",
        "127.0.0.5/8",
        "224.0.0.9/24",
        "0.1.2.3/8",
        "192.0.2.255/24",
        "192.0.2.0/24",
        "255.255.255.255/32",
        "::1/64",
        "ff02::9/64",
    ] {
        for further in [&[][..], &["--force"]] {
            let words = [&["attach", "eth0", "other", address][..], further].concat();
            let output = world.host.landline(binary(), &words);
            assert!(!output.success(), "{address} {further:?} was attached");
            let said = &output.stderr;
            let bare = address.split('/').next().unwrap_or(address);
            assert!(said.contains(bare), "{said}");
            if address.contains(".10/") || address.contains("::10/") {
                assert!(said.contains("this host") && said.contains("eth0"), "{said}");
            }
        }
    }
    assert_eq!(neighbours(&world)?, before);
    Ok(())
}

#[test]
fn a_server_that_offers_the_hosts_ipv6_address_is_declined() -> Result {
    const OTHER_V6: &str = "2001:db8:1::11";
    let macs = ["02:42:c0:00:02:96", "02:42:c0:00:02:97"];
    let reserved =
        |mac: &str, ip: &str| Reservation6 { duid: format!("00:03:00:01:{mac}"), ip: ip.to_owned() };
    let hosts6 = vec![reserved(macs[0], HOST_V6), reserved(macs[1], OTHER_V6)];
    let world = world_with(Dnsmasq { ra: Ra::Stateful, hosts6, ..Dnsmasq::default() })?;
    world.host.check(&["ip", "address", "add", &format!("{OTHER_V6}/64"), "dev", "eth0", "nodad"])?;
    let before = neighbours(&world)?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 547")?;
    // Neighbour discovery shows a macvlan child nothing of its parent; without any check, nothing of anybody.
    let networks = [("lan", macs[0], HOST_V6, "fast"), ("blind", macs[1], OTHER_V6, "off")];
    for (network, mac, taken, check) in networks {
        let check = format!("conflict_check={check}");
        world.network(
            network,
            &["mode=macvlan", "parent=eth0", "ipv6=dhcp", "ignore_conflicts=true", &check],
        )?;
        world.run("web", network, &["--mac-address", mac])?;
        let address = world.address6("web", "eth0", "2001:db8:1::1")?;
        assert_ne!(bare(&address), taken, "{network}");
        capture.wait_for("a Decline of the host's address", SOON, |frame| declines6(frame, taken))?;
        let told = world.ipv6("web", |ipv6| ipv6["state"] == "BOUND")?;
        assert_eq!(told["addresses"], serde_json::json!([address]), "{network}");
        world.is_reached6("web", &address)?;
        assert_eq!(neighbours(&world)?, before);
        world.host.docker_ok(&["rm", "-f", "web"])?;
    }
    let log = world.daemon.log();
    assert!(log.contains(HOST_V6) && log.contains("this host has 2001:db8:1::10 itself, on eth0"), "{log}");
    Ok(())
}

#[test]
fn no_container_labels_itself_with_an_address_of_the_host() -> Result {
    let asked = Asked::on(world()?, "[containers.allow.eth0]\n")?;
    let world = &asked.world;
    let before = neighbours(world)?;
    for (name, label) in [
        ("four", format!("eth0 {HOST}/24")),
        ("four-alone", format!("eth0 {HOST}/32")),
        ("six", format!("eth0 {HOST_V6}/64")),
        ("six-alone", format!("eth0 {HOST_V6}/128")),
        ("second", format!("eth0 {FREE}/24 {HOST_V6}/64")),
    ] {
        let label = format!("landline.attach={label}");
        world.run_without(name, &["--network", "none", "--label", &label])?;
        let row = row(&asked, name, "failed")?;
        let reason = row["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("this host has") && reason.contains("on eth0"), "{label}: {row}");
        assert_eq!(world.interfaces(name)?, [""; 0], "{label}");
    }
    assert_eq!(neighbours(world)?, before);
    // One that is free is another matter.
    let label = format!("landline.attach=eth0 {FREE}/24 2001:db8:1::77/64");
    world.run_without("web", &["--network", "none", "--label", &label])?;
    assert_eq!(world.until_addressed("web", "eth0")?, format!("{FREE}/24"));
    assert_eq!(world.address6("web", "eth0", "2001:db8:1:")?, "2001:db8:1::77/64");
    Ok(())
}

#[test]
fn one_lan_has_each_address_once() -> Result {
    let world = world()?;
    for (name, subnet) in [("a", "192.0.2.64/28"), ("b", "192.0.2.64/28")] {
        world.host.docker_ok(&[
            "network",
            "create",
            "-d",
            "landline",
            "--ipam-driver",
            "landline",
            "-o",
            "mode=macvlan",
            "-o",
            "parent=eth0",
            "-o",
            "addressing=pool",
            "-o",
            "conflict_check=off",
            "-o",
            "ignore_conflicts=true",
            "--subnet",
            subnet,
            name,
        ])?;
    }
    world.run("one", "a", &["--ip", "192.0.2.70"])?;
    let refused = world.run("two", "b", &["--ip", "192.0.2.70"]).err().ok_or("two have it")?.to_string();
    assert!(refused.contains("192.0.2.70") && refused.contains("container one"), "{refused}");
    world.host.docker_ok(&["rm", "-f", "two"])?;
    // Whoever names none gets the next one that is free on the LAN.
    world.run("three", "a", &[])?;
    world.run("four", "b", &[])?;
    assert_ne!(world.address("three", "eth0")?, world.address("four", "eth0")?);
    world.run_without("five", &["--network", "none"])?;
    let attached = world.host.landline(binary(), &["attach", "eth0", "five", "192.0.2.70/24", "--force"]);
    assert!(!attached.success() && attached.stderr.contains("container one"), "{}", attached.stderr);
    // A server's lease is no different.
    world.network(
        "lan",
        &["mode=macvlan", "parent=eth0", "lease_timeout=4s", "conflict_check=off", "ignore_conflicts=true"],
    )?;
    let address = Ipv4Addr::new(192, 0, 2, 70);
    let mut world = world;
    world.dhcp.stop()?;
    let _server = rogue(&world, address, None)?;
    let refused = world.run("six", "lan", &[]).err().ok_or("two have it")?.to_string();
    assert!(refused.contains("192.0.2.70") && refused.contains("container one"), "{refused}");
    wait_for("it to be free", SOON, || world.host.docker_ok(&["rm", "-f", "one"]).is_ok())?;
    world.host.docker_ok(&["rm", "-f", "six"])?;
    world.run("six", "lan", &[])?;
    assert_eq!(world.address("six", "eth0")?, "192.0.2.70/24");
    Ok(())
}

/// By default the kernel answers ARP on each interface for the addresses of all (`arp_ignore=0`).
#[test]
fn the_hosts_other_card_on_the_lan_is_no_other_machine() -> Result {
    let lab = Way::Nat.lab()?;
    let world = &lab.world;
    second_nic(&world.lan, &world.host)?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68 or arp")?;
    let create = [
        "network",
        "create",
        "-d",
        "landline",
        "-o",
        "mode=nat",
        "-o",
        "parent=eth0",
        "-o",
        "firewall=open",
        "--subnet",
        "203.0.113.0/24",
        "lan",
    ];
    world.host.docker_ok(&create)?;
    world.run("web", "lan", &[])?;
    let own: Ipv4Addr = CONTAINER.parse()?;
    // A second after the address is in use it is probed for once more, and the other card answers.
    let answered = || {
        let frames = capture.frames();
        let arps: Vec<_> = frames.iter().filter_map(landline_testbed::Frame::arp).collect();
        let probes = arps.iter().filter(|arp| arp.target_ip == own && arp.sender_ip.is_unspecified()).count();
        let announced = arps.iter().filter(|arp| arp.target_ip == own && arp.sender_ip == own).count();
        probes >= 3 && announced >= 3
    };
    wait_for("all that is said about the address", SOON, answered)
        .map_err(|error| format!("{error}\n{}\n{}", capture.lines().join("\n"), world.daemon.log()))?;
    assert_eq!(nat_row(&world.host, "web")?["address"], CONTAINER);
    let log = world.daemon.log();
    assert!(!log.contains("another machine uses the address"), "{log}");
    let declined = capture.dhcp().iter().any(|(_, message)| message.kind() == Some(DhcpKind::Decline));
    assert!(!declined, "{}", capture.lines().join("\n"));
    let found = world.host.landline(binary(), &["doctor", "--json"]).stdout;
    assert!(!found.contains("\"addresses\""), "{found}");
    Ok(())
}

#[test]
fn a_router_that_answers_for_every_address_is_named() -> Result {
    let world = World::bridge()?;
    answers_for_all(world.lan.peer())?;
    let mac = world.lan.peer().mac("eth0")?;
    world.network("lan", &["bridge=br0", "lease_timeout=12s"])?;
    world.host.docker_ok(&[
        "network",
        "create",
        "-d",
        "landline",
        "-o",
        "bridge=br0",
        "-o",
        "addressing=static",
        "-o",
        "ignore_conflicts=true",
        "--subnet",
        "192.0.2.64/26",
        "fixed",
    ])?;
    world.run_without("other", &["--network", "none"])?;
    let leased = world.run("web", "lan", &[]).err().ok_or("it has an address")?.to_string();
    let fixed =
        world.run("db", "fixed", &["--ip", "192.0.2.77"]).err().ok_or("it has an address")?.to_string();
    let attached = world.host.landline(binary(), &["attach", "br0", "other", "192.0.2.78/26"]).stderr;
    for said in [leased, fixed, attached] {
        for part in [mac.as_str(), "answers for every address", "proxy ARP", "conflict_check=off"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    Ok(())
}

#[test]
fn an_address_that_the_host_is_given_later_is_left_to_it() -> Result {
    let world = world()?;
    world.network("lan", &["mode=macvlan", "parent=eth0"])?;
    world.run("web", "lan", &[])?;
    let leased = world.address("web", "eth0")?;
    world.run("fixed", "none", &[])?;
    world.landline(&format!("attach eth0 fixed {FREE}/24"))?;
    world.host.check(&["ip", "address", "add", &leased, "dev", "eth0"])?;
    wait_for("another address", SOON, || {
        world.address("web", "eth0").ok().filter(|address| *address != leased)
    })
    .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
    world.host.check(&["ip", "address", "add", &format!("{FREE}/24"), "dev", "eth0"])?;
    // A fixed address is the administrator's to change.
    crate::doctor::finds(&world, "container fixed has 192.0.2.77, and so has this host itself, on eth0")?;
    let said = "this host has been given the address of a container";
    wait_for("a line for each", SOON, || world.daemon.log().matches(said).count() == 2)?;
    assert_eq!(world.address("fixed", "eth0")?, format!("{FREE}/24"));
    world.host.check(&["ip", "address", "del", &format!("{FREE}/24"), "dev", "eth0"])?;
    wait_for("nothing to find", SOON, || world.landline("doctor").is_ok())?;
    Ok(())
}
