//! Routers of a LAN that come late, go, and change their minds while a container runs; a LAN that has none.

use std::time::{Duration, Instant};

use landline_testbed::{BEYOND_V6, Dnsmasq, RaPrefix, Radvd, wait_for};

use crate::kinds::Kind;
use crate::sockets::advertise;
use crate::world::{Result, SOON, World, bare};

const LAN: &str = "2001:db8:1::/64";
const NEXT: &str = "2001:db8:2::/64";

#[test]
fn a_bridge_follows_its_routers() -> Result {
    follows(Kind::Bridge)
}

#[test]
fn a_macvlan_follows_its_routers() -> Result {
    follows(Kind::Macvlan)
}

fn follows(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    world.network_of(kind, "lan", &["ipv6=true"])?;
    starts_without_ipv6(&world, kind)?;
    let interface = kind.interface();
    world.run("web", "lan", &[])?;
    assert_eq!(world.addresses6("web", interface)?, [""; 0]);
    let setting = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    wait_for("IPv6 on the link, which Docker switched off", SOON, || {
        world.inside("web", &["cat", &setting]).is_ok_and(|value| value.trim() == "0")
    })?;

    // A router, late.
    let router = world.lan.router();
    let mut radvd = world.lan.server_on(router, &Radvd::default())?;
    let first = world.address6("web", interface, "2001:db8:1:")?;
    wait_for("a default route", SOON, || world.gateways6("web").is_ok_and(|all| all.len() == 1))?;
    world.is_reached6("web", &first)?;
    world.inside("web", &["ping", "-6", "-c1", "-W5", BEYOND_V6])?;

    idle(&world)?;
    // Another prefix; the old one is not for anything new any more.
    router.check(&["ip", "address", "add", "2001:db8:2::1/64", "dev", "eth0", "nodad"])?;
    let old = RaPrefix::new(LAN, 600, 0);
    let renumbered =
        Radvd { prefixes: vec![old, RaPrefix::new(NEXT, 600, 300)], mtu: Some(1400), ..Radvd::default() };
    radvd.reconfigure(&renumbered)?;
    let second = world.address6("web", interface, "2001:db8:2:")?;
    wait_for("the old address to be deprecated", SOON, || deprecated(&world, kind, &first))?;
    assert!(!deprecated(&world, kind, &second));
    let mtu = format!("/proc/sys/net/ipv6/conf/{interface}/mtu");
    assert_eq!(world.inside("web", &["cat", &mtu])?.trim(), "1400");

    idle(&world)?;
    // No router for other networks any more, the prefixes stay.
    radvd.reconfigure(&Radvd { router_lifetime: 0, ..renumbered.clone() })?;
    wait_for("the end of the default route", SOON, || {
        world.gateways6("web").is_ok_and(|all| all.is_empty())
    })?;
    assert!(world.addresses6("web", interface)?.contains(&second));

    // And one again.
    radvd.reconfigure(&renumbered)?;
    wait_for("the default route again", SOON, || world.gateways6("web").is_ok_and(|all| all.len() == 1))?;

    // A restart comes back with what there was.
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    assert!(world.addresses6("web", interface)?.contains(&second));
    Ok(())
}

/// Nobody listens in the sandbox any more, so that what routers say from now on is heard elsewhere or not at all.
fn idle(world: &World) -> Result {
    // One line of headings.
    wait_for("the end of questions and probes", SOON, || {
        world.inside("web", &["cat", "/proc/net/packet"]).is_ok_and(|sockets| sockets.lines().count() == 1)
    })?;
    Ok(())
}

fn deprecated(world: &World, kind: Kind, address: &str) -> bool {
    let shown = world.inside("web", &["ip", "-6", "-o", "addr", "show", "dev", kind.interface()]);
    shown.is_ok_and(|text| text.lines().any(|line| line.contains(address) && line.contains("deprecated")))
}

/// Neither routers nor `DHCPv6`: IPv4 is there, and no start is much later for it.
fn starts_without_ipv6(world: &World, kind: Kind) -> Result {
    world.network_of(kind, "four", &[])?;
    let time = |network: &str| -> Result<Duration> {
        let mut times = Vec::new();
        for _ in 0..3 {
            let before = Instant::now();
            world.host.docker_ok(&["run", "--rm", "--network", network, "box", "true"])?;
            times.push(before.elapsed());
        }
        times.sort();
        Ok(times[1])
    };
    let (four, both) = (time("four")?, time("lan")?);
    println!("{kind:?}: docker run on a LAN without IPv6: {four:?} without, {both:?} with ipv6=true");
    assert!(both < four + Duration::from_secs(2), "{four:?} {both:?}");
    Ok(())
}

/// The parent of a container in a VLAN hears the routers of its own LAN, which are not the container's.
#[test]
fn routers_of_another_vlan_are_not_heard() -> Result {
    let (_ovs, world) = crate::ovs::world()?;
    let hasty = ["addressing=none", "ipv6=slaac", "lease_timeout=500ms", "on_timeout=continue"];
    for (name, vlan) in [("native", "vlan="), ("v10", "vlan=10")] {
        world.network(
            name,
            &[&["mode=ovs", "bridge=ovs0", "ignore_conflicts=true", vlan], &hasty[..]].concat(),
        )?;
        world.run(name, name, &[])?;
    }
    let _radvd = world.lan.server_on(world.lan.router(), &Radvd::default())?;
    let first = world.address6("native", "ovs00", "2001:db8:1:")?;
    world.lan.peer().check(&["ping", "-6", "-c1", "-W5", bare(&first)])?;
    advertise(&world.lan.router().netns_path(), "eth0", "2001:db8:2::".parse()?)?;
    world.address6("native", "ovs00", "2001:db8:2:")?;
    assert_eq!(world.addresses6("v10", "ovs00")?, [""; 0]);
    assert_eq!(world.gateways6("v10")?, [""; 0]);
    Ok(())
}
