//! Containers of one image that nothing tells apart: no key, no ports. Docker starts them all at once.

use std::collections::BTreeMap;

use landline_testbed::{Dnsmasq, Dockerd, Ra, Signal, wait_for};

use crate::tools::{second_nic, start_daemon};
use crate::world::{Result, SOON, World, binary};

/// Ten of them: the network of each, and what its interface is called.
const TWINS: [(&str, &str); 10] = [
    ("bridged", "br00"),
    ("bridged", "br00"),
    ("bridged", "br00"),
    ("bridged", "br00"),
    ("direct", "eth0"),
    ("direct", "eth0"),
    ("direct", "eth0"),
    ("leased", "br00"),
    ("leased", "br00"),
    ("leased", "br00"),
];

fn names() -> impl Iterator<Item = (String, &'static str, &'static str)> {
    TWINS
        .iter()
        .enumerate()
        .map(|(number, (network, interface))| (format!("twin{number}"), *network, *interface))
}

fn wire(world: &World) -> Result {
    world.host.node().make_bridge("br0", Some("192.0.2.10/24"))?;
    second_nic(&world.lan, &world.host)
}

/// The twins, made one after the other, so that each has an identity of its own.
fn twins() -> Result<World> {
    let world = World::bridge_with(Dnsmasq { ra: Ra::Both, ..Dnsmasq::default() })?;
    second_nic(&world.lan, &world.host)?;
    world.network("bridged", &["bridge=br0", "ipv6=true"])?;
    world.network("direct", &["mode=macvlan", "parent=eth1", "ipv6=true"])?;
    let leased = ["--ipam-driver", "landline", "--ipam-opt", "addressing=dhcp", "--subnet", "192.0.2.0/24"];
    let options = ["-o", "bridge=br0", "-o", "ignore_conflicts=true", "leased"];
    world.host.docker_ok(&[&["network", "create", "-d", "landline"], &leased[..], &options].concat())?;
    for (name, network, _) in names() {
        world.run(&name, network, &["--restart=always", "--stop-signal=KILL"])?;
        world.row(&name)?;
    }
    Ok(world)
}

/// What is to stay: the hardware address and the addresses of each.
fn seen(world: &World) -> Option<BTreeMap<String, (String, Vec<String>)>> {
    let one = |(name, network, interface): (String, &str, &str)| {
        let six = if network == "leased" { 0 } else { 2 };
        let mut all = vec![world.address(&name, interface).ok()?];
        let mut addresses6 = world.addresses6(&name, interface).ok()?;
        addresses6.sort();
        all.extend(addresses6);
        (all.len() == 1 + six).then_some(())?;
        let mac = world.mac(&name, interface).ok()?;
        Some((name, (mac, all)))
    };
    names().map(one).collect()
}

