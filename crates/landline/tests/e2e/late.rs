//! `when_unsure=late`: Docker starts six of one image at once, and each has its own address again.

use std::fmt::Write as _;

use landline_testbed::{Dnsmasq, Signal, wait_for};

use crate::kinds::Kind;
use crate::tools::{at_once, names};
use crate::world::{Result, SOON, World, bare};

const SERVICES: usize = 6;

/// What the process of each does first.
const COMMAND: &str = "ip -4 -o addr show scope global >/first; exec sleep infinity";

/// Address and hardware address of each, once it is known by name.
fn seen(world: &World, kind: Kind) -> Result<Vec<(String, String)>> {
    let one = |name: &String| -> Result<(String, String)> {
        let address =
            wait_for(format!("the address of {name}"), SOON, || world.address(name, kind.interface()).ok())
                .map_err(|error| format!("{error}: {}", world.daemon.log()))?;
        world.row(name)?;
        Ok((address, world.mac(name, kind.interface())?))
    };
    names("s", SERVICES).iter().map(one).collect()
}

/// Whether Docker waits for the addresses before it starts the processes.
fn engine_waits(world: &World) -> Result<bool> {
    let version = world.host.docker_ok(&["version", "--format", "{{.Server.Version}}"])?;
    Ok(version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 28))
}

fn are_as(world: &World, kind: Kind, before: &[(String, String)], how: &str) -> Result {
    assert_eq!(seen(world, kind)?, before, "{how}: {}", world.daemon.log());
    let addresses: Vec<String> = before.iter().map(|(address, _)| bare(address).to_owned()).collect();
    at_once(&addresses, |address| Ok(world.lan.peer().check(&["ping", "-c1", "-W5", address]).map(drop)?))?;
    let mut first = 0;
    for (name, address) in names("s", SERVICES).iter().zip(&addresses) {
        first += usize::from(world.inside(name, &["cat", "/first"])?.contains(&format!(" {address}/")));
    }
    println!("{kind:?}, {how}: {first} of {SERVICES} processes found their address");
    if engine_waits(world)? {
        assert_eq!(first, SERVICES, "{how}: {}", world.daemon.log());
    }
    Ok(())
}

#[test]
fn compose_brings_six_back_on_a_bridge() -> Result {
    compose_brings_six_back(Kind::Bridge)
}

#[test]
fn compose_brings_six_back_on_a_nic() -> Result {
    compose_brings_six_back(Kind::Macvlan)
}

fn compose_brings_six_back(kind: Kind) -> Result {
    let mut world = kind.world(&Dnsmasq::default())?;
    world.network_of(kind, "lan", &["when_unsure=late"])?;
    let mut text = "version: '3.5'\nservices:\n".to_owned();
    for name in names("s", SERVICES) {
        write!(
            text,
            "  {name}:\n    image: box\n    command: ['sh', '-c', '{COMMAND}']\n    container_name: {name}\n    \
             restart: always\n    stop_signal: KILL\n    networks: [lan]\n"
        )?;
    }
    text.push_str("networks:\n  lan:\n    external: true\n");
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("compose.yaml");
    std::fs::write(&file, text)?;
    let compose = |world: &World, args: &[&str]| world.host.compose("late", &file.to_string_lossy(), args);

    compose(&world, &["up", "-d"])?;
    let before = seen(&world, kind)?;
    are_as(&world, kind, &before, "up")?;
    compose(&world, &["restart", "-t", "0"])?;
    are_as(&world, kind, &before, "restart")?;
    compose(&world, &["up", "-d", "--force-recreate"])?;
    are_as(&world, kind, &before, "up --force-recreate")?;
    compose(&world, &["down", "-t", "0"])?;
    compose(&world, &["up", "-d"])?;
    are_as(&world, kind, &before, "down and up")?;
    assert!(world.daemon.log().contains("recognised after its start began"), "{}", world.daemon.log());

    // While Docker restores its containers, nobody is refused either.
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.dockerd_start()?;
    are_as(&world, kind, &before, "a restart of Docker")?;
    assert!(!world.daemon.log().contains("cannot be told yet"), "{}", world.daemon.log());
    assert_eq!(world.dhcp.leases().len(), SERVICES, "{:#?}", world.dhcp.leases());
    Ok(())
}
