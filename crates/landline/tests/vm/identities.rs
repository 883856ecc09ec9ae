//! Derived identities on `mode=ipvlan`, where a container is known to the LAN by its client identifier only: over a reboot, and where Docker
//! starts containers at once that nothing tells apart.

use landline_testbed::{Dnsmasq, Dockerd, Ra, wait_for};
use serde_json::{Value, json};

use crate::dual;
use crate::ipvlan::{SLOWLY, held, leases_of, post, step};
use crate::tools::start_daemon;
use crate::world::{Result, World, bare, binary};

const NAMES: [&str; 2] = ["web", "db"];

#[test]
#[ignore = "the kernel outside may have no ipvlan; runs in the VM"]
fn ipvlan_identities() -> Result {
    let mut world = World::nic_with(Dnsmasq { ra: Ra::Both, ..Dnsmasq::default() })?;
    let done = cases(&mut world);
    if done.is_err() {
        println!("--- landline:\n{}--- server:\n{}", world.daemon.log(), world.dhcp.log_tail());
    }
    done
}

fn cases(world: &mut World) -> Result {
    let parent_mac = world.host.node().mac("eth0")?;
    let options = ["mode=ipvlan", "parent=eth0", "lease_timeout=30s", "ipv6=true"];
    world.network("lan", &[&options[..], &["identity=derived", "when_unsure=late"]].concat())?;
    wait_for("the network's name", SLOWLY, || said(world, "web").ok())?;

    step("who each is going to be");
    let identifiers: Vec<String> = NAMES.iter().map(|name| said(world, name)).collect::<Result<_>>()?;
    assert_ne!(identifiers[0], identifiers[1]);
    for name in NAMES {
        let config = json!({
            "Image": "box", "Cmd": ["sleep", "infinity"], "StopSignal": "KILL",
            "HostConfig": {"NetworkMode": "lan", "RestartPolicy": {"Name": "always"}},
        });
        post(world, &format!("/containers/create?name={name}"), &config.to_string())?;
        post(world, &format!("/containers/{name}/start"), "")?;
        held(world, name)?;
    }
    let before = seen(world)?;
    assert_eq!(before.iter().map(|seen| seen.identifier.clone()).collect::<Vec<_>>(), identifiers);

    step("a reboot");
    world.host.reboot()?;
    assert_eq!(world.host.node().mac("eth0")?, parent_mac);
    world.host.check(&["ip", "address", "add", "192.0.2.10/24", "dev", "eth0"])?;
    world.daemon = start_daemon(&world.host)?;
    world.host.dockerd(Dockerd::default())?;
    assert_eq!(seen(world)?, before);
    // Docker has started both at once.
    assert!(world.daemon.log().contains("recognised after its start began"));
    step("done");
    Ok(())
}

/// The client identifier that is said beforehand.
fn said(world: &World, name: &str) -> Result<String> {
    let text = world
        .host
        .landline_ok(binary(), &["identity", "of", name, "--network", "lan", "--format", "json"])?;
    let said: Value = serde_json::from_str(&text)?;
    assert_eq!(said["source"], "derived", "{said}");
    let octets = said["client_id"].as_array().ok_or("no client identifier")?;
    let octets: Vec<String> =
        octets.iter().filter_map(Value::as_u64).map(|octet| format!("{octet:02x}")).collect();
    Ok(octets.concat())
}

/// What a container has of the LAN.
#[derive(Debug, PartialEq)]
struct Seen {
    address: String,
    six: Vec<String>,
    identifier: String,
}

fn seen(world: &World) -> Result<Vec<Seen>> {
    let one = |name: &&str| -> Result<Seen> {
        let (address, _) = held(world, name)?;
        let lease = leases_of(world, &[bare(&address).to_owned()]).pop().ok_or("no lease")?;
        let identifier = lease.client_id.unwrap_or_default().to_lowercase().replace(':', "");
        let mut six = dual::addresses(world, name)?;
        six.sort();
        Ok(Seen { address, six, identifier })
    };
    NAMES.iter().map(one).collect()
}
