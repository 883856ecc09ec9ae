//! A container on the LAN: address, reachability both ways, names.

use landline_testbed::wait_for;

use crate::world::{Result, SOON, World, bare};

#[test]
fn bridge_container_is_on_the_lan() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &["--hostname", "webhost"])?;

    let address = world.address("web", "br00")?;
    assert!(address.starts_with("192.0.2.") && address.ends_with("/24"), "{address}");
    let routes = world.host.docker_ok(&["exec", "web", "ip", "route"])?;
    assert!(routes.contains("default via 192.0.2.1 dev br00"), "{routes}");

    let ip = bare(&address);
    world.lan.peer().check(&["ping", "-c1", "-W5", ip])?;
    world.host.check(&["ping", "-c1", "-W5", ip])?;
    for target in ["192.0.2.1", "192.0.2.2", "192.0.2.10"] {
        world.host.docker_ok(&["exec", "web", "ping", "-c1", "-W5", target])?;
    }
    the_server_knows(&world, "web", "br00", "webhost")
}

#[test]
fn macvlan_container_is_on_the_lan() -> Result {
    let world = World::nic()?;
    world.network("lan", &["mode=macvlan", "parent=eth0"])?;
    world.run("web", "lan", &["--hostname", "webhost"])?;

    let address = world.address("web", "eth0")?;
    assert!(address.starts_with("192.0.2.") && address.ends_with("/24"), "{address}");
    let routes = world.host.docker_ok(&["exec", "web", "ip", "route"])?;
    assert!(routes.contains("default via 192.0.2.1 dev eth0"), "{routes}");

    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    for target in ["192.0.2.1", "192.0.2.2"] {
        world.host.docker_ok(&["exec", "web", "ping", "-c1", "-W5", target])?;
    }
    the_server_knows(&world, "web", "eth0", "webhost")
}

/// The server has leased the container's address to the container's hardware address, under its host name.
fn the_server_knows(world: &World, container: &str, interface: &str, hostname: &str) -> Result {
    let mac = world.mac(container, interface)?;
    let ip = world.address(container, interface)?;
    wait_for("the host name at the server", SOON, || {
        let leases = world.dhcp.leases();
        leases
            .iter()
            .any(|l| l.mac == mac && l.ip.to_string() == bare(&ip) && l.hostname.as_deref() == Some(hostname))
    })?;
    let row = world.row(container)?;
    assert_eq!(row["address"], ip);
    assert_eq!(row["mac"], mac);
    assert_eq!(row["server"], "192.0.2.1");
    assert_eq!(row["network"], "lan");
    assert_eq!(row["state"], "BOUND");
    Ok(())
}
