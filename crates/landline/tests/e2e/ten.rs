//! Ten that start at once, by hand and with Compose.

use std::fmt::Write as _;
use std::path::Path;

use crate::tools::{at_once, names};
use crate::world::{Result, World};

/// Address and hardware address.
type Seen = Vec<(String, String)>;

/// What each container has, once it is known by name: only then will it be recognised later.
fn seen(world: &World, containers: &[String]) -> Result<Seen> {
    let one = |name: &String| -> Result<(String, String)> {
        world.row(name)?;
        Ok((world.address(name, "br00")?, world.mac(name, "br00")?))
    };
    containers.iter().map(one).collect()
}

/// Nobody has what another had, and nobody has the same.
fn nobody_is_another(before: &Seen, now: &Seen) {
    for (n, (address, mac)) in now.iter().enumerate() {
        let same =
            |(m, other): (usize, &(String, String))| m != n && (other.0 == *address || other.1 == *mac);
        assert!(!now.iter().enumerate().any(same), "two are the same: {now:?}");
        let others = |(m, other): (usize, &(String, String))| m != n && other.1 == *mac;
        assert!(!before.iter().enumerate().any(others), "{n} is another now: {before:?} {now:?}");
    }
}

#[test]
fn keys_tell_ten_apart() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let containers = names("c", 10);
    let up = |world: &World| -> Result<Seen> {
        at_once(&containers, |name| {
            world.run(name, &format!("name=lan,driver-opt=landline.id=key-{name}"), &[])
        })?;
        seen(world, &containers)
    };
    let all: Vec<&str> = containers.iter().map(String::as_str).collect();
    let before = up(&world)?;
    nobody_is_another(&before, &before);
    at_once(&containers, |name| Ok(world.host.docker_ok(&["restart", "-t0", name]).map(drop)?))?;
    assert_eq!(seen(&world, &containers)?, before, "restart");
    world.host.docker_ok(&[&["rm", "-f"], all.as_slice()].concat())?;
    assert_eq!(up(&world)?, before, "removed and made anew");
    assert_eq!(world.dhcp.leases().len(), containers.len(), "{:#?}", world.dhcp.leases());
    Ok(())
}

/// How many of the ten services have a hardware address in their file; the others differ by a port.
const WITH_MAC: usize = 3;

#[test]
fn compose_brings_ten_services_back() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let services = names("s", 10);
    let mut text = "version: '3.5'\nservices:\n".to_owned();
    for (n, name) in services.iter().enumerate() {
        let what = if n < WITH_MAC {
            // Compose 2.26 drops it from a service that says nothing of its network.
            format!("networks: {{lan: {{aliases: [the-{name}]}}}}\n    mac_address: '02:00:00:00:03:{n:02x}'")
        } else {
            format!("networks: [lan]\n    expose: ['{}']", 8000 + n)
        };
        write!(
            text,
            "  {name}:\n    image: box\n    command: sleep infinity\n    container_name: {name}\n    \
             stop_signal: KILL\n    {what}\n"
        )?;
    }
    text.push_str("networks:\n  lan:\n    external: true\n");
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("compose.yaml");
    std::fs::write(&file, text)?;

    compose(&world, &file, &["up", "-d"])?;
    let before = seen(&world, &services)?;
    nobody_is_another(&before, &before);
    // The containers stay, and Docker has said all about them: what they expose tells them apart.
    compose(&world, &file, &["restart", "-t", "0"])?;
    assert_eq!(seen(&world, &services)?, before, "restart");

    compose(&world, &file, &["down", "-t", "0"])?;
    compose(&world, &file, &["up", "-d"])?;
    let now = seen(&world, &services)?;
    nobody_is_another(&before, &now);
    assert_eq!(now[..WITH_MAC], before[..WITH_MAC], "a hardware address is exact");
    let same = now.iter().zip(&before).filter(|(now, before)| now == before).count();
    println!("{same} of {} services are as they were after down and up", services.len());
    compose(&world, &file, &["restart", "-t", "0"])?;
    assert_eq!(seen(&world, &services)?, before, "all are themselves again");
    Ok(())
}

fn compose(world: &World, file: &Path, args: &[&str]) -> Result {
    Ok(world.host.compose("ten", &file.to_string_lossy(), args).map(drop)?)
}
