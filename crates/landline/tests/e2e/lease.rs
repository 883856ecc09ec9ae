//! The life of a lease: renewed at its server, extended by whoever answers, lost, and found again. The leases last
//! for seconds, so that all of it happens while somebody watches; on each host a veth and a macvlan live through it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use landline_testbed::{
    Capture, DhcpAudit, DhcpKind, DhcpMessage, Dnsmasq, Frame, Kea, Lan, Ra, Reservation, wait_for,
};

use crate::tools::{at_once, names, second_nic};
use crate::world::{Result, SOON, World, bare, binary};

/// Leases of eight seconds, to be renewed after four.
fn short() -> Kea {
    Kea { valid_lifetime: 8, renew: Some(4), rebind: Some(6), ..Kea::default() }
}

const LEASE: Duration = Duration::from_secs(8);

#[test]
fn renewals_go_to_the_server_from_the_containers_own_address() -> Result {
    let (world, capture, containers) = lives()?;
    for container in &containers {
        wait_for(format!("four renewals of {}", container.name), 4 * LEASE, || {
            container.extensions(&capture).len() >= 4
        })?;
    }
    let frames = capture.frames();
    let router = world.lan.router().mac("eth0")?;
    for container in &containers {
        let messages = container.messages(&capture);
        let (_, discover) =
            messages.iter().find(|(_, m)| m.kind() == Some(DhcpKind::Discover)).ok_or("DISCOVER")?;
        let mut xids = BTreeSet::new();
        let renewals = container.extensions(&capture);
        for (frame, renewal) in &renewals {
            assert_eq!(
                (frame.source(), frame.destination()),
                (container.mac.clone(), router.clone()),
                "{frame}"
            );
            let udp = frame.udp().ok_or("not UDP")?;
            assert_eq!(udp.source.to_string(), format!("{}:68", container.ip), "{frame}");
            assert_eq!(udp.destination.to_string(), "192.0.2.1:67", "{frame}");
            assert_eq!((renewal.ciaddr, renewal.broadcast), (container.ip, false), "{frame}");
            assert_eq!((renewal.options.get(&50), renewal.options.get(&54)), (None, None), "{frame}");
            assert_eq!(renewal.options.get(&61), discover.options.get(&61), "{frame}");
            assert!(xids.insert(renewal.xid), "the same transaction twice: {frame}");
        }
        assert!(!xids.contains(&discover.xid));
        assert!(discover.options.contains_key(&61), "{discover}");
        let acks =
            messages.iter().filter(|(_, m)| m.kind() == Some(DhcpKind::Ack) && xids.contains(&m.xid)).count();
        assert!(acks + 1 >= renewals.len(), "{acks} of {} renewals were answered", renewals.len());
        assert_eq!(container.address(&world)?, Some(container.ip));
        DhcpAudit::of(&frames, &container.mac).assert_clean();
    }
    // The containers' own IP stacks take the answers for theirs: nothing comes back as undeliverable.
    let complaints: Vec<_> =
        frames.iter().filter(|frame| protocol(frame) == Some(1)).map(ToString::to_string).collect();
    assert!(complaints.is_empty(), "ICMP after answers of the server:\n{}", complaints.join("\n"));
    Ok(())
}

#[test]
fn without_its_server_an_address_is_used_until_it_ends_and_not_longer() -> Result {
    let (mut world, capture, containers) = lives()?;
    world.dhcp.stop()?;
    let stopped = Instant::now();
    for container in &containers {
        wait_for(format!("the end of {}'s address", container.name), 3 * LEASE, || {
            container.address(&world).is_ok_and(|address| address.is_none())
        })?;
        assert!(stopped.elapsed() < LEASE + Duration::from_secs(3), "{} was kept too long", container.name);
        let lived = container.since_last_ack(&capture)?;
        // The first renewal may have waited for the link to be moved, and its lease counts from before.
        let seen = capture.lines().join("\n");
        assert!(lived + Duration::from_secs(2) > LEASE, "{} lived only {lived:?}:\n{seen}", container.name);

        let mut rebinds = container.extensions(&capture);
        rebinds.retain(|(frame, _)| is_broadcast(frame));
        assert!(!rebinds.is_empty(), "{} asked nobody else: {:#?}", container.name, capture.lines());
        for (frame, message) in rebinds {
            assert_eq!(frame.udp().map(|udp| udp.source.ip()), Some(container.ip.into()), "{frame}");
            assert_eq!((message.options.get(&50), message.options.get(&54)), (None, None), "{frame}");
        }
        assert_eq!(world.row(container.name)?["address"], serde_json::Value::Null);
    }

    world.dhcp.start()?;
    for container in &containers {
        let address = wait_for(format!("a new address of {}", container.name), SOON, || {
            container.address(&world).ok().flatten()
        })?;
        container.works_with(&world, address)?;
        DhcpAudit::of(&capture.frames(), &container.mac).assert_clean();
    }
    Ok(())
}

