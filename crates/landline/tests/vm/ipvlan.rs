//! `mode=ipvlan`: containers that share their NIC's hardware address, with three makes of servers.

use std::collections::BTreeSet;
use std::time::Duration;

use landline_testbed::{Dhcpd, Dnsmasq, Kea, LeaseRow, Ra, Signal, wait_for};
use serde_json::{Value, json};

use crate::dual;
use crate::world::{Result, World, bare, binary};

/// Generous: see `LIMIT`.
pub(crate) const SLOWLY: Duration = Duration::from_mins(1);

#[test]
#[ignore = "the kernel outside may have no ipvlan; runs in the VM"]
fn ipvlan() -> Result {
    let mut world = World::nic_with(Dnsmasq { ra: Ra::Both, ..Dnsmasq::default() })?;
    let done = cases(&mut world);
    if done.is_err() {
        println!("--- landline:\n{}--- server:\n{}", world.daemon.log(), world.dhcp.log_tail());
    }
    done
}

fn cases(world: &mut World) -> Result {
    let parent_mac = world.host.node().mac("eth0")?;
    let before = world.host.snapshot()?;
    world.network("lan", &["mode=ipvlan", "parent=eth0", "lease_timeout=30s", "ipv6=true"])?;

    step("dnsmasq");
    start(world, &["d1", "d2", "d3"])?;
    three_containers(world, &parent_mac, ["d1", "d2", "d3"])?;
    dual::three_containers(world, ["d1", "d2", "d3"])?;
    no_hardware_address_of_its_own(world)?;
    let six = dual::addresses(world, "d2")?;
    a_restart_keeps_the_address(world, "d2")?;
    a_daemon_killed_and_a_clock_set_change_nothing(world, "d2")?;
    docker_killed_gives_the_address_back(world, "d2")?;
    assert_eq!(dual::addresses(world, "d2")?, six);
    no_macvlan_beside_it(world)?;
    remove(world, &["d1", "d2", "d3"])?;

    step("addresses through the IPAM driver");
    leased_before_there_is_a_link(world, &parent_mac)?;

    // Docker is what takes long. What differs between servers is seen before Docker moves the link.
    step("Kea");
    world.dhcp.stop()?;
    world.dhcp = world.lan.kea(Kea::default())?;
    start(world, &["k1"])?;
    three_endpoints(world, &parent_mac)?;
    a_lease_is_renewed(world, "k1")?;
    remove(world, &["k1"])?;

    step("ISC dhcpd");
    world.dhcp.stop()?;
    world.dhcp = world.lan.server_on(world.lan.router(), &Dhcpd::default())?;
    three_endpoints(world, &parent_mac)?;

    step("a squatter");
    world.dhcp.stop()?;
    world.dhcp = world.lan.kea(Kea { pool: Some("192.0.2.150-192.0.2.151".to_owned()), ..Kea::default() })?;
    an_address_in_use_is_declined(world)?;

    step("a server that goes by hardware address");
    world.dhcp.stop()?;
    let extra = vec!["--dhcp-ignore-clid".to_owned()];
    world.dhcp = world.lan.dnsmasq(Dnsmasq { extra, ..Dnsmasq::default() })?;
    one_address_is_not_given_to_two(world)?;

    world.host.docker_ok(&["network", "rm", "lan"])?;
    let changed = before.diff(&world.host.snapshot()?);
    // What the LAN's router says to the host may have come since.
    let ours: Vec<&str> = changed.lines().filter(|line| !line.contains(" proto ra ")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
    step("done");
    Ok(())
}

/// Shows in the output of a slow test how far it is.
pub(crate) fn step(what: &str) {
    let up = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    println!("{:>7} s: {what}", up.split(' ').next().unwrap_or_default());
}

/// Three containers: each has an address of its own, and all reach each other and the LAN.
fn three_containers(world: &World, parent_mac: &str, names: [&str; 3]) -> Result {
    let addresses = addresses_of(world, &names)?;
    distinct_leases(world, parent_mac, &addresses);
    let list = addresses.join(" ");
    world.lan.peer().sh(&format!("for a in {list}; do ping -q -c1 -W5 $a; done"))?;
    for name in names {
        let script = format!(
            "test $(cat /sys/class/net/eth0/address) = {parent_mac}
             for a in 192.0.2.1 192.0.2.2 {list}; do ping -q -c1 -W5 $a; done"
        );
        world.host.docker_ok(&["exec", name, "sh", "-ec", &script])?;
    }
    let listing = world.ls()?;
    let rows = listing["endpoints"].as_array().cloned().unwrap_or_default();
    let bound = rows.iter().filter(|row| row["mac"] == parent_mac && row["state"] == "BOUND");
    assert_eq!(bound.count(), 3, "{listing}");
    Ok(())
}

/// The lease is made over a link made for that moment, by a client identifier that the container's own link has then.
fn leased_before_there_is_a_link(world: &World, parent_mac: &str) -> Result {
    let create = ["network", "create", "-d", "landline", "--ipam-driver", "landline", "-o", "mode=ipvlan"];
    let ipam = ["--subnet", "192.0.2.0/24", "--ipam-opt", "addressing=dhcp", "-o", "lease_timeout=30s"];
    world.host.docker_ok(&[&create[..], &ipam, &["-o", "parent=eth0", "asked"]].concat())?;
    let start = |name: &str, endpoint: Value| -> Result {
        let config = json!({
            "Image": "box", "Cmd": ["sleep", "infinity"], "HostConfig": {"NetworkMode": "asked"},
            "NetworkingConfig": {"EndpointsConfig": {"asked": endpoint}},
        });
        post(world, &format!("/containers/create?name={name}"), &config.to_string())?;
        post(world, &format!("/containers/{name}/start"), "")?;
        Ok(())
    };
    start("i1", json!({}))?;
    // Of the server's range, and nobody's.
    let leases = world.dhcp.leases();
    let is_free = |address: &std::net::IpAddr| leases.iter().all(|lease| lease.ip != *address);
    let mut range = (100..=200).map(|last| std::net::IpAddr::from([192, 0, 2, last]));
    let asked = range.find(is_free).ok_or("the server has no address left")?.to_string();
    start("i2", json!({"IPAMConfig": {"IPv4Address": asked}}))?;
    let shown = |name: &str| -> Result<String> {
        let format = "{{with index .NetworkSettings.Networks \"asked\"}}{{.IPAddress}}{{end}}";
        Ok(world.host.docker_ok(&["inspect", "--format", format, name])?.trim().to_owned())
    };
    let addresses = [shown("i1")?, shown("i2")?];
    assert_eq!(addresses[1], asked);
    distinct_leases(world, parent_mac, &addresses);
    for (name, address) in ["i1", "i2"].into_iter().zip(&addresses) {
        let (held, _) = held(world, name)?;
        assert_eq!(bare(&held), address);
    }
    // Whoever had the address has it again, as the client that it was.
    let clients = || leases_of(world, &addresses).into_iter().map(|lease| (lease.ip, lease.client_id));
    let before: BTreeSet<_> = clients().collect();
    post(world, "/containers/i1/restart?t=0", "")?;
    assert_eq!(shown("i1")?, addresses[0]);
    assert_eq!(clients().collect::<BTreeSet<_>>(), before);
    remove(world, &["i1", "i2"])?;
    world.host.docker_ok(&["network", "rm", "asked"])?;
    Ok(())
}

/// Each address is another lease, of a client identifier of its own and the shared hardware address.
fn distinct_leases(world: &World, parent_mac: &str, addresses: &[String]) {
    let leases = leases_of(world, addresses);
    let ids: BTreeSet<_> = leases.iter().filter_map(|lease| lease.client_id.clone()).collect();
    assert_eq!((ids.len(), leases.len()), (addresses.len(), addresses.len()), "{addresses:?}: {leases:?}");
    // IAID 1 and a DUID-UUID (RFC 4361 section 6.1, RFC 6355).
    assert!(ids.iter().all(|id| id.to_lowercase().starts_with("ff:00:00:00:01:00:04:")), "{ids:?}");
    assert!(leases.iter().all(|lease| lease.mac == parent_mac), "{leases:?}");
}

/// Runs a container of each name. Emulated, Docker's client takes longer than what it asks for, so it is left out.
fn start(world: &World, names: &[&str]) -> Result {
    for name in names {
        let config = json!({
            "Image": "box", "Cmd": ["sleep", "infinity"], "HostConfig": {"NetworkMode": "lan"},
            // All of them start together when Docker does.
            "NetworkingConfig": {"EndpointsConfig": {"lan": {"DriverOpts": {"landline.id": name}}}},
        });
        post(world, &format!("/containers/create?name={name}"), &config.to_string())?;
        post(world, &format!("/containers/{name}/start"), "")?;
    }
    Ok(())
}

/// The addresses that Docker says containers have on the network. It knows no hardware address: none was returned to it.
fn addresses_of(world: &World, names: &[&str]) -> Result<Vec<String>> {
    let format = "{{with index .NetworkSettings.Networks \"lan\"}}{{.IPAddress}} mac={{.MacAddress}}{{end}}";
    let shown = world.host.docker_ok(&[&["inspect", "--format", format], names].concat())?;
    let address =
        |line: &str| line.strip_suffix(" mac=").map(str::to_owned).ok_or_else(|| shown.clone().into());
    shown.lines().map(address).collect()
}

/// What a container has, and whether the peer reaches it.
pub(crate) fn held(world: &World, name: &str) -> Result<(String, u64)> {
    let row = wait_for(format!("{name} to have its lease"), SLOWLY, || {
        let listing = world.ls().ok()?;
        let row = listing["endpoints"].as_array()?.iter().find(|row| row["container"] == name)?.clone();
        (row["state"] == "BOUND").then_some(row)
    })?;
    let address = row["address"].as_str().unwrap_or_default().to_owned();
    world.lan.peer().check(&["ping", "-q", "-c1", "-W5", bare(&address)])?;
    Ok((address, row["lease_left_s"].as_u64().unwrap_or(u64::MAX)))
}

/// The daemon is killed and started again, and the wall clock jumps by a day in both directions: leases go by neither.
fn a_daemon_killed_and_a_clock_set_change_nothing(world: &mut World, name: &str) -> Result {
    // A clock is the whole machine's.
    let kernel = std::fs::read_to_string("/proc/cmdline")?;
    assert!(kernel.contains("testbed.run="), "only in the VM");
    let (before, _) = held(world, name)?;
    for jump in ["+1 day", "-2 days", "+1 day"] {
        world.host.check(&["date", "-s", jump])?;
        world.daemon.kill(Signal::KILL)?;
        world.daemon.wait()?;
        world.daemon = world.host.start_landline(binary(), &[], &[])?;
        let (address, left) = held(world, name)?;
        assert_eq!(address, before, "{jump}");
        assert!((1..=600).contains(&left), "{jump}: {left} s left of a lease of ten minutes");
    }
    Ok(())
}

/// Docker is killed together with its containers; the one that restarts by itself is who it was.
fn docker_killed_gives_the_address_back(world: &mut World, name: &str) -> Result {
    let (before, _) = held(world, name)?;
    world.host.docker_ok(&["update", "--restart=always", name])?;
    world.host.dockerd_stop(Signal::KILL)?;
    world.host.dockerd_start()?;
    let (address, _) = held(world, name)?;
    assert_eq!(address, before);
    Ok(())
}

pub(crate) fn post(world: &World, path: &str, body: &str) -> Result {
    let (status, answer) = world.host.docker_api("POST", path, body)?;
    if (200..300).contains(&status) { Ok(()) } else { Err(format!("{path}: {status} {answer}").into()) }
}

/// Three endpoints that no container uses, as Docker makes them before it starts one.
fn three_endpoints(world: &World, parent_mac: &str) -> Result {
    let addresses: Vec<String> = (1..=3).map(|n| endpoint(world, n)).collect::<Result<_>>()?;
    distinct_leases(world, parent_mac, &addresses);
    (1..=3).try_for_each(|n| forget(world, n))
}

/// Makes an endpoint as Docker would, and returns its address.
fn endpoint(world: &World, n: u8) -> Result<String> {
    let answer = create_endpoint(world, "lan", n, &json!({}))?;
    let interface = &answer["Interface"];
    assert!(interface["MacAddress"].as_str().is_none_or(str::is_empty), "{answer}");
    let address = interface["Address"].as_str().and_then(|address| address.split('/').next());
    Ok(address.ok_or_else(|| format!("no address: {answer}"))?.to_owned())
}

/// What Landline says to a request for an endpoint that it refuses.
fn refusal(world: &World, network: &str, interface: &Value) -> Result<String> {
    let answer = create_endpoint(world, network, 9, interface)?;
    Ok(answer["Err"].as_str().ok_or_else(|| format!("not refused: {answer}"))?.to_owned())
}

/// Differs from others in its first letters, as Docker's do.
fn endpoint_id(n: u8) -> String {
    n.to_string().repeat(64)
}

fn create_endpoint(world: &World, network: &str, n: u8, interface: &Value) -> Result<Value> {
    let id = world.host.docker_ok(&["network", "inspect", "--format", "{{.Id}}", network])?;
    let request =
        json!({"NetworkID": id, "EndpointID": endpoint_id(n), "Interface": interface, "Options": {}});
    let (_, answer) = world.daemon.request("/NetworkDriver.CreateEndpoint", &request.to_string())?;
    Ok(serde_json::from_str(&answer)?)
}

fn forget(world: &World, n: u8) -> Result {
    let request = json!({"NetworkID": "lan", "EndpointID": endpoint_id(n)});
    let (status, answer) = world.daemon.request("/NetworkDriver.DeleteEndpoint", &request.to_string())?;
    if status == 200 { Ok(()) } else { Err(answer.into()) }
}

pub(crate) fn leases_of(world: &World, addresses: &[String]) -> Vec<LeaseRow> {
    let leases = world.dhcp.leases().into_iter();
    leases.filter(|lease| addresses.contains(&lease.ip.to_string())).collect()
}

fn no_hardware_address_of_its_own(world: &World) -> Result {
    let refused = refusal(world, "lan", &json!({"MacAddress": "02:00:00:00:00:07"}))?;
    let sentence =
        "a container on an ipvlan network has the hardware address of eth0; leave out --mac-address";
    assert!(refused.starts_with(sentence), "{refused}");
    Ok(())
}

fn a_restart_keeps_the_address(world: &World, name: &str) -> Result {
    let address = addresses_of(world, &[name])?.remove(0);
    let client_id =
        |world: &World| leases_of(world, std::slice::from_ref(&address)).pop().map(|l| l.client_id);
    let id = client_id(world);
    post(world, &format!("/containers/{name}/restart?t=0"), "")?;
    assert_eq!(addresses_of(world, &[name])?, [address.as_str()]);
    assert_eq!(client_id(world), id);
    world.lan.peer().check(&["ping", "-c1", "-W5", &address])?;
    Ok(())
}

/// The kernel has one kind of children for a NIC.
fn no_macvlan_beside_it(world: &World) -> Result {
    world.network("mv", &["mode=macvlan", "parent=eth0"])?;
    let refused = refusal(world, "mv", &json!({}))?;
    let sentence =
        "eth0 cannot have macvlan children now: something else has taken it over, probably ipvlan children";
    assert!(refused.contains(sentence), "{refused}");
    world.host.docker_ok(&["network", "rm", "mv"])?;
    Ok(())
}

/// Kea's leases are for twenty seconds, so the container asks again after ten, from its own address.
fn a_lease_is_renewed(world: &World, name: &str) -> Result {
    let address = addresses_of(world, &[name])?.remove(0);
    let expiry = || leases_of(world, std::slice::from_ref(&address)).pop().map_or(0, |lease| lease.expiry);
    let first = expiry();
    wait_for("a renewal", SLOWLY, || expiry() > first)?;
    world.lan.peer().check(&["ping", "-c1", "-W5", &address])?;
    Ok(())
}

/// The first of the pool's two addresses is a neighbour's: its answer to the probe must be heard.
fn an_address_in_use_is_declined(world: &World) -> Result {
    world.lan.peer().check(&["ip", "address", "add", "192.0.2.150/32", "dev", "eth0"])?;
    assert_eq!(endpoint(world, 1)?, "192.0.2.151");
    assert!(world.dhcp.log().contains("DHCPDECLINE"), "{}", world.dhcp.log_tail());
    world.lan.peer().check(&["ip", "address", "del", "192.0.2.150/32", "dev", "eth0"])?;
    forget(world, 1)
}

/// The second endpoint is refused, and the first one's lease stays.
fn one_address_is_not_given_to_two(world: &World) -> Result {
    let address = endpoint(world, 1)?;
    let refused = refusal(world, "lan", &json!({}))?;
    let sentence = format!("another container has {address} on the same LAN");
    for part in [sentence.as_str(), "a server that tells clients apart by hardware address"] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    assert_eq!(leases_of(world, std::slice::from_ref(&address)).len(), 1, "{}", world.dhcp.log_tail());
    forget(world, 1)
}

fn remove(world: &World, containers: &[&str]) -> Result {
    world.host.docker_ok(&[&["rm", "-f"], containers].concat())?;
    Ok(())
}
