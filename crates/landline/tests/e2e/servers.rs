//! The DHCP servers that people run, as they come: who asks through Landline gets what any machine would. What was sent
//! is held against the RFCs at the server's side.

use std::net::Ipv4Addr;
use std::time::Duration;

use landline_testbed::{
    DhcpAudit, DhcpKind, DhcpMessage, DhcpRelay, Dhcpd, Dnsmasq, FakeServer, Frame, Kea, Lan, Purpose, Reply,
    Reservation, ServerConfig, Udhcpd, wait_for,
};
use serde_json::json;

use crate::kinds::Kind;
use crate::tools::names;
use crate::world::{Result, SOON, bare};

const BY_MAC: (&str, &str) = ("02:42:c0:00:02:4d", "192.0.2.77");
const BY_CLIENT_ID: (&str, &str) = ("00:6c:61:6e", "192.0.2.78");
/// Four addresses, for four of five containers.
const POOL: (&str, &str) = ("192.0.2.100", "192.0.2.103");
/// Renewed after ten seconds.
const LEASE: u32 = 20;

/// A make of server, and what is different about it.
struct Make {
    server: Box<dyn ServerConfig>,
    /// It has a reservation for a client identifier.
    knows_client_ids: bool,
}

fn pool() -> (String, String) {
    (POOL.0.to_owned(), POOL.1.to_owned())
}

fn by_mac() -> Vec<Reservation> {
    vec![Reservation::new(BY_MAC.0, BY_MAC.1)]
}

/// Its shortest lease is two minutes; that it wants to hear again after ten seconds it can say.
fn dnsmasq(no_ping: bool) -> Make {
    let (id, ip) = BY_CLIENT_ID;
    let extra = vec![format!("--dhcp-host=id:{id},{ip}")];
    let mut options = Dnsmasq::default().options;
    options.push("option:T1,10".to_owned());
    let hosts = by_mac();
    let server = Dnsmasq {
        range: pool(),
        lease_time: "120".to_owned(),
        no_ping,
        hosts,
        options,
        extra,
        ..Dnsmasq::default()
    };
    Make { server: Box::new(server), knows_client_ids: true }
}

#[test]
fn dnsmasq_as_it_comes() -> Result {
    serves_as_any_machine_is_served(&dnsmasq(false))
}

#[test]
fn dnsmasq_that_does_not_ping() -> Result {
    serves_as_any_machine_is_served(&dnsmasq(true))
}

#[test]
fn kea() -> Result {
    let (id, ip) = BY_CLIENT_ID;
    let mut server =
        Kea { valid_lifetime: LEASE, pool: Some(format!("{}-{}", POOL.0, POOL.1)), ..Kea::default() };
    server.reservations = by_mac();
    server
        .extra
        .insert("reservations".to_owned(), json!([{"client-id": id.replace(':', ""), "ip-address": ip}]));
    server.extra.insert("reservations-global".to_owned(), json!(true));
    server.extra.insert("reservations-in-subnet".to_owned(), json!(true));
    serves_as_any_machine_is_served(&Make { server: Box::new(server), knows_client_ids: true })
}

#[test]
fn isc_dhcpd() -> Result {
    let host = |what: &str, ip: &str| format!("host h{} {{ {what}; fixed-address {ip}; }}\n", &ip[8..]);
    let extra = host(&format!("hardware ethernet {}", BY_MAC.0), BY_MAC.1)
        + &host(&format!("option dhcp-client-identifier {}", BY_CLIENT_ID.0), BY_CLIENT_ID.1);
    let server = Dhcpd { range: pool(), lease_time: LEASE, extra };
    serves_as_any_machine_is_served(&Make { server: Box::new(server), knows_client_ids: true })
}

#[test]
fn busybox_udhcpd() -> Result {
    // It gives as many leases as its pool has addresses, and those of reservations are among them.
    let range = (POOL.0.to_owned(), "192.0.2.104".to_owned());
    let server = Udhcpd { range, lease_time: LEASE, hosts: by_mac(), ..Udhcpd::default() };
    serves_as_any_machine_is_served(&Make { server: Box::new(server), knows_client_ids: false })
}

