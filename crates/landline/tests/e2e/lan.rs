//! A container is a machine of the LAN like any other: broadcast, multicast, services, names.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use landline_testbed::{Dnsmasq, PEER_V4, wait_for};

use crate::kinds::Kind;
use crate::sockets::{Place, hears};
use crate::world::{Result, SOON, World, bare};

/// Where multicast DNS talks (RFC 6762 section 3).
const MDNS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);
/// Everybody on this link (RFC 919).
const EVERYONE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 7007);
/// Everybody on this network.
const SUBNET: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 255), 7007);

/// How soon the server should know a name; how soon it must, on a machine that is busy with other tests.
const NAMED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

#[test]
fn bridge_container_is_heard_seen_and_named() -> Result {
    heard_seen_and_named(Kind::Bridge)
}

#[test]
fn macvlan_container_is_heard_seen_and_named() -> Result {
    heard_seen_and_named(Kind::Macvlan)
}

fn heard_seen_and_named(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    world.network_of(kind, "lan", &[])?;

    world.host.docker_ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "lan",
        "--hostname",
        "webhost",
        "box",
        "httpd",
        "-f",
        "-h",
        "/www",
    ])?;
    the_server_learns(&world, "web", kind, "webhost")?;

    // Nobody gave this one a host name, and Docker's invention (the id's first digits) helps nobody.
    world.run("quiet-one", "lan", &[])?;
    the_server_learns(&world, "quiet-one", kind, "quiet-one")?;

    let address = world.address("web", kind.interface())?;
    let page = world.lan.peer().check(&["curl", "-sS", "-m", "5", &format!("http://{}/", bare(&address))])?;
    assert!(page.contains("A container on the LAN."), "{page}");

    let container = Place::container(&world.host, "web", bare(&address))?;
    let peer = Place { netns: world.lan.peer().netns_path(), address: PEER_V4.parse()? };
    for group in [MDNS, EVERYONE, SUBNET] {
        hears(&peer, &container, group)?;
        hears(&container, &peer, group)?;
    }
    Ok(())
}

/// The server has the container's hardware address in its log and its name in the lease table, soon after
/// `docker run` has returned.
fn the_server_learns(world: &World, container: &str, kind: Kind, name: &str) -> Result {
    let up = Instant::now();
    let mut row = None;
    let learnt = wait_for(format!("the name {name} at the server"), SOON, || {
        row = world.dhcp.leases().into_iter().find(|lease| lease.hostname.as_deref() == Some(name));
        row.is_some()
    });
    let took = up.elapsed();
    learnt.map_err(|error| format!("{error}; the server has {:?}", world.dhcp.leases()))?;
    println!("{kind:?}: the server knew {name} {} ms after docker run returned", took.as_millis());
    let (should, must) = NAMED;
    if took > should {
        println!("that is late: {should:?} were promised");
    }
    assert!(took < must, "{name} was at the server only after {took:?}");

    let row = row.ok_or("no row")?;
    assert_eq!(row.mac, world.mac(container, kind.interface())?);
    assert_eq!(row.ip.to_string(), bare(&world.address(container, kind.interface())?));
    let log = world.dhcp.log();
    assert!(log.contains(&row.mac), "the server's log has no {}:\n{}", row.mac, world.dhcp.log_tail());
    Ok(())
}
