//! What is refused: in one sentence, with nothing changed.

use super::tools::{docker_network, strict_world, v4};
use crate::tools::second_nic;
use crate::world::{Result, World, binary};

#[test]
fn one_sentence_each_and_nothing_changed() -> Result {
    let mut world = strict_world()?;
    second_nic(&world.lan, &world.host)?;
    world
        .host
        .node()
        .sh("echo 1 > /proc/sys/net/ipv6/conf/eth1/disable_ipv6; ip link add dm0 type bridge")?;
    docker_network(&world.host, "macvlan", "dk", &[])?;
    world.serve("c0", "dk", 0)?;
    let on_eth1 =
        ["network", "create", "-d", "macvlan", "-o", "parent=eth1", "--subnet", "203.0.113.0/24", "bare"];
    world.host.docker_ok(&on_eth1)?;
    let before = world.host.snapshot()?;

    let mac = world.lan.peer().mac("eth0")?;
    let taken = format!("192.0.2.2 is in use: the machine {mac} on the LAN has it; give a free one");
    let containers = v4(0);
    let cases: [(&[&str], &str); 14] = [
        (&["nosuch"], "there is no Docker network nosuch; docker network ls shows those there are"),
        (
            &["none"],
            "none is a null network, and host access is for the children of a NIC, macvlan and ipvlan",
        ),
        (&["dk", "--ip", "192.0.2.300"], "\"192.0.2.300\" is not an address of a machine"),
        (&["dk", "--ip", "192.0.2.50/99"], "\"192.0.2.50/99\" is not an address of a machine"),
        (
            &["dk", "--ip", "192.0.2.50", "--route", "198.51.100.0/33"],
            "\"198.51.100.0/33\" is not an address or a network",
        ),
        (&["dk", "--ip", "192.0.2.2"], &taken),
        (&["dk", "--ip", "192.0.2.10/24"], "192.0.2.10 is in use: this host's eth0 has it; give a free one"),
        (&["dk", "--ip", &containers], "192.0.2.64 is in use: container c0 has it; give a free one"),
        (
            &["dk", "--ip", "203.0.113.50"],
            "203.0.113.50 is not in a subnet of dk (192.0.2.0/24, 2001:db8:1::/64)",
        ),
        (
            &["dk", "--route", "198.51.100.0/24"],
            "198.51.100.0/24 can only be reached from an interface with an IPv4 address",
        ),
        (
            &["dk", "--interface", "lan0"],
            "an interface without an address is shared by all networks of its NIC",
        ),
        (
            &["dk", "--ip", "192.0.2.50", "--interface", "eth1"],
            "there is an interface eth1 already, which is not Landline's",
        ),
        (
            &["dk", "--ip", "192.0.2.50", "--interface", "not a name"],
            "\"not a name\" cannot be the name of an interface",
        ),
        (
            &["bare"],
            "the host has no address on eth1 that containers of bare would answer; give it one with --ip",
        ),
    ];
    for (args, sentence) in cases {
        refused(&world, &[&["host-access", "enable"], args].concat(), sentence);
    }
    refused(
        &world,
        &["host-access", "disable", "dk"],
        "dk has no host access; landline host-access ls shows",
    );
    for (mode, why) in [
        ("private", "keeps its containers from"),
        ("vepa", "leaves it to the switch"),
        ("passthru", "gives the whole NIC"),
    ] {
        world.host.docker_ok(&["network", "rm", "bare"])?;
        let option = format!("macvlan_mode={mode}");
        world.host.docker_ok(&[&on_eth1[..8], &["-o", &option, "bare"]].concat())?;
        refused(
            &world,
            &["host-access", "enable", "bare"],
            &format!("bare has macvlan_mode={mode}, which {why}"),
        );
    }
    unprivileged(&world)?;
    let program = binary().to_string_lossy();
    let run = |env: &[&str]| {
        let argv =
            [&["env", "-i", "PATH=/usr/sbin:/usr/bin"], env, &[&program, "host-access", "run"]].concat();
        world.host.exec(&argv)
    };
    for (env, sentence) in [
        (&[][..], "landline: MACVLAN_DOCKER_NETWORK is not set"),
        (&["MACVLAN_DOCKER_NETWORK=dk"][..], "landline: MACVLAN_BRIDGE_IP is not set"),
        (
            &["MACVLAN_DOCKER_NETWORK=dk", "MACVLAN_BRIDGE_IP=x"][..],
            "landline: \"x\" is not an address of a machine",
        ),
        (&["MACVLAN_DOCKER_NETWORK=dk", "MACVLAN_BRIDGE_IP=192.0.2.2"][..], &format!("landline: {taken}")),
    ] {
        let output = run(env);
        let last = output.stderr.lines().last().unwrap_or_default();
        assert!(output.status.code() == Some(1) && last.starts_with(sentence), "{env:?}: {}", output.stderr);
    }

    assert_eq!(world.access(&["ls", "--json"])?, "[]");
    assert_eq!(before.diff(&world.host.snapshot()?), "");

    world.host.dockerd_stop(landline_testbed::Signal::KILL)?;
    world.daemon.kill(landline_testbed::Signal::TERM)?;
    world.daemon.wait()?;
    world.daemon = crate::tools::start_daemon(&world.host)?;
    refused(
        &world,
        &["host-access", "enable", "dk"],
        "Docker's API cannot be reached, so the network dk cannot be looked up",
    );
    Ok(())
}

fn refused(world: &World, args: &[&str], sentence: &str) {
    let output = world.host.landline(binary(), args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}{}", output.stdout, output.stderr);
    let said = output.stderr.strip_prefix("landline: ").unwrap_or_default();
    assert!(said.starts_with(sentence), "{args:?}: {}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

fn unprivileged(world: &World) -> Result {
    let program = world.host.node().dir().join("landline");
    std::fs::copy(binary(), &program)?;
    let program = program.to_string_lossy();
    let other = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        &program,
        "host-access",
        "enable",
        "dk",
    ];
    let output = world.host.exec(&other);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("are you root?") && output.stderr.lines().count() == 1,
        "{}",
        output.stderr
    );
    Ok(())
}
