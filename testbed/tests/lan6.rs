//! What speaks IPv6 on the LAN: servers hand out addresses, routers announce what they were told to.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use landline_testbed::{
    BEYOND_V6, DhcpServer, Dhcpd6, Dnsmasq, Frame, Kea6, Lan, Node, Ra, RaPrefix, Radvd, Reservation6,
    Result, ServerConfig, wait_for,
};

const SOON: Duration = Duration::from_secs(15);
/// A DUID-LL for `client`, as one writes it in a reservation.
const DUID: &str = "00:03:00:01:02:00:00:00:00:0a";
const RESERVED: &str = "2001:db8:1::77";

/// `dhclient -6`: asks for an address, and takes note of what it got without touching the interface.
fn dhclient6(client: &Node, duid: &str) -> Result<IpAddr> {
    let leases = client.dir().join("dhclient6.leases");
    let octets = duid.split(':').filter_map(|octet| u8::from_str_radix(octet, 16).ok());
    let octal: Vec<String> = octets.map(|octet| format!("\\{octet:03o}")).collect();
    fs::write(&leases, format!("default-duid \"{}\";\n", octal.concat())).expect("a lease file");
    let path = leases.display().to_string();
    let argv =
        ["dhclient", "-6", "-1", "-d", "-q", "-sf", "/bin/true", "-lf", &path, "-pf", "/dev/null", "eth0"];
    let _process = client.spawn(&argv)?;
    let mut address = None;
    wait_for("dhclient to be bound", SOON, || {
        let text = fs::read_to_string(&leases).unwrap_or_default();
        let line = text.lines().rev().find_map(|line| line.trim().strip_prefix("iaaddr "));
        address = line.and_then(|line| line.split(' ').next()?.parse().ok());
        address.is_some()
    })?;
    Ok(address.expect("just seen"))
}

/// Addresses from the pool and one reserved, and a lease file that can be read.
fn hands_out(config: impl Fn(Vec<Reservation6>) -> Box<dyn ServerConfig>) -> Result<(Lan, DhcpServer)> {
    let lan = Lan::new()?;
    let client = lan.add_node_without_address("client")?;
    let mut server = lan.server_on(lan.router(), &*config(Vec::new()))?;
    let address = dhclient6(&client, DUID)?;
    assert!(address.to_string().starts_with("2001:db8:1::1"), "{address}");
    let rows = wait_for("the lease on disk", SOON, || {
        Some(server.leases_of_client(DUID)).filter(|rows| !rows.is_empty())
    })?;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].ip, address);
    assert!(rows[0].iaid.is_some());
    assert_eq!(server.lease_at(address).as_ref(), rows.first());

    server.reconfigure(&*config(vec![Reservation6 { duid: DUID.to_owned(), ip: RESERVED.to_owned() }]))?;
    server.forget_leases()?;
    assert_eq!(dhclient6(&client, DUID)?.to_string(), RESERVED, "{}", server.log_tail());
    Ok((lan, server))
}

#[test]
fn kea6_hands_out_addresses() -> Result<()> {
    hands_out(|reservations| Box::new(Kea6 { reservations, ..Kea6::default() })).map(drop)
}

#[test]
fn isc_dhcpd6_hands_out_addresses() -> Result<()> {
    hands_out(|hosts| Box::new(Dhcpd6 { hosts, ..Dhcpd6::default() })).map(drop)
}

#[test]
fn dnsmasq_hands_out_addresses_and_announces_them() -> Result<()> {
    let (lan, _server) =
        hands_out(|hosts6| Box::new(Dnsmasq { ra: Ra::Stateful, hosts6, ..Dnsmasq::default() }))?;
    assert_eq!(announced(&lan)?.flags, MANAGED | OTHER);
    Ok(())
}

#[test]
fn dnsmasq_hands_out_addresses_and_announces_nothing() -> Result<()> {
    let (lan, _server) =
        hands_out(|hosts6| Box::new(Dnsmasq { ra: Ra::Silent, hosts6, ..Dnsmasq::default() }))?;
    let capture = lan.capture(lan.switch(), "sw", "icmp6")?;
    solicit(&lan)?;
    let asked = |frame: &Frame| (icmp6(frame)?.first() == Some(&133)).then_some(());
    capture.wait_for("a solicitation", SOON, asked)?;
    assert!(capture.frames().iter().all(|frame| Advertisement::of(frame).is_none()), "{:?}", capture.lines());
    Ok(())
}

