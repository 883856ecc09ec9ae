//! What the server hands out changes between two renewals: the container follows, and nothing else is touched.

use landline_testbed::{Kea, Lan, wait_for};
use serde_json::json;

use crate::tools::{at_once, names, second_nic};
use crate::world::{Result, SOON, World};

/// Leases that are renewed every three seconds, with these options and a route to 203.0.113.0/24 by way of 192.0.2.`route_by`.
fn handing_out(options: &[(&str, &str)], route_by: Option<u8>) -> Kea {
    // This version of Kea has no words for classless routes (option 121).
    let routes = route_by.map(|last| {
        json!({"code": 121, "csv-format": false, "data": format!("18CB0071C00002{last:02X}00C0000201")})
    });
    let options = options.iter().map(|(name, data)| json!({"name": name, "data": data})).chain(routes);
    let options = options.collect();
    Kea { valid_lifetime: 12, renew: Some(3), rebind: Some(9), options, ..Kea::default() }
}

/// The interfaces of a bridge and a macvlan container.
const BOTH: [(&str, &str); 2] = [("c0", "br00"), ("c1", "eth0")];

#[test]
fn mtu_and_routes_follow_the_server() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.kea(handing_out(&[("interface-mtu", "1400")], None))?;
    let host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    second_nic(&lan, &host)?;
    let mut world = World::start(lan, dhcp, host)?;
    world.network("bridged", &["bridge=br0", "mtu=dhcp"])?;
    world.network("direct", &["mode=macvlan", "parent=eth1", "mtu=dhcp"])?;
    world.network("plain", &["bridge=br0", "ignore_conflicts=true"])?;
    at_once(&names("c", 2), |name| world.run(name, if name == "c0" { "bridged" } else { "direct" }, &[]))?;
    world.run("plain", "plain", &[])?;

    everywhere(&world, |shown| shown.contains("mtu 1400 ") && !shown.contains("203.0.113.0"))?;
    // Another MTU and a route.
    world.dhcp.reconfigure(&handing_out(&[("interface-mtu", "1300")], Some(2)))?;
    everywhere(&world, |shown| {
        shown.contains("mtu 1300 ") && shown.contains("203.0.113.0/24 via 192.0.2.2")
    })?;
    // More than the parent can carry, and another way for the route.
    world.dhcp.reconfigure(&handing_out(&[("interface-mtu", "9000")], Some(3)))?;
    everywhere(&world, |shown| {
        shown.contains("mtu 1500 ")
            && shown.contains("203.0.113.0/24 via 192.0.2.3")
            && !shown.contains("192.0.2.2 ")
    })?;
    // What nobody asked for stays as it was.
    let untouched = shown(&world, "plain", "br00")?;
    assert!(untouched.contains("mtu 1500 "), "{untouched}");

    // A setting of the user's own stays while the server says the same.
    let pid = world.host.container_pid("c0")?.to_string();
    world.host.check(&["nsenter", "--net", "-t", &pid, "ip", "link", "set", "br00", "mtu", "1450"])?;
    let renewed = |world: &World| world.dhcp.leases().into_iter().map(|lease| lease.expiry).max();
    let before = renewed(&world);
    wait_for("two renewals", SOON, || renewed(&world) > before.map(|at| at + 5))?;
    let kept = shown(&world, "c0", "br00")?;
    assert!(kept.contains("mtu 1450 "), "{kept}");

    // Nothing at all: the parent's MTU again, no route.
    world.dhcp.reconfigure(&handing_out(&[], None))?;
    everywhere(&world, |shown| {
        !shown.contains("203.0.113.0") && (shown.contains("mtu 1500 ") || shown.contains("mtu 1450 "))
    })?;
    for (container, interface) in BOTH {
        let shown = shown(&world, container, interface)?;
        let route = format!("default via 192.0.2.1 dev {interface}");
        assert!(shown.contains(&route), "{container}: {shown}");
    }
    Ok(())
}

/// Both containers' interface and routes are as they should be, soon.
fn everywhere(world: &World, right: impl Fn(&str) -> bool) -> Result {
    for (container, interface) in BOTH {
        let mut last = String::new();
        wait_for(format!("{container}'s interface to follow"), SOON, || {
            last = shown(world, container, interface).ok()?;
            right(&last).then_some(())
        })
        .map_err(|error| format!("{error}: {last}"))?;
    }
    Ok(())
}

fn shown(world: &World, container: &str, interface: &str) -> Result<String> {
    let script = format!("ip link show dev {interface}; ip route");
    Ok(world.host.in_container(container, &["sh", "-c", &script])?)
}
