//! The host and its ipvlan containers, Docker's and Landline's, reach each other.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use landline_testbed::{Dnsmasq, Frame, Ra, wait_for};
use serde_json::{Value, json};

use crate::dual;
use crate::ipvlan::{SLOWLY, post, step};
use crate::world::{Result, World, binary};

const HOST: &str = "192.0.2.10";
const HOST_V6: &str = "2001:db8:1::10";
/// Docker's container.
const ADDRESS: &str = "192.0.2.64";
const ADDRESS_V6: &str = "2001:db8:1::64";
/// The shim's own.
const OWN: &str = "192.0.2.50";

#[test]
#[ignore = "the kernel outside may have no ipvlan; runs in the VM"]
fn host_access() -> Result {
    watched(&World::nic()?, cases)?;
    // Docker's own ipvlan containers do not start where routers advertise: a LAN of its own.
    watched(&World::nic_with(Dnsmasq { ra: Ra::Both, ..Dnsmasq::default() })?, both_families)
}

/// Says what there was if the cases fail.
fn watched(world: &World, cases: fn(&World) -> Result) -> Result {
    let done = cases(world);
    if done.is_err() {
        let look = "ip -d link; ip addr; ip route; ip neigh; nft list ruleset";
        println!("--- landline:\n{}{}", world.daemon.log(), world.host.node().sh(look).unwrap_or_default());
    }
    done
}

