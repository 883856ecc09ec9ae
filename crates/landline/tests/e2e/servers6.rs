//! The IPv6 servers people run, beside dnsmasq (`dual.rs`) and radvd alone (`routers.rs`): Kea and ISC dhcpd, with a router
//! that says that they are there.

use landline_testbed::{DhcpServer, Dhcpd6, Dnsmasq, Kea6, Radvd, Reservation6, ServerConfig, wait_for};

use crate::kinds::Kind;
use crate::world::{Result, SOON, World, bare};

/// Seconds; T1 is half of it or less with either server.
const VALID: u32 = 16;
const RESERVED_MAC: &str = "02:42:c0:00:02:96";
const RESERVED: &str = "2001:db8:1::77";

#[test]
fn kea_leases_renews_and_takes_back() -> Result {
    serves(|reservations| Kea6 {
        preferred_lifetime: 12,
        valid_lifetime: VALID,
        renew: (4, 8),
        reservations,
        ..Kea6::default()
    })
}

#[test]
fn dhcpd_leases_renews_and_takes_back() -> Result {
    serves(|hosts| Dhcpd6 { lease_time: VALID, hosts, ..Dhcpd6::default() })
}

fn serves<S: ServerConfig>(server: impl Fn(Vec<Reservation6>) -> S) -> Result {
    let world = Kind::Macvlan.world(&Dnsmasq::default())?;
    let _router = world.lan.server_on(world.lan.router(), &Radvd::managed())?;
    let reserved = Reservation6 { duid: duid(RESERVED_MAC), ip: RESERVED.to_owned() };
    let six = world.lan.server_on(world.lan.router(), &server(vec![reserved]))?;
    world.network_of(Kind::Macvlan, "lan", &["ipv6=true", "release_after=1s"])?;

    // From the pool, and what was reserved for an identifier that goes by the hardware address.
    world.run("web", "lan", &["--rm"])?;
    let web = world.address6("web", "eth0", "2001:db8:1::1")?;
    world.is_reached6("web", &web)?;
    world.run("known", "lan", &["--mac-address", RESERVED_MAC])?;
    let known = world.address6("known", "eth0", "2001:db8:1::7")?;
    assert_eq!(bare(&known), RESERVED, "{}", six.log_tail());
    let first = granted(&six, &web).ok_or_else(|| format!("no lease of {web}: {:?}", six.leases()))?;

    // Longer than the lease was at first: it was renewed, and is the same.
    wait_for("a lease that was renewed twice", 8 * SOON, || {
        granted(&six, &web).is_some_and(|now| now >= first + u64::from(VALID))
    })
    .map_err(|error| format!("{error}\n{}\n{}", six.log_tail(), world.daemon.log()))?;
    assert_eq!(world.addresses6("web", "eth0")?.as_slice(), std::slice::from_ref(&web));
    world.is_reached6("web", &web)?;

    // An identity is the same to the server when its container starts again.
    world.host.docker_ok(&["restart", "-t0", "known"])?;
    assert_eq!(bare(&world.address6("known", "eth0", "2001:db8:1::7")?), RESERVED);

    world.host.docker_ok(&["rm", "-f", "web"])?;
    wait_for("the lease to be given back", SOON, || granted(&six, &web).is_none())
        .map_err(|error| format!("{error}\n{:?}\n{}", six.leases(), world.daemon.log()))?;
    Ok(())
}

fn duid(mac: &str) -> String {
    format!("00:03:00:01:{mac}")
}

/// When the lease of this address ends, in seconds of the wall clock.
fn granted(server: &DhcpServer, address: &str) -> Option<u64> {
    let address: std::net::Ipv6Addr = bare(address).parse().ok()?;
    Some(server.lease_at(address)?.expiry)
}

/// A router without a `DHCPv6` server, though it says there is one: the start does not wait for it longer than for nobody.
#[test]
fn a_router_that_promises_too_much_delays_no_start() -> Result {
    let world = World::bridge()?;
    let _router = world.lan.server_on(world.lan.router(), &Radvd::managed())?;
    world.network("lan", &["bridge=br0", "ipv6=true"])?;
    let start = std::time::Instant::now();
    world.run("web", "lan", &[])?;
    println!("docker run beside a server that does not answer: {:?}", start.elapsed());
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&world.address("web", "br00")?)])?;
    let told = world.ipv6("web", |ipv6| ipv6["state"] == "SOLICITING")?;
    assert_eq!(told["addresses"], serde_json::json!([]));
    Ok(())
}