#[test]
fn a_refused_address_is_replaced_at_once() -> Result {
    let (mut world, capture, containers) = lives()?;
    // The pool moves, and the old addresses belong to others: that Kea refuses. About what it merely does not know
    // it keeps silent.
    let other = |c: &Container| {
        Reservation::new(format!("02:00:00:00:00:{:02x}", c.ip.octets()[3]), c.ip.to_string())
    };
    let reservations = containers.iter().map(other).collect();
    world.dhcp.reconfigure(&Kea { pool: Some("192.0.2.210-192.0.2.220".into()), reservations, ..short() })?;
    for container in &containers {
        let nak =
            capture.wait_for("NAK", LEASE, |frame| container.is_refused_in(frame).then_some(frame.time))?;
        let address = wait_for(format!("another address of {}", container.name), SOON, || {
            container.address(&world).ok().flatten().filter(|address| *address != container.ip)
        })?;
        let took = nak.elapsed()?;
        assert!(took < Duration::from_secs(4), "{} was without an address for {took:?}", container.name);
        assert!((210..=220).contains(&address.octets()[3]), "{address}");
        container.works_with(&world, address)?;
        assert_eq!(world.row(container.name)?["naks"], 1);
        DhcpAudit::of(&capture.frames(), &container.mac).assert_clean();
    }
    Ok(())
}

#[test]
fn an_idle_lease_holds_no_socket() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    // Docker keeps the connection to the driver open; it is not an endpoint's.
    world.run("first", "lan", &[])?;
    world.host.docker_ok(&["rm", "-f", "first"])?;
    let without = world.daemon.fds();

    let containers = names("c", 5);
    for name in &containers {
        world.run(name, "lan", &[])?;
    }
    // One socket on the bridge, and one on its NIC, listen for all of them.
    wait_for("as few descriptors as without containers", 2 * SOON, || world.daemon.fds() <= without + 2)
        .map_err(|error| format!("{error} ({without}): {:#?}", world.daemon.fd_list()))?;
    at_once(&containers, |name| {
        let tables =
            world.host.in_container(name, &["cat", "/proc/net/packet", "/proc/net/raw", "/proc/net/udp"])?;
        // Docker's own resolver listens on 127.0.0.11.
        let ours = tables.lines().filter(|line| !line.contains(" 0B00007F:")).count();
        assert_eq!(ours, 3, "more than the three headings: {tables}");
        Ok(())
    })
}

/// A host with a veth and a macvlan container, and everything the DHCP server hears and says.
fn lives() -> Result<(World, Capture, Vec<Container>)> {
    let lan = Lan::new()?;
    let dhcp = lan.kea(short())?;
    let host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    second_nic(&lan, &host)?;
    let world = World::start(lan, dhcp, host)?;
    world.network("bridged", &["bridge=br0"])?;
    world.network("direct", &["mode=macvlan", "parent=eth1"])?;

    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68 or icmp")?;
    at_once(&names("c", 2), |name| world.run(name, if name == "c0" { "bridged" } else { "direct" }, &[]))?;
    let containers = [("c0", "br00"), ("c1", "eth0")]
        .into_iter()
        .map(|(name, interface)| {
            let ip = bare(&world.address(name, interface)?).parse()?;
            Ok(Container { name, interface, mac: world.mac(name, interface)?, ip })
        })
        .collect::<Result<_>>()?;
    Ok((world, capture, containers))
}

struct Container {
    name: &'static str,
    interface: &'static str,
    mac: String,
    /// Its first address.
    ip: Ipv4Addr,
}

impl Container {
    /// What it and the server said to each other.
    fn messages(&self, capture: &Capture) -> Vec<(Frame, DhcpMessage)> {
        capture.dhcp().into_iter().filter(|(_, message)| message.client_mac() == self.mac).collect()
    }

    /// Its requests for more time, sent from its address.
    fn extensions(&self, capture: &Capture) -> Vec<(Frame, DhcpMessage)> {
        let messages = self.messages(capture).into_iter();
        messages.filter(|(_, m)| m.kind() == Some(DhcpKind::Request) && !m.ciaddr.is_unspecified()).collect()
    }

