//! The ports that containers have on a bridge of the host's: they stay up, and the bridge's hardware address does not
//! depend on them.

use landline_testbed::{Dnsmasq, DockerHost, Lan, Signal, wait_for};

use crate::tools::{at_once, names, second_nic, start_daemon};
use crate::world::{Result, SOON, World, bare};

/// The host's ends on a host, by name.
fn host_ends(host: &DockerHost) -> Result<Vec<String>> {
    let links = host.node().ip_json(&["link", "show", "type", "veth"])?;
    let names = links.as_array().into_iter().flatten().filter_map(|link| link["ifname"].as_str());
    Ok(names.filter(|name| name.starts_with("llh")).map(str::to_owned).collect())
}

#[test]
fn a_port_that_is_set_down_is_set_up_again() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    let address = world.address("web", "br00")?;
    let port = host_ends(&world.host)?.pop().ok_or("no port")?;
    let reached = |world: &World| {
        wait_for("the container to be reached again", SOON, || {
            world.lan.peer().check(&["ping", "-q", "-c1", "-W1", bare(&address)]).is_ok()
        })
    };
    world.host.check(&["ip", "link", "set", &port, "down"])?;
    reached(&world)?;
    assert_eq!(world.address("web", "br00")?, address);

    // And while nobody looks.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.check(&["ip", "link", "set", &port, "down"])?;
    world.daemon = start_daemon(&world.host)?;
    reached(&world)?;
    assert_eq!(world.address("web", "br00")?, address);
    Ok(())
}

/// A host whose bridge `br0` has no port and no address, beside its NIC; `kind` decides how its address came about.
fn lonely(mac: Option<&str>) -> Result<World> {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let host = lan.docker_host("host1")?;
    let address = mac.map(|mac| format!("address {mac}")).unwrap_or_default();
    host.node().sh(&format!("ip link add br0 {address} type bridge forward_delay 0; ip link set br0 up"))?;
    World::start(lan, dhcp, host)
}

#[test]
fn a_bridge_without_other_ports_keeps_its_hardware_address() -> Result {
    let world = lonely(None)?;
    let mac = || world.host.node().mac("br0");
    let before = mac()?;
    world.network("alone", &["bridge=br0", "addressing=none"])?;
    for round in 0..2 {
        at_once(&names(&format!("c{round}"), 3), |name| world.run(name, "alone", &[]))?;
        assert_eq!(mac()?, before, "with containers");
        at_once(&names(&format!("c{round}"), 3), |name| {
            Ok(world.host.docker_ok(&["rm", "-f", name]).map(drop)?)
        })?;
        assert_eq!(mac()?, before, "without them");
    }
    world.run("stays", "alone", &[])?;

    // What the kernel does when the first port comes, it still does: the bridge has the NIC's address.
    let nic = world.host.node().mac("eth0")?;
    world.host.check(&["ip", "link", "set", "eth0", "master", "br0"])?;
    wait_for("the bridge to have the NIC's address", SOON, || mac().is_ok_and(|mac| mac == nic))?;
    Ok(())
}

#[test]
fn a_bridge_that_has_a_high_address_keeps_it() -> Result {
    // Virtual NICs have such, and this is nearly the highest there is.
    let (high, higher) = ("fe:ff:ff:ff:ff:f0", "fe:ff:ff:ff:ff:f1");
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let host = lan.docker_host("host1")?;
    second_nic(&lan, &host)?;
    host.node().sh(&format!(
        "ip link set eth0 address {high}; ip link set eth1 address {higher}
         ip link add br0 type bridge forward_delay 0; ip link set eth0 master br0; ip link set br0 up"
    ))?;
    let world = World::start(lan, dhcp, host)?;
    assert_eq!(world.host.node().mac("br0")?, high);
    world.network("lan", &["bridge=br0"])?;
    at_once(&names("c", 4), |name| world.run(name, "lan", &[]))?;
    assert_eq!(world.host.node().mac("br0")?, high);
    Ok(())
}

#[test]
fn ports_of_before_are_given_high_addresses() -> Result {
    let mut world = lonely(None)?;
    world.network("alone", &["bridge=br0", "addressing=none"])?;
    world.run("web", "alone", &[])?;
    world.run("db", "alone", &[])?;
    let ports = host_ends(&world.host)?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    // As earlier versions left it: the lowest of the ports' addresses is the bridge's.
    world.host.node().sh(&format!(
        "ip link del br0; ip link add br0 type bridge forward_delay 0
         ip link set {a} address fe:04:00:00:00:01; ip link set {b} address fe:58:00:00:00:01
         ip link set {a} master br0 up; ip link set {b} master br0 up; ip link set br0 up",
        a = ports[0],
        b = ports[1]
    ))?;
    assert_eq!(world.host.node().mac("br0")?, "fe:04:00:00:00:01");
    world.daemon = start_daemon(&world.host)?;
    wait_for("the ports to have high addresses", SOON, || {
        ports.iter().all(|port| world.host.node().mac(port).is_ok_and(|mac| mac.starts_with("fe:ff:ff:")))
    })?;
    assert_eq!(world.host.node().mac("br0")?, "fe:04:00:00:00:01", "the hosts of the LAN know it");
    world.host.docker_ok(&["rm", "-f", "web", "db"])?;
    assert_eq!(world.host.node().mac("br0")?, "fe:04:00:00:00:01");
    Ok(())
}
