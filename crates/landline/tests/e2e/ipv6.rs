//! `ipv6=false`, the default: a LAN full of Router Advertisements gives a container no address and no route,
//! and the host nothing it did not have.

use std::net::{IpAddr, Ipv6Addr};
use std::time::SystemTime;

use landline_testbed::{Dnsmasq, Ra, wait_for};

use crate::kinds::Kind;
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
    // To everybody, every few seconds.
    let often = vec!["--ra-param=eth0,4".to_owned()];
    let world = kind.world(&Dnsmasq { ra: Ra::Slaac, extra: often, ..Dnsmasq::default() })?;
    let parent = match kind {
        Kind::Bridge => "br0",
        Kind::Macvlan => "eth0",
    };
    // The host itself listens, so that it is known what the advertisements do to who does.
    let host_has_global = || -> Result<bool> {
        let shown =
            world.host.check(&["ip", "-6", "-o", "addr", "show", "dev", parent, "scope", "global"])?;
        Ok(shown.contains("2001:db8:1:"))
    };
    wait_for("the host's own address", SOON, || host_has_global().unwrap_or(false))?;
    let routes = || world.host.check(&["ip", "-6", "route", "show", "default"]);
    let before = routes()?;

    world.network_of(kind, "lan", &[])?;
    // IPv6 is on in containers of this Docker only where asked for.
    world.run("web", "lan", &["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"])?;
    world.run("plain", "lan", &[])?;
    let up = SystemTime::now();
    let seen = world.lan.capture(world.lan.switch(), "sw", "icmp6 and ip6[40] == 134")?;
    seen.wait_for("an advertisement to everybody", SOON, |frame| {
        let (_, to, ..) = frame.ip()?;
        let everybody = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        (to == IpAddr::V6(everybody) && frame.time > up).then_some(())
    })?;
    // It was there before this machine's next command runs; what it does to the host is done by now as well.
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