/// Fresh addresses in the default time, reservations, the name, a pool that is full and then is not, a renewal.
fn serves_as_any_machine_is_served(make: &Make) -> Result {
    let world = Kind::Bridge.world_on(Lan::new()?, &*make.server)?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;
    world.network_of(Kind::Bridge, "lan", &[])?;
    world.network_of(Kind::Bridge, "hasty", &["lease_timeout=5s"])?;

    // They come one after the other: a server that pings does nothing else meanwhile.
    world.run("web", "lan", &["--rm", "--hostname", "shop"])?;
    let mac = world.mac("web", "br00")?;
    world.run("reserved", "lan", &["--rm", "--mac-address", BY_MAC.0])?;
    assert_eq!(bare(&world.address("reserved", "br00")?), BY_MAC.1);
    if make.knows_client_ids {
        let (id, ip) = BY_CLIENT_ID;
        let network = format!("name=lan,driver-opt=client_id=hex:{id}");
        world.run("identified", &network, &["--rm"])?;
        assert_eq!(bare(&world.address("identified", "br00")?), ip);
    }
    for name in names("c", 3) {
        let shown = |error| format!("{error}\n{}", world.dhcp.log_tail());
        world.run(&name, "lan", &["--rm"]).map_err(shown)?;
    }
    for name in names("c", 3).iter().map(String::as_str).chain(["web"]) {
        let address: Ipv4Addr = bare(&world.address(name, "br00")?).parse()?;
        assert!((100..=104).contains(&address.octets()[3]), "{name} has {address}");
    }
    wait_for("the name in the lease", SOON, || {
        world.dhcp.lease_of(&mac).is_some_and(|lease| lease.hostname.as_deref() == Some("shop"))
    })
    .map_err(|error| format!("{error}: {:#?}", world.dhcp.leases()))?;

    // The pool is full.
    let output = world.host.docker(&["run", "--rm", "--network", "hasty", "box", "true"]);
    let sentence = "network hasty: no DHCP server offered an address on br0 within 5 s";
    assert!(!output.success() && output.stderr.contains(sentence), "{}", output.stderr);
    let given_back = world.mac("c1", "br00")?;
    world.host.docker_ok(&["rm", "-f", "c1"])?;
    capture.wait_for("the release", SOON, |frame| said(frame, &given_back, DhcpKind::Release))?;
    world.run("late", "lan", &["--rm"])?;

    let first = capture.wait_for("the first lease", SOON, |frame| said(frame, &mac, DhcpKind::Ack))?;
    let renewed = |frame: &Frame| said(frame, &mac, DhcpKind::Ack).filter(|ack| ack.xid != first.xid);
    capture.wait_for("a renewal", 2 * SOON, renewed)?;
    wait_for("a renewal of each", SOON, || {
        let frames = capture.frames();
        ["web", "c0", "late"].iter().all(|name| {
            let Ok(mac) = world.mac(name, "br00") else { return false };
            DhcpAudit::of(&frames, &mac).sent(Purpose::Renew) > 0
        })
    })?;
    for name in ["web", "reserved", "c0", "late"] {
        DhcpAudit::of(&capture.frames(), &world.mac(name, "br00")?).assert_clean();
    }
    DhcpAudit::of(&capture.frames(), &given_back).assert_clean();
    Ok(())
}

/// The message of this kind from or to a client.
fn said(frame: &Frame, mac: &str, kind: DhcpKind) -> Option<DhcpMessage> {
    frame.dhcp().filter(|message| message.client_mac() == mac && message.kind() == Some(kind))
}

