//! A bridge that runs the spanning tree protocol forwards nothing for a new port at first.

use std::time::{Duration, Instant};

use landline_testbed::wait_for;

use crate::world::{Result, SOON, World, bare, binary};

fn spanning_tree(world: &World, forward_delay: u32) -> Result {
    let settings = format!("stp_state 1 forward_delay {forward_delay}");
    world.host.node().sh(&format!("ip link set br0 type bridge {settings}"))?;
    Ok(())
}

#[test]
fn a_start_waits_until_the_bridge_forwards() -> Result {
    let world = World::bridge()?;
    // As it is by default: 15 s of listening, 15 s of learning. The first lease may take 10 s.
    spanning_tree(&world, 1500)?;
    world.network("lan", &["bridge=br0"])?;
    let doctor = world.host.landline(binary(), &["doctor"]).stdout;
    let says =
        "br0 runs the spanning tree protocol: it forwards nothing for a new port within the first 30 s";
    assert!(doctor.contains(says) && doctor.contains("stp_state 0"), "{doctor}");

    let wire = world.lan.capture(world.lan.router(), "eth0", "udp port 67")?;
    let begun = Instant::now();
    let run = ["run", "-d", "--name", "web", "--network", "lan", "box", "sleep", "infinity"];
    let mut start = world.host.docker_spawn(&run)?;
    wait_for("landline ls to say what it waits for", SOON, || {
        let ls = world.ls().unwrap_or_default();
        ls["endpoints"][0]["held"] == "spanning tree: listening"
    })?;
    let table = world.host.landline_ok(binary(), &["ls"])?;
    assert!(table.contains("(spanning tree: "), "{table}");
    let ended = start.wait()?;
    assert!(ended.success(), "{ended:?}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(28), "{took:?}");
    // The first question was asked when it could be heard: one was enough.
    let discovers = wire.dhcp().iter().filter(|(_, message)| message.op == 1).count();
    assert!(discovers <= 3, "{discovers} messages");
    let address = world.address("web", "br00")?;
    // The port begins anew when its other end moves into the container.
    wait_for("the container to be reached", Duration::from_mins(1), || {
        world.lan.peer().check(&["ping", "-c1", "-W1", bare(&address)]).is_ok()
    })?;
    assert_eq!(world.row("web")?["held"], serde_json::Value::Null);
    Ok(())
}

#[test]
fn a_start_that_fails_says_how_long_the_bridge_held_it_back() -> Result {
    let mut world = World::bridge()?;
    world.dhcp.stop()?;
    // The least the kernel takes.
    spanning_tree(&world, 200)?;
    world.network("lan", &["bridge=br0", "lease_timeout=1s"])?;
    let output = world.host.docker(&["run", "--network", "lan", "box", "true"]);
    let sentence = "no DHCP server offered an address on br0 within 1 s (after ";
    let cause = " s in which the spanning tree of br0 let no packet of the container through)";
    assert!(!output.success(), "{}", output.stderr);
    assert!(output.stderr.contains(sentence) && output.stderr.contains(cause), "{}", output.stderr);
    Ok(())
}

#[test]
fn what_runs_asks_again_when_the_bridge_forwards() -> Result {
    let world = crate::carrier::cut_off()?;
    spanning_tree(&world, 400)?;
    let plugged = Instant::now();
    world.lan.set_cable(&world.host, true)?;
    // Eight seconds of the NIC's own port.
    wait_for("an address", Duration::from_mins(1), || world.address("web", "br00").is_ok())?;
    let took = plugged.elapsed();
    assert!((7..14).contains(&took.as_secs()), "{took:?}");
    Ok(())
}

/// The NIC's own port begins again with its cable.
fn plug_again(world: &World) -> Result {
    world.lan.set_cable(&world.host, false)?;
    wait_for("the cable to be out", SOON, || {
        world.host.check(&["cat", "/sys/class/net/eth0/carrier"]).is_ok_and(|on| on.trim() == "0")
    })?;
    Ok(world.lan.set_cable(&world.host, true)?)
}

#[test]
fn a_child_of_the_bridge_waits_for_its_way_to_the_lan() -> Result {
    let world = World::bridge()?;
    spanning_tree(&world, 400)?;
    world.network("lan", &["mode=macvlan", "parent=br0", "lease_timeout=2s"])?;
    plug_again(&world)?;
    let doctor = world.host.landline(binary(), &["doctor"]).stdout;
    assert!(doctor.contains("the spanning tree of br0 holds its port eth0 back"), "{doctor}");
    let begun = Instant::now();
    world.run("web", "lan", &[])?;
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert!(world.daemon.log().contains("waiting for the spanning tree"), "{}", world.daemon.log());
    let address = world.address("web", "eth0")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    Ok(())
}

/// What is asked while the port is held back is heard by nobody, and the answer that does not come means nothing.
#[test]
fn a_translated_address_is_asked_for_when_the_bridge_forwards() -> Result {
    const TAKEN: &str = "192.0.2.117";
    let world = World::bridge()?;
    spanning_tree(&world, 200)?;
    world.host.docker_ok(&["network", "create", "--subnet", "198.51.100.0/24", "inner"])?;
    world.run("web", "inner", &[])?;
    world.lan.peer().check(&["ip", "address", "add", &format!("{TAKEN}/24"), "dev", "eth0"])?;
    for nic in ["br0", "eth0"] {
        plug_again(&world)?;
        let words = ["nat", "web", &format!("{TAKEN}/24"), "--dev", nic, "--open-firewall"];
        let refused = world.host.landline(binary(), &words);
        assert!(!refused.success() && refused.stderr.contains("is in use on the LAN"), "{}", refused.stderr);
    }
    Ok(())
}

#[test]
fn a_start_waits_until_open_vswitch_forwards() -> Result {
    let (switch, world) = crate::ovs::world()?;
    for protocol in ["stp", "rstp"] {
        let [delay, age] =
            ["forward-delay=4", "max-age=6"].map(|what| format!("other_config:{protocol}-{what}"));
        switch.vsctl(&["set", "bridge", "ovs0", &format!("{protocol}_enable=true"), &delay, &age])?;
        world.network(protocol, &["mode=ovs", "bridge=ovs0", "lease_timeout=2s", "ignore_conflicts=true"])?;
        let ports =
            || switch.vsctl(&["--columns=name,status,rstp_status", "list", "port"]).unwrap_or_default();
        world
            .run(protocol, protocol, &[])
            .map_err(|error| format!("{error}\n{}\n{}", ports(), world.daemon.log()))?;
        let address = world.until_addressed(protocol, "ovs00")?;
        wait_for("the container to be reached", Duration::from_mins(1), || {
            world.lan.peer().check(&["ping", "-c1", "-W1", bare(&address)]).is_ok()
        })?;
        switch.vsctl(&["set", "bridge", "ovs0", &format!("{protocol}_enable=false")])?;
    }
    let waited = world.daemon.log().matches("waiting for the spanning tree").count();
    assert!(waited >= 2, "{}", world.daemon.log());
    Ok(())
}
