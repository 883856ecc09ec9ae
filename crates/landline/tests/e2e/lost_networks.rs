//! Networks that Docker no longer has: removed while no daemon ran, they are removed here too.

use landline_testbed::{LOG_IN_DETAIL, Signal, wait_for};

use crate::world::{Result, SOON, World, binary};

/// Networks are removed at once when Docker lacks them.
const NO_GRACE: [&str; 2] = ["--network-grace", "1s"];

impl World {
    /// What `f` does while no daemon runs; then one with these arguments runs.
    fn without_daemon(&mut self, args: &[&str], f: impl FnOnce(&Self) -> Result) -> Result {
        self.daemon.kill(Signal::TERM)?;
        self.daemon.wait()?;
        f(self)?;
        self.daemon = self.host.start_landline(binary(), args, &[LOG_IN_DETAIL])?;
        Ok(())
    }

    /// What `landline network ls` says of a network.
    fn network_row(&self, name: &str) -> Result<Option<serde_json::Value>> {
        let rows: Vec<serde_json::Value> =
            serde_json::from_str(&self.host.landline_ok(binary(), &["network", "ls", "--json"])?)?;
        Ok(rows.into_iter().find(|row| row["name"] == name))
    }

    fn forget(&self, network: &str) -> landline_testbed::Output {
        self.host.landline(binary(), &["network", "forget", network])
    }
}

#[test]
fn a_network_removed_without_the_daemon_makes_way() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.network("kept", &["bridge=br0", "ignore_conflicts=true"])?;
    let refused = world.forget("lan");
    assert!(!refused.success() && refused.stderr.contains("docker network rm lan"), "{}", refused.stderr);
    let refused = world.forget("nothing");
    assert!(refused.stderr.contains("landline network ls"), "{}", refused.stderr);

    let remove = |world: &World| -> Result {
        world.host.docker_ok(&["network", "rm", "lan"])?;
        Ok(())
    };
    // Within the grace its user may say so.
    world.without_daemon(&[], remove)?;
    wait_for("the network to be missed", SOON, || {
        world.network_row("lan").ok().flatten().is_some_and(|row| row["in_docker"] == false)
    })?;
    let row = world.network_row("lan")?.ok_or("no row")?;
    assert!(row["removed_in_s"].as_u64().is_some_and(|left| (30..=60).contains(&left)), "{row}");
    assert_eq!(world.network_row("kept")?.ok_or("no row")?["in_docker"], true);
    let refused = world.network("next", &["bridge=br0"]).unwrap_err().to_string();
    assert!(refused.contains("already used by the Docker network"), "{refused}");
    assert!(world.forget("lan").success());
    assert!(world.network_row("lan")?.is_none());
    world.host.docker_ok(&["network", "rm", "kept"])?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.host.docker_ok(&["rm", "-f", "web"])?;

    // After it the daemon does.
    world.without_daemon(&NO_GRACE, remove)?;
    wait_for("the network to be removed", SOON, || world.network_row("lan").is_ok_and(|row| row.is_none()))?;
    let log = world.daemon.log();
    assert!(log.contains("Docker no longer has this network"), "{log}");
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    Ok(())
}

#[test]
fn everything_that_was_made_for_a_lost_network_goes() -> Result {
    let mut world = World::nic()?;
    let before = world.host.snapshot()?;
    let nat = ["-o", "mode=nat", "-o", "parent=eth0", "-o", "lan_ip=192.0.2.117", "-o", "firewall=open"];
    let create = ["network", "create", "-d", "landline", "--subnet", "203.0.113.0/24"];
    world.host.docker_ok(&[&create[..], &nat, &["private"]].concat())?;
    let vde = [
        "-o",
        "mode=vde",
        "-o",
        "socket_dir=/run/lost",
        "-o",
        "create_sockets=true",
        "--subnet",
        "198.51.100.0/24",
    ];
    world.host.docker_ok(&[&create[..4], &vde, &["switch"]].concat())?;
    let answers = |world: &World| world.lan.peer().run(&["ping", "-c1", "-W1", "192.0.2.117"]).success();
    wait_for("the address to answer", SOON, || answers(&world))?;
    assert!(!before.diff(&world.host.snapshot()?).is_empty());
    world.without_daemon(&NO_GRACE, |world| {
        world.host.docker_ok(&["network", "rm", "private", "switch"])?;
        assert!(answers(world), "the address is there while nobody takes it away");
        Ok(())
    })?;
    wait_for("the networks to be removed", SOON, || {
        let rows = world.host.landline_ok(binary(), &["network", "ls", "--json"]);
        rows.is_ok_and(|rows| rows.trim() == "[]")
    })?;
    wait_for("nobody to have the address", SOON, || !answers(&world))?;
    wait_for("the host to be as before", SOON, || {
        world.host.snapshot().is_ok_and(|now| before.diff(&now).is_empty())
    })
    .map_err(|error| format!("{error}\n{}", before.diff(&world.host.snapshot().unwrap())))?;
    Ok(())
}

#[test]
fn a_pool_of_another_data_root_makes_way() -> Result {
    const POOL: [&str; 4] = ["--subnet", "192.0.2.0/24", "--ip-range", "192.0.2.64/30"];
    let mut world = World::bridge()?;
    let create = |world: &World| {
        let ipam = ["network", "create", "-d", "landline", "--ipam-driver", "landline"];
        world.host.docker_ok(&[&ipam[..], &POOL, &["-o", "bridge=br0", "lan"]].concat())
    };
    create(&world)?;
    world.run("web", "lan", &[])?;
    let first = world.address("web", "br00")?;
    world.host.docker_ok(&["rm", "-f", "web"])?;
    // Docker comes back with nothing that it knew of networks.
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.check(&["mv", "/var/lib/docker/network", "/var/lib/docker/network-of-before"])?;
    world.host.dockerd_start()?;
    world.daemon = world.host.start_landline(binary(), &NO_GRACE, &[])?;
    wait_for("the network to be removed", SOON, || world.network_row("lan").is_ok_and(|row| row.is_none()))?;
    // Its name, its bridge and its pool are free.
    create(&world)?;
    for name in ["web", "next"] {
        world.run(name, "lan", &[])?;
    }
    let addresses = [world.address("web", "br00")?, world.address("next", "br00")?];
    assert!(addresses.contains(&first), "{addresses:?}, before: {first}");
    Ok(())
}
