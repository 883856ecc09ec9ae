//! `vlan=`: two VLANs on one cable, each with its own DHCP server and the same addresses.

use std::time::Duration;

use landline_testbed::{Process, Signal, wait_for};
use serde_json::{Value, json};

use crate::world::{Result, World, bare, binary};

/// Generous: see `LIMIT`.
const SLOWLY: Duration = Duration::from_mins(1);

/// The VLANs, and where the pools of their servers begin.
const VLANS: [(u16, u8); 2] = [(12, 100), (13, 150)];

#[test]
#[ignore = "the kernel outside may have no VLANs; runs in the VM"]
fn vlans() -> Result {
    let mut world = World::nic()?;
    let _servers = serve(&world)?;
    let done = cases(&mut world);
    if done.is_err() {
        println!("--- landline:\n{}", world.daemon.log());
    }
    done
}

/// In each VLAN one machine with a DHCP server: the router in the first, the peer in the second.
fn serve(world: &World) -> Result<Vec<Process>> {
    let nodes = [world.lan.router(), world.lan.peer()];
    let servers = VLANS.into_iter().zip(nodes).map(|((id, first), node)| {
        node.sh(&format!(
            "ip link add link eth0 name eth0.{id} type vlan id {id}
             ip address add 203.0.113.{id}/24 dev eth0.{id}
             ip link set eth0.{id} up"
        ))?;
        let interface = format!("--interface=eth0.{id}");
        let range = format!("--dhcp-range=203.0.113.{first},203.0.113.{},10m", first + 20);
        let leases = format!("--dhcp-leasefile=/tmp/landline-vlan-{id}.leases");
        let pid = format!("--pid-file=/tmp/landline-vlan-{id}.pid");
        let fixed =
            ["-k", "--conf-file=/dev/null", "--user=root", "--port=0", "--bind-interfaces", "--no-ping"];
        let argv = [&["dnsmasq"], &fixed[..], &[&interface, &range, &leases, &pid]].concat();
        Ok(node.spawn(&argv)?)
    });
    servers.collect()
}

fn cases(world: &mut World) -> Result {
    let before = world.host.snapshot()?;

    println!("sub-interfaces");
    for (id, _) in VLANS {
        world.network(
            &format!("n{id}"),
            &["mode=macvlan", "parent=eth0", &format!("vlan={id}"), "lease_timeout=30s"],
        )?;
    }
    world.network("again", &["mode=macvlan", "parent=eth0", "vlan=12"])?;
    assert_eq!(sub_interfaces(world)?, ["eth0.12", "eth0.13"], "one for each VLAN");
    world.host.docker_ok(&["network", "rm", "again"])?;
    assert_eq!(sub_interfaces(world)?, ["eth0.12", "eth0.13"], "still needed");
    let addresses: Vec<String> = VLANS
        .iter()
        .map(|(id, _)| run(world, &format!("n{id}"), &format!("c{id}")))
        .collect::<Result<_>>()?;
    apart(world, ["c12", "c13"], &addresses)?;
    the_host_keeps_out(world)?;

    println!("the daemon killed, an interface lost");
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.docker_ok(&["rm", "-f", "c13"])?;
    world.host.check(&["ip", "link", "delete", "eth0.13"])?;
    world.daemon = world.host.start_landline(binary(), &[], &[])?;
    wait_for("the VLAN's interface", SLOWLY, || (sub_interfaces(world).ok()?.len() == 2).then_some(()))?;
    let left = ping(world, "c12", "203.0.113.12");
    assert!(left, "what ran goes on");
    endpoint(world, "n13", 3)?;
    forget(world, 3)?;
    world.host.docker_ok(&["rm", "-f", "c12"])?;
    world.host.docker_ok(&["network", "rm", "n12", "n13"])?;
    assert_eq!(sub_interfaces(world)?, [""; 0], "gone with the last network");
    assert_eq!(before.diff(&world.host.snapshot()?), "");

    println!("a network that Docker has no more");
    world.network("lost", &["mode=macvlan", "parent=eth0", "vlan=12"])?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    world.host.docker_ok(&["network", "rm", "lost"])?;
    assert_eq!(sub_interfaces(world)?, ["eth0.12"], "nobody is there to remove it");
    world.daemon = world.host.start_landline(binary(), &["--network-grace", "1s"], &[])?;
    wait_for("the VLAN's interface to go", SLOWLY, || {
        sub_interfaces(world).is_ok_and(|left| left.is_empty()).then_some(())
    })?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");

    println!("an interface of the user's own");
    world.host.check(&["ip", "link", "add", "link", "eth0", "name", "guests", "type", "vlan", "id", "12"])?;
    world.host.check(&["ip", "link", "set", "guests", "up"])?;
    world.network("theirs", &["mode=ipvlan", "parent=eth0", "vlan=12", "lease_timeout=30s"])?;
    assert_eq!(sub_interfaces(world)?, ["guests"]);
    is_of(&endpoint(world, "theirs", 4)?, VLANS[0])?;
    forget(world, 4)?;
    world.host.docker_ok(&["network", "rm", "theirs"])?;
    assert_eq!(sub_interfaces(world)?, ["guests"], "not ours to remove");
    Ok(())
}

/// The host's NIC is in a bridge, whose ports are in VLANs.
#[test]
#[ignore = "the kernel outside may have no VLANs; runs in the VM"]
fn ports_of_a_bridge() -> Result {
    let world = World::nic()?;
    let _servers = serve(&world)?;
    let done = bridge(&world);
    if done.is_err() {
        println!("--- landline:\n{}", world.daemon.log());
    }
    done
}

