//! What others do to the host, to Docker and to the daemon while host access is on.

use landline_testbed::{Kea, Lan, Reservation, Signal, wait_for};

use super::tools::{HOST, docker_network, ping, strict_world, v4};
use crate::tools::start_daemon;
use crate::world::{Result, SOON, World, bare};

#[test]
fn everything_is_put_right_again() -> Result {
    let mut world = strict_world()?;
    docker_network(&world.host, "macvlan", "dk", &[])?;
    world.serve("c0", "dk", 0)?;
    let before = world.host.snapshot()?;
    let _page = world.host_serves()?;
    world.access(&["enable", "dk"])?;
    world.both_ways("c0", 0)?;
    disconnected_and_connected(&world)?;
    // Newer engines give a container that is connected again another hardware address.
    let with = world.host.snapshot()?;
    deleted_by_hand(&world)?;
    address_away_for_a_moment(&world)?;
    host_address_changed(&world)?;
    assert_eq!(with.diff(&world.host.snapshot()?), "", "what was put right is as it was");
    daemon_killed(&mut world)?;
    docker_away_and_back(&mut world)?;
    foreign_entries_stay(&world)?;

    world.access(&["disable", "dk"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    Ok(())
}

fn disconnected_and_connected(world: &World) -> Result {
    world.host.docker_ok(&["network", "disconnect", "dk", "c0"])?;
    world.access_ready("dk", 0)?;
    assert_eq!(world.host.check(&["ip", "route", "show", &v4(0)])?, "");
    let addresses = ["--ip", &v4(0), "--ip6", &super::tools::v6(0)];
    world.host.docker_ok(&[&["network", "connect"], &addresses[..], &["dk", "c0"]].concat())?;
    world.both_ways("c0", 0)
}

fn deleted_by_hand(world: &World) -> Result {
    let shim = world.access_row("dk")?["interface"].as_str().unwrap_or_default().to_owned();
    world.host.check(&["ip", "link", "del", &shim])?;
    world.both_ways("c0", 0)?;
    world.host.check(&["ip", "link", "set", &shim, "down"])?;
    world.both_ways("c0", 0)?;
    world.host.check(&["ip", "route", "del", &v4(0), "dev", &shim])?;
    world.both_ways("c0", 0)
}

/// What a network manager does that is restarted.
fn address_away_for_a_moment(world: &World) -> Result {
    let shim = world.access_row("dk")?["interface"].as_str().unwrap_or_default().to_owned();
    let index = || world.host.check(&["cat", &format!("/sys/class/net/{shim}/ifindex")]);
    let (node, before) = (world.host.node(), index()?);
    let mut changes = world.host.spawn(&["ip", "monitor", "link", "address"])?;
    node.sh(&format!(
        "ip address flush dev eth0 scope global; sleep 0.5
         ip address add {HOST}/24 dev eth0 noprefixroute
         ip route add 192.0.2.0/24 dev eth0 src {HOST} metric 100
         ip address add {}/64 dev eth0 nodad",
        super::tools::HOST_V6
    ))?;
    world.both_ways("c0", 0)?;
    // Long enough for a removal that was only put off.
    std::thread::sleep(std::time::Duration::from_secs(3));
    changes.kill();
    assert_eq!(index()?, before);
    let deleted = changes.stdout().lines().any(|line| line.starts_with("Deleted") && line.contains(&shim));
    assert!(!deleted, "the shim went and came back:\n{}", changes.stdout());
    world.both_ways("c0", 0)
}

fn host_address_changed(world: &World) -> Result {
    let node = world.host.node();
    node.sh(&format!(
        "ip address del {HOST}/24 dev eth0; ip address add 192.0.2.11/24 dev eth0 noprefixroute"
    ))?;
    world.host_reaches(&v4(0))?;
    let route = world.host.check(&["ip", "route", "get", &v4(0)])?;
    assert!(route.contains("src 192.0.2.11"), "{route}");
    wait_for("the container to reach the new address", SOON, || {
        world.inside("c0", &["ping", "-q", "-c1", "-W1", "192.0.2.11"]).is_ok()
    })?;
    node.sh(&format!(
        "ip address del 192.0.2.11/24 dev eth0; ip address add {HOST}/24 dev eth0 noprefixroute
         ip route add 192.0.2.0/24 dev eth0 src {HOST} metric 100"
    ))?;
    world.both_ways("c0", 0)?;

    // The new one before the old one goes, as systemd sets hosts up: the host is never without an address.
    node.sh(&format!(
        "echo 1 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries
         ip address add 192.0.2.11/24 dev eth0; ip address del {HOST}/24 dev eth0"
    ))?;
    world.host_reaches(&v4(0))?;
    wait_for("the container to reach the address that took over", SOON, || {
        world.inside("c0", &["ping", "-q", "-c1", "-W1", "192.0.2.11"]).is_ok()
    })?;
    node.sh(&format!(
        "ip address del 192.0.2.11/24 dev eth0; ip address add {HOST}/24 dev eth0 noprefixroute
         ip route replace 192.0.2.0/24 dev eth0 src {HOST} metric 100"
    ))?;
    world.both_ways("c0", 0)
}

fn daemon_killed(world: &mut World) -> Result {
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    // It goes on without, and what happens meanwhile is seen at the next start.
    assert!(ping(world.host.node(), &v4(0)));
    world.serve("c1", "dk", 1)?;
    let shim = world.host.check(&["sh", "-c", "ip -o link show type macvlan | cut -d: -f2 | cut -d@ -f1"])?;
    world.host.check(&["ip", "link", "del", shim.trim()])?;
    world.daemon = start_daemon(&world.host)?;
    world.both_ways("c0", 0)?;
    world.both_ways("c1", 1)?;
    world.host.docker_ok(&["rm", "-f", "c1"])?;
    world.access_ready("dk", 1)
}

/// A Docker that is down removes nothing; when it is back with its containers, so is their access.
fn docker_away_and_back(world: &mut World) -> Result {
    world.host.docker_ok(&["update", "--restart=always", "c0"])?;
    let routes = world.host.check(&["ip", "route", "show", "proto", "76"])?;
    assert!(routes.contains(&v4(0)), "{routes}");
    world.host.dockerd_stop(Signal::KILL)?;
    wait_for("the daemon to miss Docker", SOON, || world.ls().is_ok_and(|ls| ls["docker"] == false))?;
    assert_eq!(world.host.check(&["ip", "route", "show", "proto", "76"])?, routes);
    // With nothing to go by.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = start_daemon(&world.host)?;
    assert_eq!(world.host.check(&["ip", "route", "show", "proto", "76"])?, routes);
    world.host.dockerd_start()?;
    world.both_ways("c0", 0)?;
    world.access_ready("dk", 1)
}

/// What others put on the shim or into the container is theirs.
fn foreign_entries_stay(world: &World) -> Result {
    let shim = world.access_row("dk")?["interface"].as_str().unwrap_or_default().to_owned();
    let pid = world.host.container_pid("c0")?.to_string();
    world.host.node().sh(&format!(
        "ip route add 203.0.113.0/24 dev {shim}; ip neigh add 203.0.113.9 lladdr 02:00:00:00:00:09 nud permanent dev {shim}
         nsenter -t {pid} --net ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 nud permanent dev eth0"
    ))?;
    world.serve("c2", "dk", 2)?;
    world.both_ways("c2", 2)?;
    world.host.docker_ok(&["rm", "-f", "c2"])?;
    world.access_ready("dk", 1)?;
    let look = format!("ip route show dev {shim}; ip neigh show dev {shim}; nsenter -t {pid} --net ip neigh");
    let there = world.host.node().sh(&look)?;
    for foreign in ["203.0.113.0/24", "203.0.113.9 ", "192.0.2.9 "] {
        assert!(there.contains(foreign), "{foreign} in {there}");
    }
    Ok(())
}

/// The NIC is gone for a while, and with it the containers' links. Landline makes its own again.
#[test]
fn a_nic_that_goes_and_comes() -> Result {
    let world = strict_world()?;
    world.network("own", &["mode=macvlan", "parent=eth0", "host_access=true"])?;
    world.run("own", "own", &[])?;
    let address = world.address("own", "eth0")?;
    world.host_reaches(bare(&address))?;

    world.host.check(&["ip", "link", "del", "eth0"])?;
    wait_for("the loss to be seen", SOON, || {
        world.access_row("own").is_ok_and(|row| row["state"] == "waits for eth0, which is not there")
    })?;
    let (port, netns) = (format!("p-{}", world.host.name()), world.host.node().netns());
    let cable = ["ip", "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &netns];
    world.lan.switch().check(&cable)?;
    world.lan.switch().check(&["ip", "link", "set", &port, "master", "sw", "up"])?;
    world.host.check(&["ip", "link", "set", "eth0", "up"])?;
    wait_for("the host's address to be missed", SOON, || {
        world
            .access_row("own")
            .is_ok_and(|row| row["state"].as_str().is_some_and(|s| s.contains("address of the host")))
    })?;
    world.host.check(&["ip", "address", "add", &format!("{HOST}/24"), "dev", "eth0"])?;
    wait_for("the container to have its link again", SOON, || world.address("own", "eth0").is_ok())?;
    let address = world.address("own", "eth0")?;
    world.host_reaches(bare(&address))?;
    world.inside("own", &["ping", "-q", "-c1", "-W5", HOST])?;
    world.access_ready("own", 1)
}

/// The server gives the container another address, and the host goes along.
#[test]
fn another_address_by_dhcp() -> Result {
    let short = || Kea { valid_lifetime: 8, renew: Some(4), rebind: Some(6), ..Kea::default() };
    let lan = Lan::new()?;
    let dhcp = lan.kea(Kea { pool: Some("192.0.2.201-192.0.2.201".into()), ..short() })?;
    let host = lan.docker_host("host1")?;
    host.check(&["ip", "address", "add", &format!("{HOST}/24"), "dev", "eth0"])?;
    let mut world = World::start(lan, dhcp, host)?;
    world.network("own", &["mode=macvlan", "parent=eth0", "host_access=true"])?;
    world.run("own", "own", &[])?;
    world.host_reaches("192.0.2.201")?;

    // What belongs to another Kea refuses at the next renewal.
    let reservations = vec![Reservation::new("02:00:00:00:00:c9", "192.0.2.201")];
    let moved = Kea { pool: Some("192.0.2.210-192.0.2.210".into()), reservations, ..short() };
    world.dhcp.reconfigure(&moved)?;
    world.host_reaches("192.0.2.210")?;
    world.inside("own", &["ping", "-q", "-c1", "-W5", HOST])?;
    wait_for("the old route to go", SOON, || {
        world.host.check(&["ip", "route", "show", "192.0.2.201"]).is_ok_and(|route| route.is_empty())
    })?;
    Ok(())
}

/// The host has another address, in each of the ways in which that comes about; access to what runs goes on, both ways.
#[test]
fn the_hosts_address_is_replaced() -> Result {
    let world = World::nic()?;
    world.network("lan", &["mode=macvlan", "parent=eth0", "host_access=true"])?;
    world.run("web", "lan", &[])?;
    let address = world.address("web", "eth0")?;
    world.host_reaches(bare(&address))?;
    let node = world.host.node();
    let both_ways = |host: &str, how: &str| -> Result {
        world.host_reaches(bare(&address)).map_err(|error| format!("{how}: {error}"))?;
        wait_for(format!("the container to reach {host} ({how})"), SOON, || {
            world.inside("web", &["ping", "-q", "-c1", "-W1", host]).is_ok()
        })?;
        Ok(())
    };
    both_ways("192.0.2.10", "as it was")?;
    node.sh("ip address del 192.0.2.10/24 dev eth0; ip address add 192.0.2.11/24 dev eth0")?;
    both_ways("192.0.2.11", "removed and added")?;
    node.sh("echo 1 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries
         ip address add 192.0.2.12/24 dev eth0; ip address del 192.0.2.11/24 dev eth0")?;
    both_ways("192.0.2.12", "added and removed")?;
    node.sh("ip address add 192.0.2.13/23 dev eth0; ip address del 192.0.2.12/24 dev eth0")?;
    both_ways("192.0.2.13", "with another prefix length")?;
    node.sh("ip address flush dev eth0; ip link set eth0 down; ip address add 192.0.2.14/24 dev eth0; ip link set eth0 up")?;
    both_ways("192.0.2.14", "with the interface down meanwhile")?;
    node.sh("ip address add 198.51.100.7/24 dev eth0; ip address del 192.0.2.14/24 dev eth0")?;
    node.sh("ip address add 192.0.2.15/24 dev eth0; ip address del 198.51.100.7/24 dev eth0")?;
    both_ways("192.0.2.15", "on another network meanwhile")?;
    Ok(())
}
