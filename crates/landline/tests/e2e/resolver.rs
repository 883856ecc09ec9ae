//! `dns=search|replace`: what the LAN says about names is in the containers' `resolv.conf`, and only there.

use std::time::Duration;

use landline_testbed::{Kea, Lan, wait_for};
use serde_json::json;

use crate::connect::Elsewhere;
use crate::world::{Result, SOON, World};

/// Leases that are renewed every three seconds, with this DNS server and these search domains.
fn handing_out(server: &str, domains: &str) -> Kea {
    let mut options = vec![json!({"name": "domain-name-servers", "data": server})];
    if !domains.is_empty() {
        options.push(json!({"name": "domain-search", "data": domains}));
    }
    Kea { valid_lifetime: 12, renew: Some(3), rebind: Some(9), options, ..Kea::default() }
}

#[test]
fn names_of_the_lan_reach_the_container_and_leave_with_it() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.kea(handing_out("192.0.2.1, 192.0.2.2", "lab.test, corp.test"))?;
    let host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    let mut world = World::start(lan, dhcp, host)?;
    world.network("off", &["bridge=br0"])?;
    world.network("search", &["bridge=br0", "dns=search", "ignore_conflicts=true"])?;
    world.network("replace", &["bridge=br0", "dns=replace", "ignore_conflicts=true"])?;
    let _far = Elsewhere::new(&world.host)?;
    world.network("far", &["mode=macvlan", "parent=eth1", "dns=replace"])?;
    for (name, network, args) in [
        ("none", "off", &[][..]),
        ("some", "search", &[]),
        ("all", "replace", &[]),
        ("own", "replace", &["--dns", "192.0.2.77", "--dns-search", "user.test"]),
    ] {
        world.run(name, network, args)?;
    }

    resolves(&world, "some", "search corp.test lab.test\nnameserver 127.0.0.11")?;
    resolves(&world, "all", "search corp.test lab.test\nnameserver 192.0.2.1\nnameserver 192.0.2.2")?;
    // What the container's user chose counts more, and nobody asked for anything on the first network.
    resolves(&world, "own", "search user.test\nnameserver 127.0.0.11")?;
    resolves(&world, "none", "nameserver 127.0.0.11")?;
    for name in ["some", "all"] {
        still_dockers_file(&world, name)?;
    }

    // Only changes are written.
    let (before, renewed) = (modified(&world, "all")?, last_lease(&world));
    wait_for("two renewals", SOON, || last_lease(&world) > renewed + 5)?;
    assert_eq!(modified(&world, "all")?, before);

    world.dhcp.reconfigure(&handing_out("192.0.2.2", ""))?;
    resolves(&world, "all", "nameserver 192.0.2.2")?;
    resolves(&world, "some", "nameserver 127.0.0.11")?;
    assert!(!file(&world, "some")?.contains("Landline"), "{}", file(&world, "some")?);
    world.dhcp.reconfigure(&handing_out("192.0.2.1", "lab.test"))?;
    resolves(&world, "all", "search lab.test\nnameserver 192.0.2.1")?;

    // A container on two such networks, and on one of them only.
    world.host.docker_ok(&["network", "connect", "far", "some"])?;
    resolves(&world, "some", "search far.test lab.test\nnameserver 203.0.113.1")?;
    world.host.docker_ok(&["network", "disconnect", "far", "some"])?;
    resolves(&world, "some", "search lab.test\nnameserver 127.0.0.11")?;
    world.host.docker_ok(&["network", "disconnect", "search", "some"])?;
    resolves(&world, "some", "nameserver 127.0.0.11")?;
    assert!(!file(&world, "some")?.contains("Landline"), "{}", file(&world, "some")?);
    still_dockers_file(&world, "some")?;

    // Docker writes the file anew at every start.
    world.host.docker_ok(&["restart", "-t", "0", "all"])?;
    resolves(&world, "all", "search lab.test\nnameserver 192.0.2.1")?;
    still_dockers_file(&world, "all")?;

    // A lease that is lost takes its names along.
    world.dhcp.stop()?;
    resolves_within(&world, "all", "nameserver 127.0.0.11", 3 * SOON)
}

/// The file in the container says this to a resolver, soon.
fn resolves(world: &World, container: &str, said: &str) -> Result {
    resolves_within(world, container, said, SOON)
}

fn resolves_within(world: &World, container: &str, said: &str, limit: Duration) -> Result {
    let mut last = String::new();
    let right = wait_for(format!("{container} to have {said:?}"), limit, || {
        last = file(world, container).ok()?;
        let of = |word| last.lines().filter(move |line| line.starts_with(word));
        // Which network comes first is for Docker to say: it chooses the default route.
        let mut domains: Vec<&str> = of("search").flat_map(|line| line.split(' ').skip(1)).collect();
        domains.sort_unstable();
        let search = (!domains.is_empty()).then(|| format!("search {}", domains.join(" ")));
        let lines: Vec<String> = search.into_iter().chain(of("nameserver").map(str::to_owned)).collect();
        (lines.join("\n") == said).then_some(())
    });
    Ok(right.map_err(|error| format!("{error}:\n{last}\n{}", world.daemon.log()))?)
}

fn file(world: &World, container: &str) -> Result<String> {
    Ok(world.host.in_container(container, &["cat", "/etc/resolv.conf"])?)
}

/// What is mounted in the container is the file on the host still, and its own.
fn still_dockers_file(world: &World, container: &str) -> Result {
    let path = world.host.docker_ok(&["inspect", "--format", "{{.ResolvConfPath}}", container])?;
    let outside = world.host.check(&["stat", "-c", "%i %s", path.trim()])?;
    let inside = world.host.in_container(container, &["stat", "-c", "%i %s", "/etc/resolv.conf"])?;
    assert_eq!(inside.trim(), outside.trim(), "another file than Docker's");
    Ok(())
}

fn modified(world: &World, container: &str) -> Result<String> {
    let path = world.host.docker_ok(&["inspect", "--format", "{{.ResolvConfPath}}", container])?;
    Ok(world.host.check(&["stat", "-c", "%y", path.trim()])?)
}

fn last_lease(world: &World) -> u64 {
    world.dhcp.leases().into_iter().map(|lease| lease.expiry).max().unwrap_or(0)
}