#[test]
fn dnsmasq_announces_only() -> Result<()> {
    let lan = Lan::new()?;
    let mut server = lan.dnsmasq(Dnsmasq { ra: Ra::Only, ra_times: Some((4, 60)), ..Dnsmasq::default() })?;
    let seen = announced(&lan)?;
    assert_eq!((seen.flags, seen.lifetime), (0, 60));
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0);
    assert_eq!(seen.prefixes, [Prefix { network: prefix, autonomous: true, valid: 600 }]);
    let lifetime6 = "5m".to_owned();
    server.reconfigure(&Dnsmasq {
        ra: Ra::Both,
        lifetime6,
        ra_times: Some((4, 60)),
        ..Dnsmasq::default()
    })?;
    let seen = announced(&lan)?;
    assert_eq!(seen.flags, MANAGED | OTHER);
    assert_eq!(seen.prefixes, [Prefix { network: prefix, autonomous: true, valid: 300 }]);
    Ok(())
}

#[test]
fn radvd_announces_what_it_was_told_to() -> Result<()> {
    let lan = Lan::new()?;
    let dnssl = Some((vec!["lab.test".to_owned()], 60));
    let mut server = lan.server_on(lan.router(), &Radvd { dnssl, mtu: Some(1400), ..Radvd::default() })?;
    let client = lan.add_node_without_address("client")?;
    wait_for("a SLAAC address", SOON, || {
        let list = client.addresses("eth0").unwrap_or_default();
        list.iter().any(|net| net.to_string().starts_with("2001:db8:1:"))
    })?;
    client.check(&["ping", "-c1", "-W5", BEYOND_V6])?;
    let seen = announced(&lan)?;
    assert_eq!((seen.flags, seen.lifetime, seen.prefixes.len()), (0, 1800, 1));
    // MTU 5, RDNSS 25, DNSSL 31.
    assert!([5, 25, 31].iter().all(|option| seen.options.contains(option)), "{seen:?}");

    // A router that leaves says so; the next one is another.
    server.reconfigure(&Radvd {
        router_lifetime: 0,
        prefixes: vec![RaPrefix::new("2001:db8:2::/64", 120, 60)],
        rdnss: None,
        ..Radvd::managed()
    })?;
    let seen = announced(&lan)?;
    assert_eq!((seen.flags, seen.lifetime), (MANAGED | OTHER, 0));
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0);
    assert_eq!(seen.prefixes, [Prefix { network: prefix, autonomous: true, valid: 120 }]);
    assert!(!seen.options.contains(&25), "{seen:?}");
    Ok(())
}

const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;

#[derive(Debug, PartialEq, Eq)]
struct Prefix {
    network: Ipv6Addr,
    autonomous: bool,
    valid: u32,
}

/// What tests look at of a Router Advertisement (RFC 4861).
#[derive(Debug)]
struct Advertisement {
    flags: u8,
    lifetime: u16,
    prefixes: Vec<Prefix>,
    options: Vec<u8>,
}

impl Advertisement {
    fn of(frame: &Frame) -> Option<Self> {
        let packet = icmp6(frame)?;
        (packet.first() == Some(&134)).then_some(())?;
        let lifetime = u16::from_be_bytes(packet.get(6..8)?.try_into().ok()?);
        let mut seen = Self { flags: *packet.get(5)?, lifetime, prefixes: Vec::new(), options: Vec::new() };
        let mut rest = packet.get(16..)?;
        while let [code, units, ..] = *rest {
            let option;
            (option, rest) = rest.split_at_checked(usize::from(units) * 8)?;
            seen.options.push(code);
            if code == 3 {
                let octets: [u8; 16] = option.get(16..32)?.try_into().ok()?;
                let valid = u32::from_be_bytes(option.get(4..8)?.try_into().ok()?);
                seen.prefixes.push(Prefix {
                    network: octets.into(),
                    autonomous: option[3] & 0x40 != 0,
                    valid,
                });
            }
        }
        Some(seen)
    }
}

fn icmp6(frame: &Frame) -> Option<&[u8]> {
    let (_, _, protocol, packet) = frame.ip()?;
    (protocol == 58).then_some(packet)
}

/// Makes a machine's kernel solicit routers: its link comes up.
fn solicit(lan: &Lan) -> Result<()> {
    lan.peer().sh("ip link set eth0 down; ip link set eth0 up").map(drop)
}

/// The next advertisement somebody sends; solicited if none comes by itself.
fn announced(lan: &Lan) -> Result<Advertisement> {
    let capture = lan.capture(lan.switch(), "sw", "icmp6")?;
    solicit(lan)?;
    capture.wait_for("a router advertisement", SOON, Advertisement::of)
}
