//! A host that is switched off and on, and a Docker that is: containers come up by themselves, as they were.

use std::time::Duration;

use landline_testbed::{DhcpKind, Dnsmasq, Dockerd, Lan, Node, Ra, Signal, wait_for};

use crate::tools::{at_once, second_nic, start_daemon};
use crate::world::{Result, SOON, World, bare, binary};

/// What starts by itself: exact by key or hardware address, or the only one with such ports.
const CONTAINERS: [(&str, &[&str]); 5] = [
    ("key0", &["--network", "name=bridged,driver-opt=landline.id=key0"]),
    ("key1", &["--network", "name=bridged,driver-opt=landline.id=key1"]),
    ("web", &["--network", "bridged", "--expose", "80"]),
    ("mac0", &["--network", "direct", "--mac-address", "02:00:00:00:02:00"]),
    ("key2", &["--network", "name=direct,driver-opt=landline.id=key2"]),
];

/// How late what is late comes: `LANDLINE_TEST_LATE` seconds, or 3. Three minutes are worth a try by hand now and then:
/// `LANDLINE_TEST_LATE=180 cargo test -p landline --test e2e -- boot::a_nic boot::a_router`.
fn late() -> Duration {
    let given = std::env::var("LANDLINE_TEST_LATE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(given.unwrap_or(3))
}

fn interface(container: &str) -> &'static str {
    if ["mac0", "key2"].contains(&container) { "eth0" } else { "br00" }
}

fn names() -> Vec<String> {
    CONTAINERS.map(|(name, _)| name.to_owned()).to_vec()
}

/// What a host has that does not survive switching it off.
fn wire(lan: &Lan, host: &impl AsRef<Node>) -> Result {
    host.as_ref().make_bridge("br0", Some("192.0.2.10/24"))?;
    second_nic(lan, host)
}

/// A network on a bridge, one on a NIC, and the containers above, which Docker starts whenever it can.
fn world(options: &[&str]) -> Result<World> {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq { ra: Ra::Both, ..Dnsmasq::default() })?;
    let host = lan.docker_host("host1")?;
    wire(&lan, &host)?;
    let world = World::start(lan, dhcp, host)?;
    world.network("bridged", &[&["bridge=br0", "ipv6=true"], options].concat())?;
    world.network("direct", &[&["mode=macvlan", "parent=eth1", "ipv6=true"], options].concat())?;
    at_once(&names(), |name| {
        let (_, args) = CONTAINERS.iter().find(|(other, _)| *other == name).ok_or("no such container")?;
        let command = [
            &["run", "-d", "--restart=always", "--stop-signal=KILL", "--name", name],
            *args,
            &["box", "sleep", "infinity"],
        ];
        Ok(world.host.docker_ok(&command.concat()).map(drop)?)
    })?;
    Ok(world)
}

/// What is to stay: the addresses of a container and its hardware address.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    address: String,
    /// One leased, one autoconfigured.
    ipv6: Vec<String>,
    mac: String,
}

/// What there is of each container, once they are known by name.
fn seen(world: &World) -> Result<Vec<Seen>> {
    let one = |name: &String| -> Result<Seen> {
        world.row(name)?;
        let ipv6 = wait_for(format!("both IPv6 addresses of {name}"), SOON, || {
            let mut all = world.addresses6(name, interface(name)).ok()?;
            all.sort();
            (all.len() == 2).then_some(all)
        })?;
        Ok(Seen {
            address: world.address(name, interface(name))?,
            ipv6,
            mac: world.mac(name, interface(name))?,
        })
    };
    names().iter().map(one).collect()
}

/// All containers come up by themselves as they were, and answer.
fn all_are_back(world: &World, before: &[Seen]) -> Result {
    let now = wait_for("all containers", 2 * SOON, || {
        names()
            .iter()
            .all(|name| world.address(name, interface(name)).is_ok())
            .then(|| seen(world).ok())
            .flatten()
    })
    .map_err(|error| format!("{error}\n{}\n{}", world.daemon.log(), world.host.dockerd_log()))?;
    assert_eq!(now, before, "{}", world.daemon.log());
    let addresses: Vec<String> = now
        .iter()
        .flat_map(|seen| seen.ipv6.iter().chain([&seen.address]))
        .map(|address| bare(address).to_owned())
        .collect();
    at_once(&addresses, |address| Ok(world.lan.peer().check(&["ping", "-c1", "-W5", address]).map(drop)?))?;
    let rows = world.ls()?["endpoints"].as_array().map(Vec::len);
    assert_eq!(rows, Some(CONTAINERS.len()), "{:#}", world.ls()?);
    // One of each family.
    let leases = world.dhcp.leases();
    let six = leases.iter().filter(|lease| lease.ip.is_ipv6()).count();
    assert_eq!((leases.len() - six, six), (CONTAINERS.len(), CONTAINERS.len()), "{leases:#?}");
    Ok(())
}

