//! Errors that name the cause, which the obvious sentence would hide.

use std::net::Ipv4Addr;

use landline_testbed::{DhcpKind, DhcpMessage, Dnsmasq, FakeServer, Lan, Ra, Reply, Signal, wait_for};

use crate::sockets::advertise_mtu;
use crate::tools::start_daemon;
use crate::world::{Result, SOON, World};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const SERVER_ID: u8 = 54;

/// The answer of this kind to a message.
fn answer(message: &DhcpMessage, kind: DhcpKind) -> DhcpMessage {
    DhcpMessage::grant(message, kind, SERVER, Ipv4Addr::new(192, 0, 2, 100), 3600)
}

/// What Docker says of a start on a network whose server answers like this.
fn refused_by(script: impl FnMut(&DhcpMessage) -> Vec<Reply> + Send + 'static) -> Result<String> {
    let mut world = World::bridge()?;
    world.dhcp.stop()?;
    world.network("lan", &["bridge=br0", "lease_timeout=2s"])?;
    let _server = FakeServer::start(world.lan.router(), SERVER, script)?;
    let output = world.host.docker(&["run", "--network", "lan", "box", "true"]);
    assert!(!output.success(), "it started");
    Ok(output.stderr)
}

#[test]
fn an_offer_without_a_server_identifier() -> Result {
    let said = refused_by(|message| {
        let Some(DhcpKind::Discover) = message.kind() else { return Vec::new() };
        vec![Reply::now(&answer(message, DhcpKind::Offer).without(SERVER_ID))]
    })?;
    let cause = "network lan: the DHCP server at 192.0.2.1 answered without its server identifier (option 54) on br0 \
                 within 2 s; no client can use such an answer";
    assert!(said.contains(cause), "{said}");
    Ok(())
}

#[test]
fn an_acknowledgement_of_another_server() -> Result {
    let said = refused_by(|message| match message.kind() {
        Some(DhcpKind::Discover) => vec![Reply::now(&answer(message, DhcpKind::Offer))],
        Some(DhcpKind::Request) => {
            vec![Reply::now(&answer(message, DhcpKind::Ack).with(SERVER_ID, OTHER.octets()))]
        }
        _ => Vec::new(),
    })?;
    let cause = "the DHCP server 192.0.2.1 offered an address, but what confirmed it calls itself 192.0.2.9 (option 54)";
    assert!(said.contains(cause), "{said}");
    Ok(())
}

#[test]
fn a_server_on_the_parent_itself() -> Result {
    let mut world = World::nic()?;
    world.dhcp.stop()?;
    let _server =
        FakeServer::start(world.host.node(), Ipv4Addr::new(192, 0, 2, 10), |message| match message.kind() {
            Some(DhcpKind::Discover) => vec![Reply::now(&answer(message, DhcpKind::Offer))],
            _ => Vec::new(),
        })?;
    world.network("lan", &["mode=macvlan", "parent=eth0", "lease_timeout=1s"])?;
    let output = world.host.docker(&["run", "--network", "lan", "box", "true"]);
    let cause = "a DHCP server runs on this host (UDP port 67), and no packet passes between eth0 and its macvlan children";
    assert!(!output.success() && output.stderr.contains(cause), "{}", output.stderr);
    Ok(())
}

#[test]
fn a_second_network_on_the_same_lan() -> Result {
    let world = World::bridge()?;
    world.network("one", &["bridge=br0"])?;
    world.network("two", &["bridge=br0", "ignore_conflicts=true"])?;
    world.run("web", "one", &[])?;
    let address = world.address("web", "br00")?;
    let output = world.host.docker(&["network", "connect", "two", "web"]);
    assert!(!output.success(), "{}", output.stderr);
    let cause = format!("network two: the container has {address} by network one already");
    assert!(output.stderr.contains(&cause), "{}", output.stderr);
    assert!(output.stderr.contains("landline attach br0 CONTAINER dhcp"), "{}", output.stderr);
    assert_eq!(world.address("web", "br00")?, address, "the first one goes on");
    // What the sentence says works.
    world.host.landline_ok(crate::world::binary(), &["attach", "br0", "web", "dhcp"])?;
    Ok(())
}