    fn since_last_ack(&self, capture: &Capture) -> Result<Duration> {
        let messages = self.messages(capture);
        let mut latest_first = messages.iter().rev();
        let ack = latest_first.find(|(_, message)| message.kind() == Some(DhcpKind::Ack));
        let (last, _) = ack.ok_or("never an ACK")?;
        Ok(last.time.elapsed()?)
    }

    fn is_refused_in(&self, frame: &Frame) -> bool {
        frame.dhcp().is_some_and(|m| m.kind() == Some(DhcpKind::Nak) && m.client_mac() == self.mac)
    }

    /// The address it has now.
    fn address(&self, world: &World) -> Result<Option<Ipv4Addr>> {
        let addresses = world.host.container_addresses(self.name, self.interface)?;
        match addresses.as_slice() {
            [] => Ok(None),
            [IpAddr::V4(address)] => Ok(Some(*address)),
            more => Err(format!("{} has more than one address: {more:?}", self.name).into()),
        }
    }

    /// The LAN can be reached with this address, and reaches it; the listing knows.
    fn works_with(&self, world: &World, address: Ipv4Addr) -> Result {
        let route = format!("default via 192.0.2.1 dev {}", self.interface);
        wait_for(format!("the default route of {}", self.name), SOON, || {
            world.host.in_container(self.name, &["ip", "route"]).is_ok_and(|routes| routes.contains(&route))
        })?;
        world.lan.peer().check(&["ping", "-c1", "-W5", &address.to_string()])?;
        // Beyond the router: through the default route.
        world.host.in_container(self.name, &["ping", "-c1", "-W5", landline_testbed::BEYOND_V4])?;
        assert_eq!(world.row(self.name)?["address"], format!("{address}/24"));
        Ok(())
    }
}

fn is_broadcast(frame: &Frame) -> bool {
    frame.destination() == "ff:ff:ff:ff:ff:ff"
        && frame.udp().is_some_and(|udp| udp.destination.ip() == Ipv4Addr::BROADCAST)
}

fn protocol(frame: &Frame) -> Option<u8> {
    frame.ip().map(|(_, _, protocol, _)| protocol)
}

#[test]
fn a_lease_is_given_back_when_that_is_asked_for() -> Result {
    let mut world = World::bridge_with(Dnsmasq { ra: Ra::Stateful, ..Dnsmasq::default() })?;
    world.network("lan", &["bridge=br0", "ipv6=true"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    let (address, mac) = (world.address("web", "br00")?, world.mac("web", "br00")?);
    let v6 = world.address6("web", "br00", "2001:db8:1::1")?;
    wait_for("the lease", SOON, || world.dhcp.lease_of(&mac))?;
    world.host.landline_ok(binary(), &["lease", "release", "web"])?;
    wait_for("the address to be gone", SOON, || world.address("web", "br00").is_err())?;
    wait_for("the lease to be gone", SOON, || world.dhcp.lease_of(&mac).is_none())?;
    wait_for("the IPv6 address to be gone", SOON, || {
        world.addresses6("web", "br00").is_ok_and(|all| all.iter().all(|net| !net.starts_with("2001:")))
    })?;
    assert!(
        world.routes("web")?.iter().all(|route| !route.starts_with("default")),
        "{:?}",
        world.routes("web")?
    );
    let row = world.row("web")?;
    assert!(row["state"] == "STOPPED" && row["address"].is_null(), "{row}");

    world.host.landline_ok(binary(), &["lease", "renew", "web"])?;
    wait_for("the address again", SOON, || world.address("web", "br00").is_ok_and(|now| now == address))?;
    wait_for("the IPv6 address again", SOON, || {
        world.addresses6("web", "br00").is_ok_and(|all| all.contains(&v6))
    })?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;

    // What is remembered of a stopped one, and then it is not used before the server has said so again.
    world.host.docker_ok(&["stop", "-t0", "web"])?;
    wait_for("the lease of the stopped container", SOON, || world.dhcp.lease_of(&mac))?;
    world.host.landline_ok(binary(), &["lease", "release", "web", "lan"])?;
    wait_for("the stopped container's lease to be gone", SOON, || world.dhcp.lease_of(&mac).is_none())?;
    world.dhcp.stop()?;
    assert!(world.host.docker_ok(&["start", "web"]).is_err(), "there is no lease to start with");
    world.dhcp.start()?;
    world.host.docker_ok(&["start", "web"])?;
    assert_eq!(world.address("web", "br00")?, address);
    assert!(world.host.landline_ok(binary(), &["lease", "release", "nobody"]).is_err());
    Ok(())
}
