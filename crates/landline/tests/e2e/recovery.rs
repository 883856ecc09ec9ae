//! What is taken up again when more than the daemon was lost.

use landline_testbed::{Signal, wait_for};

use crate::world::{Result, SOON, World, bare, binary};

#[test]
fn without_its_state_the_daemon_takes_up_what_runs() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    let before = (world.address("web", "br00")?, world.mac("web", "br00")?);

    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.check(&["find", "/var/lib/landline", "-mindepth", "1", "-delete"])?;
    world.daemon = world.host.start_landline(binary(), &[], &[])?;

    let row = wait_for("web to be supervised again", SOON, || {
        let row = world.row("web").ok()?;
        (row["state"] == "BOUND").then_some(row)
    })?;
    assert_eq!(row["address"], before.0);
    assert_eq!(row["mac"], before.1);
    assert_eq!((world.address("web", "br00")?, world.mac("web", "br00")?), before);
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&before.0)])?;

    world.run("next", "lan", &[])?;
    world.host.docker_ok(&["rm", "-f", "web", "next"])?;
    wait_for("nothing to be left", SOON, || {
        world.ls().is_ok_and(|ls| ls["endpoints"].as_array().is_some_and(Vec::is_empty))
    })?;
    world.host.docker_ok(&["network", "rm", "lan"])?;
    Ok(())
}

#[test]
fn a_bridge_made_anew_gets_its_containers_back() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    let address = world.address("web", "br00")?;
    world.host.check(&["ip", "link", "delete", "br0"])?;
    assert!(world.lan.peer().check(&["ping", "-c1", "-W1", bare(&address)]).is_err(), "it is cut off");
    world.host.make_bridge("br0", Some("192.0.2.10/24"))?;
    wait_for("the peer to reach the container again", SOON, || {
        world.lan.peer().check(&["ping", "-c1", "-W1", bare(&address)]).is_ok()
    })?;
    Ok(())
}

#[test]
fn a_nic_that_was_gone_gets_its_containers_back() -> Result {
    let world = World::nic()?;
    // A NIC that can be taken away: one end of a pair, the other in a bridge with the LAN's.
    world.host.check(&["ip", "address", "flush", "dev", "eth0"])?;
    world.host.make_bridge("br0", None)?;
    let plug_in = || -> Result {
        let port = ["ip", "link", "add", "nic1", "type", "veth", "peer", "name", "port1"];
        world.host.check(&port)?;
        world.host.check(&["ip", "link", "set", "port1", "master", "br0", "up"])?;
        world.host.check(&["ip", "link", "set", "nic1", "up"])?;
        Ok(())
    };
    plug_in()?;
    world.network("lan", &["mode=macvlan", "parent=nic1"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    let before = (world.address("web", "eth0")?, world.mac("web", "eth0")?);
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&before.0)])?;

    world.host.check(&["ip", "link", "delete", "nic1"])?;
    assert!(world.mac("web", "eth0").is_err(), "the container's link went with its parent");
    plug_in()?;
    wait_for("the peer to reach the container again", SOON, || {
        world.lan.peer().check(&["ping", "-c1", "-W1", bare(&before.0)]).is_ok()
    })?;
    assert_eq!((world.address("web", "eth0")?, world.mac("web", "eth0")?), before);
    let routes = world.host.docker_ok(&["exec", "web", "ip", "route"])?;
    assert!(routes.contains("default via 192.0.2.1 dev eth0"), "{routes}");

    world.host.docker_ok(&["rm", "-f", "web"])?;
    wait_for("nothing to be left", SOON, || {
        world.ls().is_ok_and(|ls| ls["endpoints"].as_array().is_some_and(Vec::is_empty))
    })?;
    Ok(())
}