#[test]
fn a_second_network_on_the_same_lan_of_ipv6_alone() -> Result {
    let world = World::bridge_with(Dnsmasq { ra: Ra::Slaac, ..Dnsmasq::default() })?;
    let only = ["bridge=br0", "addressing=none", "ipv6=slaac"];
    world.network("one", &only)?;
    world.network("two", &[&only[..], &["ignore_conflicts=true"]].concat())?;
    world.run("web", "one", &[])?;
    let address = world.address6("web", "br00", "2001:db8:1:")?;
    let output = world.host.docker(&["network", "connect", "two", "web"]);
    assert!(!output.success(), "{}", output.stderr);
    let cause = format!("network two: the container has {address} by network one already");
    assert!(output.stderr.contains(&cause), "{}", output.stderr);
    assert_eq!(world.address6("web", "br00", "2001:db8:1:")?, address, "the first one goes on");
    Ok(())
}

#[test]
fn ipv6_that_the_containers_user_switched_off() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq { ra: Ra::Slaac, ..Dnsmasq::default() })?;
    let host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    let mut world = World::start(lan, dhcp, host)?;
    world.network("lan", &["bridge=br0", "ipv6=true"])?;
    world.run("web", "lan", &[])?;
    let addresses = || {
        let row = world.row("web").unwrap_or_default();
        row["ipv6"]["addresses"].as_array().map_or(0, Vec::len)
    };
    wait_for("an IPv6 address in landline ls", SOON, || addresses() > 0)?;
    let pid = world.host.container_pid("web")?.to_string();
    let off = "echo 1 > /proc/sys/net/ipv6/conf/br00/disable_ipv6";
    world.host.check(&["nsenter", "-t", &pid, "--net", "sh", "-ec", off])?;
    let row = world.row("web")?;
    assert_eq!(row["ipv6"]["addresses"], serde_json::json!([]), "{row}");
    assert!(row["ipv6"]["state"].as_str().is_some_and(|state| state.contains("disable_ipv6")), "{row}");
    stays_off(&world, 1400, "after other words of the router")?;
    stays_off(&world, 1401, "after other words of the router")?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = start_daemon(&world.host)?;
    world.row("web")?;
    stays_off(&world, 1402, "after a restart of the daemon")?;
    stays_off(&world, 1403, "after a restart of the daemon")
}

/// The LAN's router says another MTU, and what Landline does about that switches no IPv6 on.
fn stays_off(world: &World, mtu: u32, when: &str) -> Result {
    let setting = |key: &str| {
        let value = world.inside("web", &["cat", &format!("/proc/sys/net/ipv6/conf/br00/{key}")]);
        value.map(|value| value.trim().to_owned())
    };
    wait_for("the router's words to count", SOON, || {
        // The router has words of its own, which may come in between.
        advertise_mtu(&world.lan.router().netns_path(), "eth0", mtu).ok()?;
        setting("mtu").is_ok_and(|now| now == mtu.to_string()).then_some(())
    })?;
    let (off, routes) = (setting("disable_ipv6")?, world.routes6("web")?);
    let addresses = world.inside("web", &["ip", "-6", "-o", "address", "show", "dev", "br00"])?;
    assert_eq!((&*off, &*addresses), ("1", ""), "{when}");
    assert!(!routes.iter().any(|route| route.contains("br00")), "{when}: {routes:?}");
    Ok(())
}

#[test]
fn a_name_that_is_too_long_is_cut() -> Result {
    let world = World::bridge()?;
    let wire = world.lan.capture(world.lan.router(), "eth0", "udp port 67")?;
    world.network("lan", &["bridge=br0"])?;
    let name = "n".repeat(80);
    world.run(&name, "lan", &[])?;
    wire.wait_for("the server to be told the name", SOON, |frame| {
        let message = frame.dhcp().filter(|message| message.op == 1)?;
        (message.text_option(12).as_deref() == Some(&name[..63])).then_some(())
    })?;
    Ok(())
}

#[test]
fn a_hardware_address_of_zeros() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let output =
        world.host.docker(&["run", "--network", "lan", "--mac-address", "00:00:00:00:00:00", "box", "true"]);
    let cause = "00:00:00:00:00:00 stands for no hardware address; leave out --mac-address";
    assert!(!output.success() && output.stderr.contains(cause), "{}", output.stderr);
    Ok(())
}

#[test]
fn a_network_card_in_the_place_of_a_bridge() -> Result {
    let world = World::nic()?;
    let create = ["network", "create", "-d", "landline", "--ipam-driver", "null", "-o", "bridge=eth0", "lan"];
    let output = world.host.docker(&create);
    assert!(!output.success(), "{}", output.stderr);
    assert!(output.stderr.contains("use -o mode=macvlan -o parent=eth0"), "{}", output.stderr);
    Ok(())
}
