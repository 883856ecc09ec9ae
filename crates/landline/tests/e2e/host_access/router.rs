//! `landline host-access run` as a container in the place of macvlan-router, by the Compose file of `packaging/`.

use std::collections::BTreeSet;

use landline_testbed::{Signal, wait_for};

use super::tools::{HOST, answers, docker_network, ping, strict_world, v4, v6};
use crate::images::{compose, image, log};
use crate::world::{Result, SOON, World};

const BRIDGE_IP: &str = "192.0.2.50";
const PROJECT: &str = "host-access";

#[test]
fn in_the_place_of_macvlan_router() -> Result {
    let mut world = strict_world()?;
    image(&world.host, "host-access")?;
    docker_network(&world.host, "macvlan", "macvlan", &[])?;
    for n in 0..2 {
        world.serve(&format!("c{n}"), "macvlan", n)?;
    }
    // No daemon: it does all by itself.
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    let before = world.host.snapshot()?;

    let settings = [
        "MACVLAN_BRIDGE_IP=192.0.2.50/24 2001:db8:1::50",
        "ADDITIONAL_ROUTES=203.0.113.7 198.51.100.0/24",
        "CLEANUP_ON_EXIT=true",
        "DEBUG=1",
        "TZ=Asia/Kolkata",
        "INTERVAL=0.5",
    ];
    compose(&world.host, PROJECT, &settings, &["up", "-d"])?;
    reached(&world)?;
    let shim = world.host.node().mac("macvlan")?;
    assert_eq!(answers(&world, world.lan.peer(), BRIDGE_IP)?, BTreeSet::from([shim]));
    assert_eq!(answers(&world, world.lan.peer(), HOST)?, BTreeSet::from([world.host.node().mac("eth0")?]));
    let routes = world.host.check(&["ip", "route", "show", "dev", "macvlan"])?;
    assert!(routes.contains("203.0.113.7 ") && routes.contains("198.51.100.0/24 "), "{routes}");

    let log = said(&world);
    assert!(log.contains(" DEBUG ") && log.lines().all(|line| line.contains("+05:30 ")), "{log}");

    world.serve("c2", "macvlan", 2)?;
    world.host_reaches(&v4(2))?;
    world.host.docker_ok(&["rm", "-f", "c2"])?;
    wait_for("its route to go", SOON, || {
        world.host.check(&["ip", "route", "show", &v4(2)]).is_ok_and(|route| route.is_empty())
    })?;
    compose(&world.host, PROJECT, &settings, &["stop"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");

    // Without cleaning up, what there was is taken up again.
    let settings = ["MACVLAN_BRIDGE_INTERFACE_NAME=lan0"];
    compose(&world.host, PROJECT, &settings, &["up", "-d"])?;
    let up = || world.host.node().mac("lan0").is_ok() && ping(world.host.node(), &v4(0));
    wait_for("the host to reach c0", SOON, up)?;
    assert!(!said(&world).contains(" DEBUG "), "{}", said(&world));
    let state = world.host.snapshot()?;
    compose(&world.host, PROJECT, &settings, &["restart"])?;
    wait_for("it to run again", SOON, || {
        said(&world).matches("the host reaches the network's containers").count() == 2
    })
    .map_err(|error| format!("{error}: {}", said(&world)))?;
    assert_eq!(state.diff(&world.host.snapshot()?), "");
    Ok(())
}

/// As macvlan-router did it, and more: two containers at once, IPv6, and one answer on the LAN.
fn reached(world: &World) -> Result {
    for n in 0..2 {
        for address in [v4(n), v6(n)] {
            wait_for(format!("the host to reach {address}"), SOON, || ping(world.host.node(), &address))
                .map_err(|error| format!("{error}: {}", said(world)))?;
        }
        world.inside(&format!("c{n}"), &["ping", "-q", "-c1", "-W5", BRIDGE_IP])?;
    }
    Ok(())
}

fn said(world: &World) -> String {
    log(&world.host, PROJECT, "host-access")
}
