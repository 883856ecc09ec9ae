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

/// Docker does not say again what it was answered once, and shows all but what it calls the pools.
#[test]
fn without_its_state_the_ipam_driver_gives_no_address_twice() -> Result {
    let mut world = World::bridge_named(&["--ipam-name", "vde-ipam"])?;
    let pool = ["--subnet", "203.0.113.0/28", "--ip-range", "203.0.113.0/29", "--gateway", "203.0.113.3"];
    let six = ["--aux-address", "nas=203.0.113.2", "--ipv6", "--subnet", "2001:db8:7::/64"];
    world.pool("lan", &[&pool[..], &six].concat())?;
    // Another driver's network, by another name of ours.
    let inner =
        ["network", "create", "-d", "bridge", "--ipam-driver", "vde-ipam", "--gateway", "198.51.100.1"];
    world.host.docker_ok(&[&inner[..], &["--subnet", "198.51.100.0/24", "inner"]].concat())?;
    let leased = ["--ipam-opt", "addressing=dhcp", "--subnet", "192.0.2.0/24"];
    world.pool("leased", &leased)?;
    for (name, network) in [("web", "lan"), ("db", "lan"), ("mate", "inner"), ("guest", "leased")] {
        world.run(name, network, &[])?;
    }
    let v6 = |world: &World, name: &str| {
        world.inspect(name, "{{.NetworkSettings.Networks.lan.GlobalIPv6Address}}")
    };
    assert_eq!(world.address("db", "br00")?, "203.0.113.4/28");
    assert_eq!(v6(&world, "db")?, "2001:db8:7::2");
    assert_eq!(world.address("mate", "eth0")?, "198.51.100.2/24");
    let guest = world.address("guest", "br00")?;

    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.check(&["find", "/var/lib/landline", "-mindepth", "1", "-delete"])?;
    world.daemon = world.host.start_landline(binary(), &["--ipam-name", "vde-ipam"], &[])?;

    // Asked at once, before Docker may have been looked at.
    world.run("next", "lan", &[])?;
    assert_eq!(world.address("next", "br00")?, "203.0.113.5/28", "{}", world.daemon.log());
    assert_eq!(v6(&world, "next")?, "2001:db8:7::3");
    assert_eq!(world.gateways("next")?, ["203.0.113.3"]);
    world.inside("next", &["ping", "-c1", "-W5", "203.0.113.4"])?;
    for (name, state, address) in [("db", "static", "203.0.113.4/28"), ("guest", "BOUND", &guest)] {
        wait_for(format!("{name} to be {state}"), SOON, || {
            world.row(name).is_ok_and(|row| row["state"] == state)
        })?;
        assert_eq!(world.row(name)?["address"], address);
    }
    for (ip, whose) in [("203.0.113.4", "db"), ("203.0.113.2", "another container")] {
        let taken = world.run_fails("thief", "lan", &["--ip", ip]);
        assert!(taken.contains(&format!("{ip} is in use by {whose}")), "{taken}");
    }
    world.run("fellow", "inner", &[])?;
    assert_eq!(world.address("fellow", "eth0")?, "198.51.100.3/24");
    world.run("visitor", "leased", &["--ip", "192.0.2.177"])?;
    assert_eq!(world.address("visitor", "br00")?, "192.0.2.177/24");
    assert_eq!(world.address("guest", "br00")?, guest);

    // What is freed is free, and what is gone leaves nothing.
    world.host.docker_ok(&["rm", "-f", "db"])?;
    world.run("claims", "lan", &["--ip", "203.0.113.4"])?;
    world.host.docker_ok(&["rm", "-f", "web", "next", "mate", "fellow", "guest", "visitor", "claims"])?;
    world.host.docker_ok(&["network", "rm", "lan", "inner", "leased"])?;
    world.pool("lan", &["--subnet", "203.0.113.0/28"])?;
    world.run("web", "lan", &[])?;
    assert_eq!(world.address("web", "br00")?, "203.0.113.1/28");
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
