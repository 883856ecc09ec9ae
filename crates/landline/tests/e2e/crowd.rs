//! One container after the other, for a long time: nothing grows, nothing wears out.

use landline_testbed::wait_for;

use crate::footprint::Footprint;
use crate::tools::{at_once, names};
use crate::world::{Result, SOON, World, bare, binary};

#[test]
fn fifty_containers_come_and_go_and_nothing_grows() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let run =
        |_: &str| Ok(world.host.docker_ok(&["run", "--rm", "--network", "lan", "box", "true"]).map(drop)?);
    let five = names("", 5);
    // Nobody can come back for the addresses of containers that are gone for good: they are released.
    let forgotten = || {
        wait_for("the identities to be forgotten", SOON, || {
            world
                .host
                .landline_ok(binary(), &["identity", "ls", "--json"])
                .is_ok_and(|list| list.trim() == "[]")
        })
    };
    at_once(&five, run)?;
    forgotten()?;
    let before = Footprint::of(&world)?;
    for _ in 0..10 {
        at_once(&five, run)?;
    }
    forgotten()?;
    before.is_back(&world)?;
    // Idle ones are used again and stay for ten seconds; one for each container would show.
    before.threads_did_not_pile_up(&world, 20);
    Ok(())
}

#[test]
fn a_macvlan_restarts_with_its_address_again_and_again() -> Result {
    let world = World::nic()?;
    world.network("lan", &["mode=macvlan", "parent=eth0"])?;
    let before = Footprint::of(&world)?;
    let containers = names("c", 3);
    at_once(&containers, |name| {
        let mac = format!("02:00:00:00:00:1{}", name.trim_start_matches('c'));
        world.run(name, "lan", &["--mac-address", &mac])?;
        let address = world.address(name, "eth0")?;
        for _ in 0..10 {
            // Its successor cannot come up while the old link still has the hardware address.
            world.host.docker_ok(&["restart", "-t0", name])?;
            assert_eq!(
                (world.mac(name, "eth0")?, world.address(name, "eth0")?),
                (mac.clone(), address.clone())
            );
        }
        world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
        world.host.docker_ok(&["rm", "-f", name])?;
        Ok(())
    })?;
    before.is_back(&world)
}