#[test]
fn a_host_that_boots_has_its_containers_back() -> Result {
    let mut world = world(&[])?;
    let before = seen(&world)?;

    // The daemon first, and then Docker.
    world.host.reboot()?;
    wire(&world.lan, &world.host)?;
    world.daemon = start_daemon(&world.host)?;
    world.host.dockerd(Dockerd::default())?;
    all_are_back(&world, &before)?;

    // Docker first: the service manager has the socket, and the daemon is started by the first request to it.
    world.host.reboot()?;
    wire(&world.lan, &world.host)?;
    world.daemon = world.host.landline_on_demand(binary(), &[], &[])?;
    world.host.dockerd(Dockerd::default())?;
    all_are_back(&world, &before)
}

#[test]
fn a_router_that_boots_slower_than_the_host_is_not_missed() -> Result {
    let mut world = world(&["lease_timeout=2s"])?;
    let before = seen(&world)?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;

    world.dhcp.stop()?;
    world.host.reboot()?;
    wire(&world.lan, &world.host)?;
    world.daemon = world.host.landline_on_demand(binary(), &[], &[])?;
    world.host.dockerd(Dockerd::default())?;
    // Nobody has confirmed them, but the leases are not over.
    wait_for("the containers without a server", 2 * SOON, || {
        names().iter().all(|name| world.address(name, interface(name)).is_ok())
    })
    .map_err(|error| format!("{error}\n{}\n{}", world.daemon.log(), world.host.dockerd_log()))?;
    let granted = || {
        let acks = capture.dhcp().into_iter().filter(|(_, message)| message.kind() == Some(DhcpKind::Ack));
        acks.map(|(_, message)| message.client_mac()).collect::<Vec<_>>()
    };
    // The delay is what is tested.
    std::thread::sleep(late());
    assert_eq!(granted(), Vec::<String>::new(), "there was no server");
    world.dhcp.start()?;
    wait_for("the server's word for each of them", 4 * SOON, || {
        let granted = granted();
        before.iter().all(|seen| granted.contains(&seen.mac))
    })
    .map_err(|error| format!("{error}\n{}\n{}", capture.lines().join("\n"), world.daemon.log()))?;
    all_are_back(&world, &before)
}

#[test]
fn a_nic_that_comes_late_is_waited_for() -> Result {
    let patience = format!("lease_timeout={}s", 2 * late().as_secs() + 10);
    let mut world = world(&[&patience])?;
    let before = seen(&world)?;

    world.host.reboot()?;
    world.daemon = start_daemon(&world.host)?;
    std::thread::scope(|scope| {
        let World { host, lan, .. } = &mut world;
        let (node, lan) = (host.node().clone(), &*lan);
        let late = scope.spawn(move || -> std::result::Result<(), String> {
            // The delay is what is tested.
            std::thread::sleep(late());
            wire(lan, &node).map_err(|error| error.to_string())
        });
        host.dockerd(Dockerd::default())?;
        late.join().map_err(|_| "panicked")??;
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    all_are_back(&world, &before)
}

#[test]
fn docker_restarts_its_containers_as_they_were() -> Result {
    let mut world = world(&[])?;
    let before = seen(&world)?;
    for (live_restore, signal) in [(false, Signal::TERM), (false, Signal::KILL), (true, Signal::KILL)] {
        let pids = |world: &World| -> Result<Vec<u32>> {
            names().iter().map(|name| Ok(world.host.container_pid(name)?)).collect()
        };
        if live_restore {
            world.host.dockerd_stop(Signal::TERM)?;
            world.host.dockerd(Dockerd { live_restore, ..Dockerd::default() })?;
            all_are_back(&world, &before)?;
        }
        let running = pids(&world)?;
        world.host.dockerd_stop(signal)?;
        world.host.dockerd_start()?;
        all_are_back(&world, &before)
            .map_err(|error| format!("live-restore {live_restore}, {signal:?}: {error}"))?;
        assert_eq!(pids(&world)? == running, live_restore, "{signal:?}");
    }
    Ok(())
}