fn cases(world: &World) -> Result {
    world.host.node().sh(&format!(
        "for c in all default eth0; do echo 1 > /proc/sys/net/ipv4/conf/$c/rp_filter; done
         ip address add {HOST_V6}/64 dev eth0 nodad"
    ))?;
    let network = json!({
        "Name": "dk", "Driver": "ipvlan", "Options": {"parent": "eth0"}, "EnableIPv6": true,
        "IPAM": {"Config": [
            {"Subnet": "192.0.2.0/24", "Gateway": "192.0.2.1"},
            {"Subnet": "2001:db8:1::/64", "Gateway": "2001:db8:1::1"},
        ]},
    });
    post(world, "/networks/create", &network.to_string())?;
    let addresses = json!({"IPAMConfig": {"IPv4Address": ADDRESS, "IPv6Address": ADDRESS_V6}});
    start(world, "c0", "dk", &addresses)?;
    let before = world.host.snapshot()?;

    step("a strict filter is the user's");
    let sentence = "rp_filter of eth0 is 1 (strict), which drops what ipvlan containers answer";
    let output = world.host.landline(binary(), &["host-access", "enable", "dk"]);
    assert!(output.status.code() == Some(1) && output.stderr.contains(sentence), "{}", output.stderr);
    let options = ["mode=ipvlan", "parent=eth0", "host_access=true"];
    let refused = world.network("own", &options).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains(sentence), "{refused}");
    assert_eq!(before.diff(&world.host.snapshot()?), "");

    step("loosened by the user's word");
    let said = access(world, &["enable", "dk", "--loosen-rp-filter"])?;
    assert!(said.contains("rp_filter of eth0 is 2 (loose) until host access is disabled"), "{said}");
    both_ways(world, "c0", &[ADDRESS, ADDRESS_V6], &[HOST, HOST_V6])?;
    world.network("own", &options)?;
    start(world, "own", "own", &json!({}))?;
    let listed = access_row(world, "own")?;
    let leased = listed["containers"][0]["addresses"][0].as_str().unwrap_or_default().to_owned();
    both_ways(world, "own", &[&leased], &[HOST])?;
    assert_eq!(answers(world, HOST)?, BTreeSet::from([world.host.node().mac("eth0")?]));
    assert_eq!(listed["interface"], access_row(world, "dk")?["interface"], "one for both");

    step("set back");
    world.host.docker_ok(&["rm", "-f", "own"])?;
    world.host.docker_ok(&["network", "rm", "own"])?;
    access(world, &["disable", "dk"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");

    step("an address of its own");
    access(world, &["enable", "dk", "--ip", OWN])?;
    both_ways(world, "c0", &[ADDRESS], &[OWN])?;
    assert_eq!(answers(world, OWN)?, BTreeSet::from([world.host.node().mac("eth0")?]));
    access(world, &["disable", "dk"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    step("done");
    Ok(())
}

/// A network of Landline's own whose containers have leases of both families.
fn both_families(world: &World) -> Result {
    step("leases of both families");
    world.host.check(&["ip", "address", "add", &format!("{HOST_V6}/64"), "dev", "eth0", "nodad"])?;
    wait_for("the router's advertisement", SLOWLY, || {
        world.host.node().sh("ip -6 route show default proto ra").is_ok_and(|route| !route.is_empty())
    })?;
    let before = world.host.snapshot()?;
    let options = ["mode=ipvlan", "parent=eth0", "host_access=true", "ipv6=true", "lease_timeout=30s"];
    world.network("own", &options)?;
    start(world, "own", "own", &json!({}))?;
    let six = dual::addresses(world, "own")?;
    let leased = access_addresses(world, "own", 1 + six.len())?;
    let leased: Vec<&str> = leased.iter().map(String::as_str).collect();
    both_ways(world, "own", &leased, &[HOST, HOST_V6])?;
    world.host.docker_ok(&["rm", "-f", "own"])?;
    world.host.docker_ok(&["network", "rm", "own"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    Ok(())
}

/// Runs a container, without Docker's client, which takes long here.
pub(crate) fn start(world: &World, name: &str, network: &str, addresses: &Value) -> Result {
    let config = json!({
        "Image": "box", "Cmd": ["httpd", "-f", "-h", "/www"], "HostConfig": {"NetworkMode": network},
        "NetworkingConfig": {"EndpointsConfig": {network: addresses}},
    });
    post(world, &format!("/containers/create?name={name}"), &config.to_string())?;
    post(world, &format!("/containers/{name}/start"), "")
}

/// Ping and TCP to the container's addresses, and from it to the host's.
fn both_ways(world: &World, container: &str, addresses: &[&str], host: &[&str]) -> Result {
    for address in addresses {
        wait_for(format!("the host to reach {address}"), SLOWLY, || {
            world.host.exec(&["ping", "-q", "-n", "-c1", "-W1", address]).success()
        })?;
        world.host.check(&["curl", "-sf", "-m", "30", "-o", "/dev/null", &url(address, 80)])?;
    }
    let pid = world.host.container_pid(container)?.to_string();
    let web = world.host.node().spawn(&["busybox", "httpd", "-f", "-p", "8080", "-h", "/usr/share"])?;
    for address in host {
        let inside = ["nsenter", "-t", &pid, "--net"];
        let ping = ["ping", "-q", "-n", "-c1", "-W5", address];
        world.host.check(&[&inside[..], &ping].concat())?;
        // Whatever the page: that there is an answer.
        let url = url(address, 8080);
        let curl = ["curl", "-s", "-m", "30", "--retry", "3", "--retry-connrefused", "-o", "/dev/null", &url];
        world.host.check(&[&inside[..], &curl].concat())?;
    }
    drop(web);
    Ok(())
}

fn url(address: &str, port: u16) -> String {
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    format!("http://{address}:{port}/")
}

/// The addresses of a network's one container that host access serves, once there are so many.
fn access_addresses(world: &World, network: &str, count: usize) -> Result<Vec<String>> {
    Ok(wait_for(format!("{count} addresses on {network}"), SLOWLY, || {
        let row = access_row(world, network).ok()?;
        let list = row["containers"][0]["addresses"].as_array()?;
        let list: Vec<String> = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        (list.len() == count).then_some(list)
    })?)
}

fn access(world: &World, args: &[&str]) -> Result<String> {
    Ok(world.host.landline_ok(binary(), &[&["host-access"], args].concat())?)
}

/// What `landline host-access ls` has on a network, once all of it is ready.
fn access_row(world: &World, network: &str) -> Result<Value> {
    let row = || -> Result<Value> {
        let rows: Value = serde_json::from_str(&access(world, &["ls", "--json"])?)?;
        let row = rows.as_array().and_then(|rows| rows.iter().find(|row| row["network"] == network)).cloned();
        Ok(row.unwrap_or_default())
    };
    let ready = wait_for(format!("{network} to be ready"), SLOWLY, || {
        let row = row().ok()?;
        let address = row["containers"][0]["addresses"][0].is_string();
        (row["state"] == "ready" && row["containers"][0]["state"] == "ready" && address).then_some(row)
    });
    Ok(ready.map_err(|error| format!("{error}: {:?}", row()))?)
}

/// Who answers the peer's ARP questions for an address; no more often than asked.
fn answers(world: &World, address: &str) -> Result<BTreeSet<String>> {
    let (peer, wanted): (_, Ipv4Addr) = (world.lan.peer(), address.parse()?);
    let capture = world.lan.capture(peer, "eth0", "arp")?;
    peer.run(&["arping", "-q", "-b", "-c", "3", "-w", "10", "-I", "eth0", address]);
    let frames = capture.stop()?;
    let arp: Vec<_> = frames.iter().filter_map(Frame::arp).collect();
    let asked = arp.iter().filter(|p| p.operation == 1 && p.target_ip == wanted).count();
    let answers: Vec<_> = arp.iter().filter(|p| p.operation == 2 && p.sender_ip == wanted).collect();
    assert!((1..=asked).contains(&answers.len()), "{} answers to {asked} questions", answers.len());
    Ok(answers.iter().map(|packet| packet.sender_mac.clone()).collect())
}