fn are_back(world: &World, before: &BTreeMap<String, (String, Vec<String>)>, how: &str) -> Result {
    let mut last = None;
    let back = wait_for(format!("all twins as they were, {how}"), 3 * SOON, || {
        last = seen(world);
        last.as_ref() == Some(before)
    });
    back.map_err(|error| {
        let errors = world.host.docker_ok(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
        format!("{error}\n{before:#?}\n{last:#?}\n{errors:?}\n{}", world.daemon.log())
    })?;
    Ok(())
}

#[test]
fn docker_restarts_twins_as_they_were() -> Result {
    let mut world = twins()?;
    let before = wait_for("the twins", SOON, || seen(&world))?;
    for (how, signal) in [("ended", Signal::TERM), ("killed", Signal::KILL)] {
        world.host.dockerd_stop(signal)?;
        world.host.dockerd_start()?;
        are_back(&world, &before, how)?;
        assert!(world.daemon.log().contains("cannot be told yet"), "{how}: {}", world.daemon.log());
    }
    // The daemon may end in the midst of it.
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.dockerd_start()?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = start_daemon(&world.host)?;
    are_back(&world, &before, "with the daemon killed meanwhile")
}

#[test]
fn a_host_that_boots_has_its_twins_as_they_were() -> Result {
    let mut world = twins()?;
    let before = wait_for("the twins", SOON, || seen(&world))?;
    world.host.reboot()?;
    wire(&world)?;
    world.daemon = start_daemon(&world.host)?;
    world.host.dockerd(Dockerd::default())?;
    are_back(&world, &before, "the daemon first")?;
    world.host.reboot()?;
    wire(&world)?;
    world.daemon = world.host.landline_on_demand(binary(), &[], &[])?;
    world.host.dockerd(Dockerd::default())?;
    are_back(&world, &before, "Docker first")
}

#[test]
fn a_twin_that_is_not_to_restart_stays_down() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    for (name, restart) in [("one", "always"), ("two", "always"), ("three", "no")] {
        world.run(name, "lan", &[&format!("--restart={restart}"), "--stop-signal=KILL"])?;
        world.row(name)?;
    }
    let of =
        |world: &World, name: &str| Some((world.mac(name, "br00").ok()?, world.address(name, "br00").ok()?));
    let before = (of(&world, "one"), of(&world, "two"));
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.dockerd_start()?;
    wait_for("the two", 2 * SOON, || (of(&world, "one"), of(&world, "two")) == before)?;
    let state = world.host.docker_ok(&["inspect", "-f", "{{.State.Status}} {{.State.Error}}", "three"])?;
    assert_eq!(state.trim(), "exited");
    Ok(())
}

#[test]
fn addresses_that_users_name_tell_twins_apart() -> Result {
    let mut world = World::bridge()?;
    let create =
        ["network", "create", "-d", "landline", "--ipam-driver", "landline", "--subnet", "192.0.2.0/24"];
    world.host.docker_ok(&[&create[..], &["-o", "addressing=pool", "-o", "bridge=br0", "lan"]].concat())?;
    let names = ["one", "two"];
    for (name, ip) in names.into_iter().zip(["192.0.2.71", "192.0.2.72"]) {
        world.run(name, "lan", &["--ip", ip, "--restart=always", "--stop-signal=KILL"])?;
        world.row(name)?;
    }
    let seen =
        |world: &World| names.map(|name| (world.mac(name, "br00").ok(), world.address(name, "br00").ok()));
    let before = seen(&world);
    assert!(!world.host.landline(binary(), &["ls"]).stdout.contains("nothing tells"));
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.dockerd_start()?;
    wait_for("both as they were", 2 * SOON, || seen(&world) == before)
        .map_err(|error| format!("{error}: {before:?} {:?} {}", seen(&world), world.daemon.log()))?;
    assert!(!world.daemon.log().contains("cannot be told yet"), "{}", world.daemon.log());
    Ok(())
}

/// What keeps them from starting is over a moment later.
#[test]
fn twins_that_cannot_start_yet_are_tried_again() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let names = ["left", "right"];
    for name in names {
        world.run(name, "lan", &["--restart=always", "--stop-signal=KILL"])?;
        world.row(name)?;
    }
    let seen =
        |world: &World| names.map(|name| (world.mac(name, "br00").ok(), world.address(name, "br00").ok()));
    let before = seen(&world);
    world.host.dockerd_stop(Signal::TERM)?;
    for words in [&["ip", "link", "set", "br0", "down"][..], &["ip", "link", "set", "br0", "name", "away"]] {
        world.host.check(words)?;
    }
    world.host.dockerd_start()?;
    wait_for("a start that fails again", 2 * SOON, || world.daemon.log().contains("trying once more"))
        .map_err(|error| format!("{error}: {}", world.daemon.log()))?;
    for words in [&["ip", "link", "set", "away", "name", "br0"][..], &["ip", "link", "set", "br0", "up"]] {
        world.host.check(words)?;
    }
    wait_for("both as they were", 3 * SOON, || seen(&world) == before)
        .map_err(|error| format!("{error}: {before:?} {:?} {}", seen(&world), world.daemon.log()))?;
    Ok(())
}
