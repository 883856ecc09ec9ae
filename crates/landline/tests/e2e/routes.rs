//! Which way a container sends what is not for the LAN: the server's options, the network's, the host's routes.

use landline_testbed::Dnsmasq;

use crate::kinds::Kind;
use crate::world::{Result, World};

/// A server that sends option 121 (RFC 3442) with these routes, besides option 3.
fn classless(routes: &str) -> Dnsmasq {
    Dnsmasq { options: vec![format!("option:classless-static-route,{routes}")], ..Dnsmasq::default() }
}

fn has(routes: &[String], beginning: &str) -> bool {
    routes.iter().any(|line| line.starts_with(beginning))
}

#[test]
fn bridge_classless_routes_replace_the_router_option() -> Result {
    classless_routes_replace_the_router_option(Kind::Bridge)
}

#[test]
fn macvlan_classless_routes_replace_the_router_option() -> Result {
    classless_routes_replace_the_router_option(Kind::Macvlan)
}

fn classless_routes_replace_the_router_option(kind: Kind) -> Result {
    // Option 3 says 192.0.2.1 all the while.
    let world =
        kind.world(&classless("203.0.113.0/24,192.0.2.2,198.51.100.7/32,192.0.2.4,0.0.0.0/0,192.0.2.3"))?;
    world.network_of(kind, "lan", &[])?;
    world.run("plain", "lan", &[])?;
    assert_eq!(world.gateways("plain")?, ["192.0.2.3"]);
    let routes = world.routes("plain")?;
    let interface = kind.interface();
    assert!(has(&routes, &format!("203.0.113.0/24 via 192.0.2.2 dev {interface}")), "{routes:?}");
    assert!(has(&routes, &format!("198.51.100.7 via 192.0.2.4 dev {interface}")), "{routes:?}");

    // The network's own gateway beats the server's.
    world.network_of(kind, "own", &["gateway=192.0.2.2"])?;
    world.run("own-gateway", "own", &[])?;
    assert_eq!(world.gateways("own-gateway")?, ["192.0.2.2"]);

    // Without its routes, but with its default route.
    world.network_of(kind, "bare", &["skip_routes=true"])?;
    world.run("skipping", "bare", &[])?;
    assert_eq!(world.gateways("skipping")?, ["192.0.2.3"]);
    let routes = world.routes("skipping")?;
    assert!(!has(&routes, "203.0.113.0/24") && !has(&routes, "198.51.100.7"), "{routes:?}");
    Ok(())
}

#[test]
fn classless_routes_without_a_default_leave_the_container_without_one() -> Result {
    let kind = Kind::Bridge;
    let world = kind.world(&classless("203.0.113.0/24,192.0.2.2"))?;
    world.network_of(kind, "lan", &[])?;
    world.run("web", "lan", &[])?;
    assert!(has(&world.routes("web")?, "203.0.113.0/24 via 192.0.2.2"));
    no_way_out(&world, kind)
}

#[test]
fn bridge_without_a_router_there_is_no_way_out() -> Result {
    without_a_router_there_is_no_way_out(Kind::Bridge)
}

#[test]
fn macvlan_without_a_router_there_is_no_way_out() -> Result {
    without_a_router_there_is_no_way_out(Kind::Macvlan)
}

fn without_a_router_there_is_no_way_out(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq { router: None, ..Dnsmasq::default() })?;
    world.network_of(kind, "lan", &[])?;
    world.run("web", "lan", &[])?;
    no_way_out(&world, kind)?;

    // Someone who knows better can say so.
    world.network_of(kind, "own", &["gateway=192.0.2.1"])?;
    world.run("own-gateway", "own", &[])?;
    assert_eq!(world.gateways("own-gateway")?, ["192.0.2.1"]);
    Ok(())
}

/// The container `web` has no default route, and Docker has not put it on a bridge of its own instead.
fn no_way_out(world: &World, kind: Kind) -> Result {
    let routes = world.routes("web")?;
    assert!(!has(&routes, "default"), "{routes:?}");
    assert_eq!(world.interfaces("web")?, [kind.interface()]);
    let networks = world.host.docker_ok(&["network", "ls", "--format", "{{.Name}}"])?;
    assert!(!networks.contains("docker_gwbridge"), "{networks}");
    world.host.in_container("web", &["ping", "-c1", "-W5", "192.0.2.2"])?;
    Ok(())
}

#[test]
fn static_routes_of_the_bridge_are_copied() -> Result {
    let kind = Kind::Bridge;
    let world = kind.world(&Dnsmasq::default())?;
    world.host.check(&["ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.2", "dev", "br0"])?;
    world.host.check(&["ip", "route", "add", "198.51.100.64/26", "dev", "br0"])?;
    // Not on this bridge, so none of the container's business.
    world.host.check(&["ip", "route", "add", "198.51.100.128/26", "dev", "lo"])?;

    world.network_of(kind, "lan", &[])?;
    world.run("web", "lan", &[])?;
    let routes = world.routes("web")?;
    assert!(has(&routes, "203.0.113.0/24 via 192.0.2.2 dev br00"), "{routes:?}");
    assert!(has(&routes, "198.51.100.64/26 dev br00"), "{routes:?}");
    assert!(!has(&routes, "198.51.100.128/26"), "{routes:?}");
    assert_eq!(world.gateways("web")?, ["192.0.2.1"]);

    world.network_of(kind, "bare", &["skip_routes=true"])?;
    world.run("skipping", "bare", &[])?;
    let routes = world.routes("skipping")?;
    assert!(!has(&routes, "203.0.113.0/24") && !has(&routes, "198.51.100.64/26"), "{routes:?}");
    assert_eq!(world.gateways("skipping")?, ["192.0.2.1"]);
    Ok(())
}
