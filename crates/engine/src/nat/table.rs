//! The table `landline` of the packet filter, written whole each time (nft(8)).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use landline_kernel::nft;
use landline_types::IfName;

use super::record::{NatPort, NatPorts, NatRecord, Transport};
use super::{NatContainer, NatSeen};

/// One container's translation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mapping {
    /// On the LAN.
    pub(super) address: Ipv4Addr,
    pub(super) interface: IfName,
    /// The container's own.
    pub(super) inside: Ipv4Addr,
    /// Whose packets would find their way back past us.
    pub(super) neighbours: Vec<Ipv4Net>,
    /// `None`: all.
    pub(super) ports: Option<BTreeSet<NatPort>>,
}

impl Mapping {
    /// Where what comes to a port of the address is sent; `None`: nowhere else.
    pub(super) fn target(&self, protocol: u8, port: u16) -> Option<SocketAddrV4> {
        let Some(ports) = &self.ports else { return Some(SocketAddrV4::new(self.inside, port)) };
        let found = ports.iter().find(|p| p.transport.number() == protocol && p.outside == port);
        found.map(|found| SocketAddrV4::new(self.inside, found.inside))
    }
}

/// What the records come to with these containers.
pub(super) fn mapping(record: &NatRecord, seen: &NatSeen) -> Option<Mapping> {
    let container = seen.containers.get(&record.container)?;
    Some(Mapping {
        address: record.address,
        interface: record.interface.clone(),
        inside: container.address,
        neighbours: container.subnets.clone(),
        ports: match &record.ports {
            NatPorts::All => None,
            NatPorts::Only(ports) => Some(ports.iter().copied().collect()),
            NatPorts::Exposed => Some(exposed(container).collect()),
        },
    })
}

fn exposed(container: &NatContainer) -> impl Iterator<Item = NatPort> {
    container.ports.iter().filter_map(|&(protocol, port)| {
        let transport = Transport::of(protocol)?;
        Some(NatPort { transport, outside: port, inside: port })
    })
}

/// The script that puts these into the place of what was there. All of it is numbers and interface names, which hold
/// nothing that means anything to nft between quotes.
pub(super) fn script(mappings: &[Mapping]) -> String {
    if mappings.is_empty() {
        return nft::table("ip", "landline", "");
    }
    let mut to = String::new();
    let mut from = String::new();
    for mapping in mappings {
        // Writing to a String cannot fail.
        let _ = inward(&mut to, mapping).and_then(|()| outward(&mut from, mapping));
    }
    // Before Docker's own rules: the first translation of a connection is the one that counts.
    let content = format!(
        "\tchain prerouting {{\n\t\ttype nat hook prerouting priority -101;\n{to}\t}}\n\
         \tchain output {{\n\t\ttype nat hook output priority -101;\n{to}\t}}\n\
         \tchain postrouting {{\n\t\ttype nat hook postrouting priority 99;\n{from}\t}}\n"
    );
    nft::table("ip", "landline", &content)
}

fn inward(to: &mut String, mapping: &Mapping) -> std::fmt::Result {
    let Mapping { address, inside, ports, .. } = mapping;
    let Some(ports) = ports else {
        return writeln!(to, "\t\tip daddr {address} dnat to {inside}");
    };
    for NatPort { transport, outside, inside: port } in ports {
        writeln!(to, "\t\tip daddr {address} {transport} dport {outside} dnat to {inside}:{port}")?;
    }
    Ok(())
}

fn outward(from: &mut String, mapping: &Mapping) -> std::fmt::Result {
    let Mapping { address, interface, inside, neighbours, .. } = mapping;
    // To itself by its LAN address: it sees itself under that.
    writeln!(
        from,
        "\t\tct original ip daddr {address} ip saddr {inside} ip daddr {inside} snat to {address}"
    )?;
    // A neighbour's answer would go to it directly, from an address it did not ask.
    for subnet in neighbours {
        writeln!(from, "\t\tct original ip daddr {address} ip saddr {subnet} ip daddr {inside} masquerade")?;
    }
    writeln!(from, "\t\tip saddr {inside} oifname \"{interface}\" snat to {address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ports: NatPorts) -> NatRecord {
        NatRecord {
            container: "web".into(),
            address: "192.0.2.117".parse().unwrap(),
            interface: "em1".parse().unwrap(),
            ports,
            open_firewall: false,
            forwarding: false,
            hairpin: None,
        }
    }

    fn seen() -> NatSeen {
        let web = NatContainer {
            address: "203.0.113.4".parse().unwrap(),
            subnets: vec!["203.0.113.0/24".parse().unwrap()],
            ports: BTreeSet::from([(6, 80), (17, 53), (132, 9)]),
            sandbox: None,
        };
        NatSeen { connected: true, containers: [("web".to_owned(), web)].into() }
    }

    #[test]
    fn a_container_that_does_not_run_has_no_rules() {
        assert_eq!(mapping(&record(NatPorts::All), &NatSeen::default()), None);
        assert_eq!(script(&[]), "table ip landline\ndelete table ip landline\n");
    }

    #[test]
    fn what_is_exposed_is_passed_on() {
        let mapping = mapping(&record(NatPorts::Exposed), &seen()).unwrap();
        let script = script(&[mapping]);
        for line in [
            "\t\tip daddr 192.0.2.117 tcp dport 80 dnat to 203.0.113.4:80\n",
            "\t\tip daddr 192.0.2.117 udp dport 53 dnat to 203.0.113.4:53\n",
        ] {
            assert_eq!(script.matches(line).count(), 2, "{script}");
        }
        assert!(script.contains("ip saddr 203.0.113.4 oifname \"em1\" snat to 192.0.2.117\n"), "{script}");
        assert!(!script.contains("dport 9 "), "{script}");
        assert!(script.starts_with("table ip landline\ndelete table ip landline\ntable ip landline {\n"));
    }

    #[test]
    fn all_or_some_ports() {
        let all = script(&[mapping(&record(NatPorts::All), &seen()).unwrap()]);
        assert!(all.contains("\t\tip daddr 192.0.2.117 dnat to 203.0.113.4\n"), "{all}");
        let some = NatPorts::read(&["8080:80".to_owned()]).unwrap();
        let some = script(&[mapping(&record(some), &seen()).unwrap()]);
        assert!(some.contains("tcp dport 8080 dnat to 203.0.113.4:80\n"), "{some}");
    }
}