fn bridge(world: &World) -> Result {
    world.host.node().sh("ip address flush dev eth0
         ip link add br0 type bridge forward_delay 0
         ip link set eth0 master br0
         ip link set br0 up")?;
    let refused = world.network("b12", &["bridge=br0", "vlan=12"]).err().ok_or("not refused")?.to_string();
    assert!(refused.contains("ip link set br0 type bridge vlan_filtering 1"), "{refused}");
    world.host.node().sh("ip link set br0 type bridge vlan_filtering 1
         bridge vlan add dev eth0 vid 12
         bridge vlan add dev eth0 vid 13")?;
    for (id, _) in VLANS {
        world.network(&format!("b{id}"), &["bridge=br0", &format!("vlan={id}"), "lease_timeout=30s"])?;
    }
    // Their own server in each, so that what enters a port is in its VLAN, and what is in it comes out.
    for ((id, first), n) in VLANS.into_iter().zip([6, 7]) {
        is_of(&endpoint(world, &format!("b{id}"), n)?, (id, first))?;
    }
    let ports = world.host.check(&["bridge", "-j", "vlan", "show"])?;
    let ports: Value = serde_json::from_str(&ports)?;
    let ours = ports
        .as_array()
        .into_iter()
        .flatten()
        .filter(|p| p["ifname"].as_str().is_some_and(|n| n.starts_with("llh")));
    let vlans: Vec<&Value> = ours.flat_map(|port| port["vlans"].as_array().into_iter().flatten()).collect();
    let mut ids: Vec<u64> = vlans.iter().filter_map(|vlan| vlan["vlan"].as_u64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [12, 13], "in one VLAN each: {ports}");
    // Without filtering a port would be on the untagged LAN.
    world.host.check(&["ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "0"])?;
    let refused = endpoint(world, "b12", 5).err().ok_or("not refused")?.to_string();
    assert!(refused.contains("does not filter VLANs"), "{refused}");
    Ok(())
}

/// Each is in its own VLAN: its server gave the address, it reaches that, and not the other.
fn apart(world: &World, names: [&str; 2], addresses: &[String]) -> Result {
    for ((name, address), (id, first)) in names.iter().zip(addresses).zip(VLANS) {
        is_of(address, (id, first))?;
        assert!(ping(world, name, &format!("203.0.113.{id}")), "{name} reaches nobody");
    }
    let [one, other] = addresses else { return Err("two addresses".into()) };
    for (name, elsewhere) in [(names[0], other), (names[1], one)] {
        assert!(!ping(world, name, elsewhere), "{name} reaches {elsewhere}");
    }
    Ok(())
}

/// The server of this VLAN gave the address.
fn is_of(address: &str, (id, first): (u16, u8)) -> Result {
    let last: u8 = bare(address).rsplit('.').next().unwrap_or_default().parse()?;
    assert!((first..=first + 20).contains(&last), "{address} in VLAN {id}");
    Ok(())
}

/// The host answers no ARP in a VLAN, and has no address there.
fn the_host_keeps_out(world: &World) -> Result {
    let asked = world.lan.router().run(&["arping", "-c1", "-w2", "-I", "eth0.12", "192.0.2.10"]);
    assert!(asked.stdout.contains("Received 0"), "{}", asked.stdout);
    let addresses = world.host.check(&["ip", "-o", "address", "show", "dev", "eth0.12"])?;
    assert_eq!(addresses.trim(), "");
    Ok(())
}

/// The names of the host's VLAN interfaces.
fn sub_interfaces(world: &World) -> Result<Vec<String>> {
    let shown: Value =
        serde_json::from_str(&world.host.check(&["ip", "-j", "link", "show", "type", "vlan"])?)?;
    let names =
        shown.as_array().into_iter().flatten().filter_map(|link| Some(link["ifname"].as_str()?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

/// Runs a container; its address.
fn run(world: &World, network: &str, name: &str) -> Result<String> {
    let config =
        json!({"Image": "box", "Cmd": ["sleep", "infinity"], "HostConfig": {"NetworkMode": network}});
    for (path, body) in [
        (format!("/containers/create?name={name}"), config.to_string()),
        (format!("/containers/{name}/start"), String::new()),
    ] {
        let (status, answer) = world.host.docker_api("POST", &path, &body)?;
        if !(200..300).contains(&status) {
            return Err(format!("{path}: {status} {answer}").into());
        }
    }
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    Ok(world.host.docker_ok(&["inspect", "--format", format, name])?.trim().to_owned())
}

fn ping(world: &World, container: &str, address: &str) -> bool {
    world.host.docker_ok(&["exec", container, "ping", "-q", "-c1", "-W5", address]).is_ok()
}

/// Makes an endpoint as Docker would, and returns its address.
fn endpoint(world: &World, network: &str, n: u8) -> Result<String> {
    let id = world.host.docker_ok(&["network", "inspect", "--format", "{{.Id}}", network])?;
    let request = json!({"NetworkID": id.trim(), "EndpointID": n.to_string().repeat(64), "Interface": {}, "Options": {}});
    let (_, answer) = world.daemon.request("/NetworkDriver.CreateEndpoint", &request.to_string())?;
    let address = serde_json::from_str::<Value>(&answer)?["Interface"]["Address"].as_str().map(str::to_owned);
    address.ok_or_else(|| answer.into())
}

fn forget(world: &World, n: u8) -> Result {
    let request = json!({"NetworkID": "any", "EndpointID": n.to_string().repeat(64)});
    let (status, answer) = world.daemon.request("/NetworkDriver.DeleteEndpoint", &request.to_string())?;
    if status == 200 { Ok(()) } else { Err(answer.into()) }
}
