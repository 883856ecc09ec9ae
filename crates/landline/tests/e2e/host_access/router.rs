//! `landline host-access run` as a container in the place of macvlan-router, by the Compose file of `packaging/`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landline_testbed::{Signal, wait_for};

use super::tools::{HOST, answers, docker_network, ping, strict_world, v4, v6};
use crate::tools::settled;
use crate::world::{Result, SOON, World, binary};

const BRIDGE_IP: &str = "192.0.2.50";

#[test]
fn in_the_place_of_macvlan_router() -> Result {
    let mut world = strict_world()?;
    image(&world)?;
    docker_network(&world.host, "macvlan", "macvlan", &[])?;
    for n in 0..2 {
        world.serve(&format!("c{n}"), "macvlan", n)?;
    }
    // No daemon: it does all by itself.
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    let before = settled(&world.host)?;

    let settings = [
        "MACVLAN_BRIDGE_IP=192.0.2.50/24 2001:db8:1::50",
        "ADDITIONAL_ROUTES=203.0.113.7 198.51.100.0/24",
        "CLEANUP_ON_EXIT=true",
        "DEBUG=1",
        "TZ=Europe/Berlin",
        "INTERVAL=5",
    ];
    compose(&world, &settings, &["up", "-d"])?;
    reached(&world)?;
    let shim = world.host.node().mac("macvlan")?;
    assert_eq!(answers(&world, world.lan.peer(), BRIDGE_IP)?, BTreeSet::from([shim]));
    assert_eq!(answers(&world, world.lan.peer(), HOST)?, BTreeSet::from([world.host.node().mac("eth0")?]));
    let routes = world.host.check(&["ip", "route", "show", "dev", "macvlan"])?;
    assert!(routes.contains("203.0.113.7 ") && routes.contains("198.51.100.0/24 "), "{routes}");

    world.serve("c2", "macvlan", 2)?;
    world.host_reaches(&v4(2))?;
    world.host.docker_ok(&["rm", "-f", "c2"])?;
    wait_for("its route to go", SOON, || {
        world.host.check(&["ip", "route", "show", &v4(2)]).is_ok_and(|route| route.is_empty())
    })?;
    compose(&world, &settings, &["stop"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");

    // Without cleaning up, what there was is taken up again.
    let settings = ["MACVLAN_BRIDGE_INTERFACE_NAME=lan0"];
    compose(&world, &settings, &["up", "-d"])?;
    let up = || world.host.node().mac("lan0").is_ok() && ping(world.host.node(), &v4(0));
    wait_for("the host to reach c0", SOON, up)?;
    let state = world.host.snapshot()?;
    compose(&world, &settings, &["restart"])?;
    wait_for("it to run again", SOON, || {
        log(&world).matches("the host reaches the network's containers").count() == 2
    })
    .map_err(|error| format!("{error}: {}", log(&world)))?;
    assert_eq!(state.diff(&world.host.snapshot()?), "");
    Ok(())
}

/// As macvlan-router did it, and more: two containers at once, IPv6, and one answer on the LAN.
fn reached(world: &World) -> Result {
    for n in 0..2 {
        for address in [v4(n), v6(n)] {
            wait_for(format!("the host to reach {address}"), SOON, || ping(world.host.node(), &address))
                .map_err(|error| format!("{error}: {}", log(world)))?;
        }
        world.inside(&format!("c{n}"), &["ping", "-q", "-c1", "-W5", BRIDGE_IP])?;
    }
    Ok(())
}

fn log(world: &World) -> String {
    let output = world.host.docker(&["logs", "hostaccess_host-access_1"]);
    format!("{}{}", output.stdout, output.stderr)
}

fn compose(world: &World, settings: &[&str], args: &[&str]) -> Result {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/host-access/compose.yaml");
    let file = file.to_string_lossy();
    let compose = ["docker-compose", "--no-ansi", "-p", "hostaccess", "-f", &file];
    world.host.check(&[&["env"], settings, &compose[..], args].concat())?;
    Ok(())
}

/// The image that the Dockerfile would make, out of what this machine has: no registry can be reached.
fn image(world: &World) -> Result {
    let root = world.host.node().dir().join("image");
    for (program, place) in
        [(binary(), "usr/local/bin/landline"), (Path::new("/usr/sbin/nft"), "usr/sbin/nft")]
    {
        copy(program, &root.join(place))?;
        // Ten times smaller.
        world.lan.peer().check(&["strip", &root.join(place).to_string_lossy()])?;
        let program = program.to_string_lossy();
        let needed = world.lan.peer().check(&["ldd", &program])?;
        for library in needed.split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(library), &root.join(library.trim_start_matches('/')))?;
        }
    }
    let tar = world.host.node().dir().join("image.tar");
    let (tar, root) = (tar.to_string_lossy(), root.to_string_lossy());
    world.lan.peer().check(&["tar", "-C", &root, "-cf", &tar, "."])?;
    let entry = r#"ENTRYPOINT ["landline", "host-access", "run"]"#;
    let path = "ENV PATH=/usr/local/bin:/usr/sbin";
    world.host.docker_ok(&["import", "-c", entry, "-c", path, &tar, "landline-host-access"])?;
    Ok(())
}

fn copy(from: &Path, to: &PathBuf) -> Result {
    if let Some(directory) = to.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::copy(from, to)?;
    Ok(())
}
