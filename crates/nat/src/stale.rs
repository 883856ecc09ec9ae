//! Connections whose translation contradicts the rules: the kernel is made to forget them.
//!
//! A peer that goes on sending to an address, as UDP clients do, would reach the container that had it before for as long
//! as it sends. Only what contradicts is forgotten, so looking once too often breaks nothing.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use landline_kernel::{Address, Connection, Conntrack, Netlink};
use landline_links::HostError;

use super::table::Mapping;

/// IP protocol number of UDP.
const UDP: u8 = 17;

/// Forgets what contradicts these mappings and has to do with these addresses or the mappings' containers. Blocks.
pub(super) fn forget(addresses: &BTreeSet<Ipv4Addr>, mappings: &[Mapping]) -> Result<usize, HostError> {
    let mut netlink = Netlink::open().map_err(HostError::Open)?;
    let (links, own) = (netlink.links()?, netlink.addresses()?);
    let on_nic = |mapping: &Mapping| {
        let nic = links.iter().find(|link| link.name == mapping.interface).map(|link| link.index);
        own.iter().filter(move |own| Some(own.index) == nic).filter_map(ipv4).collect::<Vec<_>>()
    };
    let nics: Vec<(&Mapping, Vec<Ipv4Addr>)> = mappings.iter().map(|m| (m, on_nic(m))).collect();
    let mut conntrack = Conntrack::open().map_err(HostError::Open)?;
    let stale = conntrack.connections(|connection| {
        let of = |address: &&Ipv4Addr| {
            let mapping = mappings.iter().find(|mapping| mapping.address == **address);
            contradicts(connection, **address, mapping)
        };
        addresses.iter().any(|address| of(&address))
            || nics.iter().any(|(mapping, own)| went_out_before(connection, mapping, own))
    })?;
    for connection in &stale {
        conntrack.forget(connection)?;
    }
    Ok(stale.len())
}

fn ipv4(own: &Address) -> Option<Ipv4Addr> {
    match own.net.addr() {
        std::net::IpAddr::V4(address) => Some(address),
        std::net::IpAddr::V6(_) => None,
    }
}

/// Whether a connection to or from the address is translated in another way than the mapping says; `None`: it is not to
/// be translated.
fn contradicts(connection: &Connection, address: Ipv4Addr, mapping: Option<&Mapping>) -> bool {
    let (original, reply) = (&connection.original, &connection.reply);
    if *original.destination.ip() == address {
        let port = original.destination.port();
        let to = mapping.and_then(|mapping| mapping.target(original.protocol, port));
        return reply.source != to.unwrap_or(SocketAddrV4::new(address, port));
    }
    let translated = *reply.destination.ip() == address && *original.source.ip() != address;
    translated && mapping.is_none_or(|mapping| mapping.inside != *original.source.ip())
}

/// Whether the container said it by UDP before there was a mapping, and is seen under another address of the NIC. TCP
/// connections end by themselves, and changing them ends them at once.
fn went_out_before(connection: &Connection, mapping: &Mapping, own: &[Ipv4Addr]) -> bool {
    let seen = connection.reply.destination.ip();
    connection.original.protocol == UDP
        && *connection.original.source.ip() == mapping.inside
        && *seen != mapping.address
        && own.contains(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use landline_kernel::Flow;

    fn mapping(inside: &str, port: &str) -> Mapping {
        Mapping {
            address: "192.0.2.117".parse().unwrap(),
            interface: "em1".parse().unwrap(),
            inside: inside.parse().unwrap(),
            neighbours: Vec::new(),
            ports: (port != "all").then(|| BTreeSet::from([port.parse().unwrap()])),
        }
    }

    fn flow(source: &str, destination: &str) -> Flow {
        Flow { protocol: 17, source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn connection(original: (&str, &str), reply: (&str, &str)) -> Connection {
        Connection::new(flow(original.0, original.1), flow(reply.0, reply.1))
    }

    #[test]
    fn what_goes_where_the_rules_say_stays() {
        let address = "192.0.2.117".parse().unwrap();
        let inwards = connection(("192.0.2.5:9", "192.0.2.117:53"), ("203.0.113.4:5353", "192.0.2.5:9"));
        let outwards = connection(("203.0.113.4:9", "192.0.2.5:53"), ("192.0.2.5:53", "192.0.2.117:9"));
        let to_host = connection(("192.0.2.5:9", "192.0.2.117:22"), ("192.0.2.117:22", "192.0.2.5:9"));
        let elsewhere = connection(("192.0.2.5:9", "192.0.2.76:53"), ("192.0.2.76:53", "192.0.2.5:9"));
        for (connection, mapping, stale) in [
            (&inwards, Some(mapping("203.0.113.4", "53:5353/udp")), false),
            (&inwards, Some(mapping("203.0.113.9", "53:5353/udp")), true),
            (&inwards, Some(mapping("203.0.113.4", "53:53/udp")), true),
            (&inwards, None, true),
            (&outwards, Some(mapping("203.0.113.4", "80")), false),
            (&outwards, Some(mapping("203.0.113.9", "80")), true),
            (&outwards, None, true),
            (&to_host, Some(mapping("203.0.113.4", "80")), false),
            (&to_host, Some(mapping("203.0.113.4", "all")), true),
            (&to_host, None, false),
            (&elsewhere, None, false),
        ] {
            assert_eq!(
                contradicts(connection, address, mapping.as_ref()),
                stale,
                "{connection:?} {mapping:?}"
            );
        }
    }

    #[test]
    fn what_left_under_the_hosts_address_is_stale_if_it_left_by_that_nic() {
        let mapping = mapping("203.0.113.4", "all");
        let own = ["192.0.2.76".parse().unwrap(), "192.0.2.117".parse().unwrap()];
        let out = |seen: &str| connection(("203.0.113.4:9", "192.0.2.5:53"), ("192.0.2.5:53", seen));
        assert!(went_out_before(&out("192.0.2.76:9"), &mapping, &own));
        assert!(!went_out_before(&out("192.0.2.117:9"), &mapping, &own));
        assert!(!went_out_before(&out("198.51.100.1:9"), &mapping, &own), "by another NIC");
    }
}
