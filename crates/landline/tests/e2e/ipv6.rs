//! `ipv6=false`, the default: a LAN full of Router Advertisements gives a container no address and no route,
//! and the host nothing it did not have.

use std::net::Ipv6Addr;

use landline_testbed::{Dnsmasq, Ra, wait_for};

use crate::kinds::Kind;
use crate::sockets::advertise;
use crate::world::{Result, SOON};

#[test]
fn bridge_ignores_router_advertisements() -> Result {
    ignores_router_advertisements(Kind::Bridge)
}

#[test]
fn macvlan_ignores_router_advertisements() -> Result {
    ignores_router_advertisements(Kind::Macvlan)
}

fn ignores_router_advertisements(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq { ra: Ra::Slaac, ..Dnsmasq::default() })?;
    let parent = match kind {
        Kind::Bridge => "br0",
        Kind::Macvlan => "eth0",
    };
    // The host itself listens, which shows what advertisements do to who does.
    let host_takes = |prefix: &str| {
        let argv = ["ip", "-6", "-o", "addr", "show", "dev", parent, "scope", "global"];
        world.host.check(&argv).is_ok_and(|shown| shown.contains(prefix))
    };
    wait_for("the host's own address", SOON, || host_takes(" 2001:db8:1:"))?;
    let routes = || world.host.check(&["ip", "-6", "route", "show", "default"]);
    let before = routes()?;

    world.network_of(kind, "lan", &[])?;
    // This Docker switches IPv6 off in containers unless told otherwise.
    world.run("web", "lan", &["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"])?;
    world.run("plain", "lan", &[])?;
    // The server answers who solicits, and speaks to everybody only now and then: this one is for everybody,
    // and once the host has acted on it, so has whoever else would.
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0);
    let mut spoken = Ok(());
    wait_for("the host's second address", SOON, || {
        spoken = advertise(&world.lan.router().netns_path(), "eth0", prefix);
        spoken.is_err() || host_takes(" 2001:db8:2:")
    })?;
    spoken?;
    for container in ["web", "plain"] {
        let shown = world.inside(container, &["ip", "-6", "-o", "addr", "show", "dev", kind.interface()])?;
        assert!(!shown.contains("2001:db8"), "{container}: {shown}");
        let shown = world.inside(container, &["ip", "-6", "route"])?;
        assert!(!shown.contains("default") && !shown.contains("2001:db8"), "{container}: {shown}");
    }
    let links = world.host.check(&["ip", "-6", "-o", "addr", "show"])?;
    let ours: Vec<&str> = links.lines().filter(|line| line.contains(" ll")).collect();
    assert_eq!(ours, [""; 0], "addresses on links of ours");
    // The router's lifetime counts down; who it is and by which link must stay.
    let plain = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split(" proto ").next().map(str::to_owned)).collect()
    };
    assert_eq!(plain(&routes()?), plain(&before));
    Ok(())
}
