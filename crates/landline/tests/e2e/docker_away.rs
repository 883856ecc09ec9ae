//! A Docker that its administrator has stopped or disabled: nothing of ours starts it.

use std::time::Duration;

use landline_testbed::{Dnsmasq, Dockerd, Lan, Signal, wait_for};

use crate::world::{Result, SOON, World, binary};

/// Whether `landline ls` knows Docker's containers.
fn sees_docker(world: &World) -> Result<bool> {
    Ok(world.ls()?["docker"] == true)
}

/// How often the daemon has found that Docker does not run.
fn looks(world: &World) -> usize {
    world.daemon.log().matches("Docker does not run").count()
}

#[test]
fn a_docker_that_is_stopped_stays_stopped() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    // As after a boot with docker.socket enabled and docker.service disabled.
    host.docker_socket_unit()?;
    let env = [("LOG_LEVEL", "info,landline_docker=debug")];
    let daemon = host.start_landline(binary(), &[], &env)?;
    let mut world = World { daemon, host, dhcp, lan };

    let stays_off = |world: &World, after: usize| -> Result {
        wait_for("the daemon to look", SOON, || {
            looks(world) > after || world.host.activations().is_ok_and(|count| count > 0)
        })?;
        assert!(!sees_docker(world)?);
        assert_eq!(world.host.activations()?, 0, "Docker would have been started:\n{}", world.daemon.log());
        Ok(())
    };
    stays_off(&world, 0)?;
    // What may be a sign and is none is looked at, and that is all.
    let seen = looks(&world);
    world.host.check(&["sh", "-c", "echo 1 > /run/docker.pid"])?;
    stays_off(&world, seen)?;
    let seen = looks(&world);
    world.daemon.request("/Plugin.Activate", "")?;
    stays_off(&world, seen)?;

    // Somebody starts it, and stops it with a container that runs.
    world.host.dockerd(Dockerd { socket_unit: true, ..Dockerd::default() })?;
    wait_for("Docker to be followed", SOON, || sees_docker(&world).unwrap_or(false))
        .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
    world.network("lan", &["bridge=br0"])?;
    for name in ["one", "two", "three"] {
        world.run(name, "lan", &["--stop-signal=KILL"])?;
        world.row(name)?;
    }
    let seen = looks(&world);
    world.host.dockerd_stop(Signal::TERM)?;
    stays_off(&world, seen)?;

    // And starts it again; once with a kill in between, after which the process number is still in its file.
    for signal in [Signal::KILL, Signal::TERM] {
        world.host.dockerd_start()?;
        wait_for("Docker to be followed again", SOON, || sees_docker(&world).unwrap_or(false))
            .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
        let seen = looks(&world);
        world.host.dockerd_stop(signal)?;
        stays_off(&world, seen)?;
    }
    Ok(())
}

#[test]
fn a_docker_that_makes_its_own_socket_is_followed_as_it_comes() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let host = lan.docker_host("host1")?;
    let daemon = host.start_landline(binary(), &[], &[])?;
    let mut world = World { daemon, host, dhcp, lan };
    assert!(!sees_docker(&world)?);
    world.host.dockerd(Dockerd::default())?;
    for _ in 0..2 {
        wait_for("Docker to be followed", Duration::from_secs(10), || sees_docker(&world).unwrap_or(false))?;
        world.host.dockerd_stop(Signal::TERM)?;
        wait_for("Docker to be gone", SOON, || !sees_docker(&world).unwrap_or(true))?;
        world.host.dockerd_start()?;
    }
    Ok(())
}
