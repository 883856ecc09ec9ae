//! Whatever names it: no container on a bridge gets an address of the host, of another container there, or of the subnet.

use std::net::Ipv4Addr;

use crate::addresses::rogue;
use crate::world::{Result, World, binary};

/// The host has this one elsewhere than on the bridge.
const ELSEWHERE: &str = "192.0.2.11";
/// A container has it.
const HELD: &str = "192.0.2.70";

/// What names an address for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// `docker run --ip`, on a network of Docker's own address management.
    Docker,
    /// `docker run --ip`, on a network with one of Landline's pools.
    Pool,
    /// A DHCP server.
    Server,
    /// `landline attach`.
    Attach,
    /// `-o lan_ip`.
    Network,
    /// `landline nat`.
    Command,
}

const ALL: [By; 6] = [By::Docker, By::Pool, By::Server, By::Attach, By::Network, By::Command];

/// What is said to whoever asks for this address; `None`: it was given.
fn refusal(world: &World, by: By, address: &str) -> Result<Option<String>> {
    let docker = |args: &[&str]| world.host.docker(args);
    let run = |network: &str, args: &[&str]| {
        let start = ["run", "--rm", "--name", "two", "--network", network];
        docker(&[&start[..], args, &["box", "true"]].concat())
    };
    let ended = match by {
        By::Docker => run("docker", &["--ip", address]),
        By::Pool => run("pool", &["--ip", address]),
        By::Server => {
            let server = rogue(world, address.parse()?, None)?;
            let ended = run("lan", &[]);
            drop(server);
            ended
        }
        By::Attach => world.host.landline(binary(), &["attach", "br0", "other", &format!("{address}/24")]),
        By::Network => {
            let lan_ip = format!("lan_ip={address}");
            let options = ["-o", "mode=nat", "-o", "parent=br0", "-o", "firewall=open", "-o", &lan_ip];
            let create = ["network", "create", "-d", "landline", "--subnet", "203.0.113.0/24"];
            docker(&[&create[..], &options, &["nat"]].concat())
        }
        By::Command => world.host.landline(
            binary(),
            &["nat", "other", &format!("{address}/24"), "--dev", "br0", "--open-firewall"],
        ),
    };
    Ok((!ended.success()).then(|| format!("{}{}", ended.stdout, ended.stderr)))
}

#[test]
fn no_way_leads_to_an_address_that_is_taken() -> Result {
    let mut world = World::bridge()?;
    world.dhcp.stop()?;
    world.host.node().sh(&format!(
        "ip link add elsewhere type bridge; ip address add {ELSEWHERE}/32 dev elsewhere; ip link set elsewhere up"
    ))?;
    // Without any question on the LAN, which would find most of them.
    let blind = ["-o", "bridge=br0", "-o", "conflict_check=off", "-o", "ignore_conflicts=true"];
    let create = ["network", "create", "-d", "landline"];
    let subnet = ["--subnet", "192.0.2.0/24", "--gateway", "192.0.2.1"];
    for (name, args) in [
        ("docker", &["-o", "addressing=static"][..]),
        ("pool", &["-o", "addressing=pool", "--ipam-driver", "landline"]),
        ("held", &["-o", "addressing=pool", "--ipam-driver", "landline"]),
    ] {
        world.host.docker_ok(&[&create[..], &blind, &subnet, args, &[name]].concat())?;
    }
    let timeout = ["-o", "lease_timeout=2s", "--ipam-driver", "null"];
    world.host.docker_ok(&[&create[..], &blind, &timeout, &["lan"]].concat())?;
    world.run("one", "held", &["--ip", HELD])?;
    world.host.docker_ok(&["network", "create", "--subnet", "198.51.100.0/24", "inner"])?;
    world.run("other", "inner", &[])?;
    let rows = [
        ("192.0.2.10", "this host"),
        (ELSEWHERE, "this host"),
        (HELD, "container one"),
        ("192.0.2.0", ""),
        ("192.0.2.255", ""),
    ];
    for (address, why) in rows {
        for by in ALL {
            let said =
                refusal(&world, by, address)?.ok_or_else(|| format!("{address} by {by:?} was given"))?;
            // What is no host of its subnet, Docker refuses by itself.
            let by_docker = by == By::Docker && why.is_empty();
            assert!(by_docker || said.contains(address) && said.contains(why), "{address} by {by:?}: {said}");
        }
    }
    // And each of these ways leads to one that is free.
    for (last, by) in (80..).zip(ALL) {
        let free = Ipv4Addr::new(192, 0, 2, last);
        assert_eq!(refusal(&world, by, &free.to_string())?, None, "{free} by {by:?}");
    }
    Ok(())
}
