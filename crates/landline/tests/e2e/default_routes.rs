//! Whose default route it is: a VPN's, a kill switch's that has removed it, the one Docker chose, that of an attachment.
//! Renewals, restarts of the daemon and changes of names leave it as it is.

use std::net::Ipv4Addr;

use landline_testbed::{
    DhcpKind, DhcpMessage, DhcpServer, Dnsmasq, FakeServer, Radvd, Reply, Signal, wait_for,
};

use crate::bad_routes::renewed;
use crate::kinds::Kind;
use crate::tools::start_daemon;
use crate::world::{Result, SOON, World};

/// The IPv4 and IPv6 default routes of a container, as `ip` has them.
fn defaults(world: &World, container: &str) -> Result<Vec<String>> {
    let listed = world.routes(container)?.into_iter().chain(world.routes6(container)?);
    Ok(listed.filter(|line| line.starts_with("default")).collect())
}

/// `ip WORDS` in a container's network, with the rights of the host.
fn ip(world: &World, container: &str, words: &str) -> Result {
    let pid = world.host.container_pid(container)?.to_string();
    let mut argv = vec!["nsenter", "--net", "-t", &pid, "ip"];
    argv.extend(words.split_whitespace());
    world.host.check(&argv)?;
    Ok(())
}

/// A renewal and a restart of the daemon. Afterwards all of it has been done: a second renewal is said when the first one
/// is over.
fn renewals_and_a_restart(world: &mut World, container: &str) -> Result {
    for _ in 0..2 {
        renewed(world, container)?;
    }
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = start_daemon(&world.host)?;
    world.row(container)?;
    for _ in 0..2 {
        renewed(world, container)?;
    }
    Ok(())
}

/// Everything that makes Landline look at a container's routes again, and at its name.
fn everything_happens(world: &mut World, container: &str) -> Result {
    renewals_and_a_restart(world, container)?;
    let other = format!("{container}-renamed");
    world.host.docker_ok(&["rename", container, &other])?;
    world.row(&other)?;
    for _ in 0..2 {
        renewed(world, &other)?;
    }
    world.host.docker_ok(&["rename", &other, container])?;
    world.row(container)?;
    renewed(world, container)?;
    Ok(())
}

