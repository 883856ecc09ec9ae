//! Connections that Docker drops after a failed start, as Docker 29 does. Older engines keep them: here they are taken while nobody
//! follows Docker, after a start that failed at its network.

use std::time::{Duration, Instant};

use landline_testbed::{LOG_IN_DETAIL, Signal, wait_for};

use crate::world::{Result, SOON, World, binary};

/// What Docker has of the container's networks: their names and what its user said about each.
fn networks(world: &World, container: &str) -> Result<String> {
    let format = "{{range $name, $on := .NetworkSettings.Networks}}{{$name}} {{$on.DriverOpts}} {{end}}";
    Ok(world.host.docker_ok(&["inspect", "-f", format, container])?.trim().to_owned())
}

/// A container whose start fails; then it is without its network, and the daemon is there again.
fn drop_connection(world: &mut World, container: &str, args: &[&str]) -> Result {
    fail_to_start(world, container)?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.docker_ok(&["network", "disconnect", "lan", container])?;
    assert_eq!(networks(world, container)?, "");
    // A daemon that starts asks for the events of the last seconds.
    let disconnected = Instant::now();
    wait_for("that to be a while ago", SOON, || disconnected.elapsed() > Duration::from_secs(3))?;
    world.daemon = world.host.start_landline(binary(), args, &[LOG_IN_DETAIL])?;
    Ok(())
}

/// The network's parent is away for that long.
fn fail_to_start(world: &World, container: &str) -> Result {
    world.host.node().sh("ip link set br0 down; ip link set br0 name away")?;
    assert!(!world.host.docker(&["start", container]).success());
    world.host.node().sh("ip link set away name br0; ip link set br0 up")?;
    Ok(())
}

fn is_connected(world: &World, container: &str) -> bool {
    networks(world, container).is_ok_and(|networks| networks == "lan map[landline.id:w]")
}

/// A container that has run, and is stopped.
fn stopped(world: &World) -> Result<(String, String)> {
    world.network("lan", &["bridge=br0", "lease_timeout=1s"])?;
    world.run("web", "name=lan,driver-opt=landline.id=w", &["--restart=always"])?;
    world.row("web")?;
    let had = (world.address("web", "br00")?, world.mac("web", "br00")?);
    world.host.docker_ok(&["stop", "-t0", "web"])?;
    Ok(had)
}

#[test]
fn a_connection_that_docker_drops_is_made_again() -> Result {
    let mut world = World::bridge()?;
    let before = stopped(&world)?;
    drop_connection(&mut world, "web", &[])?;
    wait_for("the connection", SOON, || is_connected(&world, "web"))
        .map_err(|error| format!("{error}: {}", world.daemon.log()))?;
    world.host.docker_ok(&["start", "web"])?;
    assert_eq!((world.address("web", "br00")?, world.mac("web", "br00")?), before);
    let log = world.daemon.log();
    assert!(log.contains("Docker has dropped the connection") && log.contains("connected again"), "{log}");

    // What its user does is left as it is.
    world.host.docker_ok(&["stop", "-t0", "web"])?;
    fail_to_start(&world, "web")?;
    world.host.docker_ok(&["network", "disconnect", "lan", "web"])?;
    world.run("later", "lan", &[])?;
    world.row("later")?;
    assert_eq!(networks(&world, "web")?, "");
    world.host.landline_ok(binary(), &["doctor"])?;
    Ok(())
}

#[test]
fn one_that_is_not_to_be_mended_is_said() -> Result {
    let mut world = World::bridge()?;
    stopped(&world)?;
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("landline.toml");
    std::fs::write(&config, "[identity]\nrestart_unsure = false\n")?;
    drop_connection(&mut world, "web", &["--config", &config.display().to_string()])?;
    let says = "Docker has dropped web's connection to lan after a failed start";
    let ls = || world.host.landline(binary(), &["ls"]);
    wait_for("landline ls to say it", SOON, || ls().stdout.contains(says))
        .map_err(|error| format!("{error}: {} {}", ls().stdout, world.daemon.log()))?;
    let doctor = world.host.landline(binary(), &["doctor"]);
    assert!(
        doctor.stdout.contains("docker network connect lan web") && !doctor.success(),
        "{}",
        doctor.stdout
    );
    assert_eq!(networks(&world, "web")?, "");
    world.host.docker_ok(&["network", "connect", "lan", "web"])?;
    wait_for("nothing to say", SOON, || !ls().stdout.contains(says))?;
    Ok(())
}