#[test]
fn two_servers_a_list_of_those_allowed_and_a_stranger() -> Result {
    let lan = Lan::new()?;
    let second = lan.add_node("second", "192.0.2.3/24")?;
    let kea = |pool: &str| Kea { valid_lifetime: 8, pool: Some(pool.to_owned()), ..Kea::default() };
    let _second = lan.server_on(&second, &kea("192.0.2.150-192.0.2.160"))?;
    let world = Kind::Bridge.world_on(lan, &kea("192.0.2.100-192.0.2.110"))?;
    let capture = world.lan.capture(world.lan.switch(), "sw", "udp port 67 or udp port 68")?;
    world.network_of(Kind::Bridge, "lan", &[])?;
    world.network_of(Kind::Bridge, "picky", &["dhcp_servers=192.0.2.3"])?;
    world.network_of(Kind::Bridge, "wary", &["dhcp_deny_servers=192.0.2.1"])?;

    world.run("any", "lan", &["--rm"])?;
    world.run("second", "picky", &["--rm"])?;
    let address = |name: &str| -> Result<Ipv4Addr> { Ok(bare(&world.address(name, "br00")?).parse()?) };
    let (any, picked) = (address("any")?, address("second")?);
    assert!((100..=160).contains(&any.octets()[3]), "{any}");
    assert!((150..=160).contains(&picked.octets()[3]), "{picked}");

    world.run("wary", "wary", &["--rm"])?;
    let wary = address("wary")?;
    assert!((150..=160).contains(&wary.octets()[3]), "{wary}");
    world.host.docker_ok(&["rm", "-f", "wary"])?;

    // Somebody offers first, what nobody can use to one and what it has not to give to the other, and refuses
    // whatever others grant.
    let stranger = Ipv4Addr::new(192, 0, 2, 2);
    let _stranger = FakeServer::start(world.lan.peer(), stranger, move |message| {
        let offer =
            |address| Reply::now(&DhcpMessage::grant(message, DhcpKind::Offer, stranger, address, 600));
        match message.kind() {
            Some(DhcpKind::Discover) => {
                vec![offer(Ipv4Addr::BROADCAST), offer(Ipv4Addr::LOCALHOST), offer(Ipv4Addr::UNSPECIFIED)]
            }
            Some(DhcpKind::Request) => {
                let nak = DhcpMessage::answer(message, DhcpKind::Nak, stranger);
                let after = [0, 1, 5, 20].map(Duration::from_millis);
                after.map(|after| Reply::late(after, &nak)).to_vec()
            }
            _ => Vec::new(),
        }
    })?;
    world.run("calm", "lan", &["--rm"])?;
    let calm = address("calm")?;
    let seen = capture.frames().len();
    for (name, address) in [("any", any), ("second", picked), ("calm", calm)] {
        let mac = world.mac(name, "br00")?;
        capture.wait_for(&format!("two more renewals of {name}"), 4 * SOON, |_| {
            let frames = capture.frames();
            let acks = frames[seen..].iter().filter(|frame| said(frame, &mac, DhcpKind::Ack).is_some());
            (acks.count() >= 2).then_some(())
        })?;
        assert_eq!(bare(&world.address(name, "br00")?), address.to_string(), "{name}");
        assert_eq!(world.row(name)?["naks"], 0, "{name}");
        DhcpAudit::of(&capture.frames(), &mac).assert_clean();
    }
    Ok(())
}

#[test]
fn a_server_behind_a_relay() -> Result {
    let lan = Lan::new()?;
    let far = lan.add_far_node("far")?;
    let server = lan.server_on(&far, &Kea { valid_lifetime: LEASE, ..Kea::default() })?;
    let world = Kind::Bridge.world_on(lan, &DhcpRelay::default())?;
    let here = world.lan.capture(world.lan.switch(), "sw", "udp port 67 or udp port 68")?;
    let there = world.lan.capture(&far, "eth0", "udp port 67 or udp port 68")?;
    world.network_of(Kind::Bridge, "lan", &[])?;
    world.run("web", "lan", &["--rm"])?;
    let (mac, address) = (world.mac("web", "br00")?, world.address("web", "br00")?);
    let address: Ipv4Addr = bare(&address).parse()?;
    assert_eq!(server.lease_at(address).map(|row| row.mac), Some(mac.clone()));

    let discover = there.wait_for("DISCOVER", SOON, |frame| said(frame, &mac, DhcpKind::Discover))?;
    assert_eq!(discover.giaddr.to_string(), landline_testbed::ROUTER_V4);
    // From the container itself, past the relay, and answered to it.
    let renewal = |frame: &Frame| {
        let udp = frame.udp()?;
        let from = udp.source.to_string() == format!("{address}:68");
        said(frame, &mac, DhcpKind::Request).filter(|_| from)
    };
    let request = there.wait_for("a renewal", 2 * SOON, renewal)?;
    assert_eq!((request.giaddr, request.ciaddr), (Ipv4Addr::UNSPECIFIED, address));
    there.wait_for("its ACK", SOON, |frame| {
        said(frame, &mac, DhcpKind::Ack).filter(|ack| ack.xid == request.xid)
    })?;

    world.host.docker_ok(&["rm", "-f", "web"])?;
    there.wait_for("the release", SOON, |frame| said(frame, &mac, DhcpKind::Release))?;
    wait_for("the end of the lease", SOON, || server.lease_at(address).is_none())?;
    DhcpAudit::of(&here.frames(), &mac).assert_clean();
    Ok(())
}