/// A LAN with routers of both families, and `web` on it.
fn both_families(kind: Kind) -> Result<(World, DhcpServer)> {
    let world = kind.world(&Dnsmasq::default())?;
    let radvd = world.lan.server_on(world.lan.router(), &Radvd::default())?;
    world.network_of(kind, "lan", &["ipv6=true"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    wait_for("both default routes", SOON, || {
        world.gateways("web").is_ok_and(|all| all == ["192.0.2.1"])
            && world.gateways6("web").is_ok_and(|all| all.len() == 1)
    })?;
    Ok((world, radvd))
}

/// What goes through the LAN's own routers.
fn through(lines: &[String], interface: &str) -> Vec<String> {
    lines.iter().filter(|line| line.contains(&format!("dev {interface}"))).cloned().collect()
}

#[test]
fn a_bridge_containers_vpn_keeps_the_default_route() -> Result {
    a_vpn_keeps_the_default_route(Kind::Bridge)
}

#[test]
fn a_macvlan_containers_vpn_keeps_the_default_route() -> Result {
    a_vpn_keeps_the_default_route(Kind::Macvlan)
}

fn a_vpn_keeps_the_default_route(kind: Kind) -> Result {
    let (mut world, _radvd) = both_families(kind)?;
    // Docker and Landline are done with the start.
    settled(&world, "web")?;
    ip(&world, "web", "link add tun0 type veth peer name tun1")?;
    // Docker switches IPv6 off on new links of containers without it.
    let pid = world.host.container_pid("web")?.to_string();
    let allow = "echo 0 >/proc/sys/net/ipv6/conf/tun0/disable_ipv6";
    world.host.check(&["nsenter", "--net", "-t", &pid, "sh", "-c", allow])?;
    for words in ["tun0 up", "tun1 up"] {
        ip(&world, "web", &format!("link set {words}"))?;
    }
    let before = defaults(&world, "web")?;
    let metric = before.iter().find_map(|line| line.split("metric ").nth(1)?.split_whitespace().next());
    let metric = metric.ok_or("no IPv6 metric")?;
    ip(&world, "web", "route replace default dev tun0")?;
    ip(&world, "web", &format!("-6 route replace default dev tun0 metric {metric}"))?;
    let vpn = defaults(&world, "web")?;
    assert_eq!(through(&vpn, kind.interface()), [""; 0], "{vpn:?}");

    everything_happens(&mut world, "web")?;
    assert_eq!(defaults(&world, "web")?, vpn, "{}", world.daemon.log());

    // A start is a new beginning.
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    wait_for("both default routes again", SOON, || {
        world.gateways("web").is_ok_and(|all| all == ["192.0.2.1"])
            && world.gateways6("web").is_ok_and(|all| all.len() == 1)
    })?;
    Ok(())
}

#[test]
fn a_kill_switch_keeps_its_container_without_a_default_route() -> Result {
    let (mut world, _radvd) = both_families(Kind::Bridge)?;
    settled(&world, "web")?;
    ip(&world, "web", "route delete default")?;
    ip(&world, "web", "-6 route delete default")?;
    assert_eq!(defaults(&world, "web")?, [""; 0]);
    everything_happens(&mut world, "web")?;
    assert_eq!(defaults(&world, "web")?, [""; 0], "{}", world.daemon.log());
    Ok(())
}

/// Until Docker and Landline are done with the start, and Landline has seen that the default route is its own.
fn settled(world: &World, container: &str) -> Result {
    for _ in 0..2 {
        renewed(world, container)?;
    }
    let inspected = || world.landline(&format!("inspect {container}"));
    wait_for("landline inspect to say so", SOON, || {
        inspected().is_ok_and(|said| said.contains("through this interface"))
    })?;
    Ok(())
}

#[test]
fn docker_chooses_among_its_own_and_landlines_network() -> Result {
    let (mut world, _radvd) = both_families(Kind::Bridge)?;
    settled(&world, "web")?;
    // Of networks with one priority Docker takes the first by name; from 28 on there are priorities.
    let version = world.host.docker_ok(&["version", "--format", "{{.Server.Version}}"])?;
    let major: u32 = version.split('.').next().unwrap_or_default().parse()?;
    let (name, priority) = if major < 28 { ("aaa", &[][..]) } else { ("zzz", &["--gw-priority", "10"][..]) };
    let subnets = ["--subnet", "198.51.100.0/24", "--subnet", "2001:db8:77::/64"];
    world.host.docker_ok(&[&["network", "create", "--ipv6"], &subnets[..], &[name]].concat())?;
    world.host.docker_ok(&[&["network", "connect"], priority, &[name, "web"]].concat())?;
    assert_eq!(world.gateways("web")?, ["198.51.100.1"], "{:?}", world.routes("web")?);
    let chosen = defaults(&world, "web")?;
    everything_happens(&mut world, "web")?;
    assert_eq!(defaults(&world, "web")?, chosen, "{}", world.daemon.log());

    // Without it Docker gives the default route back to this one.
    world.host.docker_ok(&["network", "disconnect", name, "web"])?;
    assert_eq!(world.gateways("web")?, ["192.0.2.1"], "{:?}", world.routes("web")?);
    everything_happens(&mut world, "web")?;
    assert_eq!(world.gateways("web")?, ["192.0.2.1"], "{}", world.daemon.log());
    Ok(())
}

#[test]
fn the_default_route_stays_with_one_of_two_networks() -> Result {
    let mut world = World::bridge()?;
    world.host.check(&["ip", "link", "add", "br1", "type", "bridge"])?;
    world.host.check(&["ip", "address", "add", "198.51.100.1/24", "dev", "br1"])?;
    world.host.check(&["ip", "link", "set", "br1", "up"])?;
    let second = Ipv4Addr::new(198, 51, 100, 1);
    let _server = FakeServer::start(world.host.node(), second, move |message| {
        let kind = match message.kind() {
            Some(DhcpKind::Discover) => DhcpKind::Offer,
            Some(DhcpKind::Request) => DhcpKind::Ack,
            _ => return Vec::new(),
        };
        let address = Ipv4Addr::new(198, 51, 100, 50);
        let grant = DhcpMessage::grant(message, kind, second, address, 600);
        vec![Reply::now(&grant.with(3, second.octets()))]
    })?;
    world.network("lan", &["bridge=br0"])?;
    world.network("other", &["bridge=br1"])?;
    world.run("web", "other", &[])?;
    world.host.docker_ok(&["network", "connect", "lan", "web"])?;
    world.row("web")?;
    let chosen = defaults(&world, "web")?;
    assert_eq!(chosen.len(), 1, "{chosen:?}");
    everything_happens(&mut world, "web")?;
    assert_eq!(defaults(&world, "web")?, chosen, "{}", world.daemon.log());
    Ok(())
}

#[test]
fn an_attachments_default_route_stays() -> Result {
    let (mut world, _radvd) = both_families(Kind::Bridge)?;
    settled(&world, "web")?;
    world.landline("attach br0 web 192.0.2.77/24@192.0.2.2 2001:db8:1::77/64@2001:db8:1::2 ifname=eth7")?;
    let chosen = defaults(&world, "web")?;
    assert_eq!(world.gateways("web")?, ["192.0.2.2"]);
    everything_happens(&mut world, "web")?;
    assert_eq!(defaults(&world, "web")?, chosen, "{}", world.daemon.log());

    // One that replaces the attachment's stays as well, even if that is asked for again. (An attachment belongs to a name:
    // without it, it would be removed and made again.)
    ip(&world, "web", "route replace default via 192.0.2.9 dev eth7")?;
    let chosen = defaults(&world, "web")?;
    world.landline("attach br0 web 192.0.2.77/24@192.0.2.2 2001:db8:1::77/64@2001:db8:1::2 ifname=eth7")?;
    renewals_and_a_restart(&mut world, "web")?;
    assert_eq!(defaults(&world, "web")?, chosen, "{}", world.daemon.log());
    ip(&world, "web", "route replace default via 192.0.2.2 dev eth7 proto 76")?;

    world.landline("detach web eth7")?;
    wait_for("the default route of before", SOON, || {
        world.gateways("web").is_ok_and(|all| all == ["192.0.2.1"])
    })?;
    everything_happens(&mut world, "web")?;
    assert_eq!(world.gateways("web")?, ["192.0.2.1"], "{}", world.daemon.log());
    Ok(())
}
