//! Networks that the configuration file names.

use landline_testbed::{Signal, wait_for};

use super::tools::{docker_network, strict_world_with, v4};
use crate::tools::second_nic;
use crate::world::{Result, SOON, World, binary};

/// Waits until host access to a network is in a state that contains this.
fn until(world: &World, network: &str, state: &str) -> Result {
    let row = || world.access_row(network).unwrap_or_default();
    wait_for(format!("{network}: {state}"), SOON, || {
        row()["state"].as_str().is_some_and(|is| is.contains(state))
    })
    .map_err(|error| format!("{error}: {}\n{}", row(), world.daemon.log()).into())
}

#[test]
fn a_file_says_which_networks_the_host_reaches() -> Result {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("landline.toml");
    let file = path.to_str().ok_or("no path")?;
    let mut world = strict_world_with(&["--config", file])?;
    second_nic(&world.lan, &world.host)?;
    world
        .host
        .node()
        .sh("echo 1 > /proc/sys/net/ipv6/conf/eth1/disable_ipv6; ip address add 203.0.113.10/24 dev eth1")?;
    let far =
        ["network", "create", "-d", "macvlan", "-o", "parent=eth1", "--subnet", "203.0.113.0/24", "far"];
    world.host.docker_ok(&far)?;
    let page = world.host_serves()?;
    docker_network(&world.host, "macvlan", "dk", &[])?;
    world.serve("c0", "dk", 0)?;
    let untouched = world.host.snapshot()?;
    // By command, which no file takes away.
    world.access(&["enable", "far"])?;
    let by_command = world.host.snapshot()?;

    std::fs::write(&path, "[host_access.dk]\n[host_access.nosuch]\n")?;
    world.reload()?;
    world.both_ways("c0", 0)?;
    world.access_ready("dk", 1)?;
    assert_eq!(world.access_row("dk")?["by"], "configuration");
    assert_eq!(world.access_row("far")?["by"], "command");
    until(&world, "nosuch", "there is no Docker network nosuch")?;
    let refused = world.refusal(&["host-access", "disable", "dk"])?;
    assert!(refused.contains("take [host_access.dk] out of it"), "{refused}");

    // The daemon killed, the same file: nothing moves.
    let reached = world.host.snapshot()?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = world.host.start_landline(binary(), &["--config", file], &[])?;
    world.access_ready("dk", 1)?;
    assert_eq!(reached.diff(&world.host.snapshot()?), "");

    // Another way to the same network; an address that somebody has is not taken.
    std::fs::write(&path, "[host_access.dk]\nip = [\"192.0.2.2\"]\n")?;
    world.reload()?;
    until(&world, "dk", "192.0.2.2 is in use: the machine")?;
    assert_eq!(by_command.diff(&world.host.snapshot()?), "", "nothing but what was enabled by command");
    let numbered = "[host_access.dk]\nip = [\"192.0.2.50/24\", \"2001:db8:1::50\"]\n\
                    routes = [\"198.51.100.0/24\"]\ninterface = \"lan0\"\n";
    std::fs::write(&path, numbered)?;
    world.reload()?;
    world.access_ready("dk", 1)?;
    world.both_ways("c0", 0)?;
    assert_eq!(world.access_row("dk")?["interface"], "lan0");
    let routes = world.host.check(&["ip", "route", "show", "dev", "lan0"])?;
    assert!(routes.contains("198.51.100.0/24") && routes.contains(&v4(0)), "{routes}");

    // A file that is wrong takes nothing away.
    let reached = world.host.snapshot()?;
    std::fs::write(&path, "[host_access.dk]\nip = [\"192.0.2.300\"]\n")?;
    world.reload()?;
    assert_eq!(reached.diff(&world.host.snapshot()?), "");
    assert_eq!(world.access_row("dk")?["state"], "ready");

    // By command as well: the command's is what counts, until it is disabled.
    world.access(&["enable", "dk"])?;
    assert_eq!(world.access_row("dk")?["by"], "command");
    std::fs::write(&path, "")?;
    world.reload()?;
    world.both_ways("c0", 0)?;
    world.access(&["disable", "dk"])?;
    assert_eq!(by_command.diff(&world.host.snapshot()?), "");

    // In the file alone, and out of it again; once while the daemon is away.
    for away in [false, true] {
        std::fs::write(&path, "[host_access.dk]\n")?;
        world.reload()?;
        world.host_reaches(&v4(0))?;
        std::fs::write(&path, "")?;
        if away {
            world.daemon.kill(Signal::TERM)?;
            world.daemon.wait()?;
            world.daemon = world.host.start_landline(binary(), &["--config", file], &[])?;
        } else {
            world.reload()?;
        }
        wait_for("its route to go", SOON, || {
            world.host.check(&["ip", "route", "show", &v4(0)]).is_ok_and(|route| route.is_empty())
        })?;
        assert_eq!(by_command.diff(&world.host.snapshot()?), "", "away: {away}");
    }
    world.access(&["disable", "far"])?;
    assert_eq!(untouched.diff(&world.host.snapshot()?), "");
    drop(page);
    Ok(())
}
