//! The table `landline` of the packet filter, written whole each time (nft(8)).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use landline_kernel::nft;
use landline_model::NatOwner;
use landline_options::{NatPort, NatPorts, Transport};
use landline_types::IfName;

use super::record::NatRecord;
use super::{Bound, NatContainer, NatSeen};

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

/// The private bridge of a `mode=nat` network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NatBridge {
    pub(crate) bridge: IfName,
    /// What is on it.
    pub(crate) subnet: Ipv4Net,
    /// The interface that leads to the LAN.
    pub(crate) nic: IfName,
    /// Whether the host's firewall may be opened for it.
    pub(crate) open: bool,
}

/// What the records come to with these containers.
pub(super) fn mapping(
    record: &NatRecord,
    seen: &NatSeen,
    bound: &BTreeMap<NatOwner, Bound>,
) -> Option<Mapping> {
    let (address, interface) = (record.address?, record.interface.clone());
    let NatOwner::Container(name) = &record.owner else {
        let Bound { inside, subnet, ports, .. } = bound.get(&record.owner)?.clone();
        return Some(Mapping { address, interface, inside, neighbours: vec![subnet], ports });
    };
    let container = seen.containers.get(name)?;
    Some(Mapping {
        address,
        interface,
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
pub(super) fn script(mappings: &[Mapping], nat_bridges: &BTreeSet<NatBridge>) -> String {
    if mappings.is_empty() && nat_bridges.is_empty() {
        return nft::table("ip", "landline", "");
    }
    let mut to = String::new();
    let mut from = String::new();
    for mapping in mappings {
        // Writing to a String cannot fail.
        let _ = inward(&mut to, mapping).and_then(|()| outward(&mut from, mapping));
    }
    let mut through = String::new();
    for nat_bridge in nat_bridges {
        let _ = leave(&mut from, nat_bridge).and_then(|()| enter(&mut through, nat_bridge));
    }
    if !nat_bridges.is_empty() {
        through = format!("\tchain forward {{\n\t\ttype filter hook forward priority 0;\n{through}\t}}\n");
    }
    // Before Docker's own rules: the first translation of a connection is the one that counts.
    let content = format!(
        "\tchain prerouting {{\n\t\ttype nat hook prerouting priority -101;\n{to}\t}}\n\
         \tchain output {{\n\t\ttype nat hook output priority -101;\n{to}\t}}\n\
         \tchain postrouting {{\n\t\ttype nat hook postrouting priority 99;\n{from}\t}}\n{through}"
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

/// What goes elsewhere than to the LAN, or comes from a container without an address there, is the host's.
fn leave(from: &mut String, NatBridge { bridge, subnet, .. }: &NatBridge) -> std::fmt::Result {
    writeln!(from, "\t\tip saddr {subnet} oifname != \"{bridge}\" masquerade")
}

/// Nobody gets in by the private addresses: only what was translated, and answers.
fn enter(through: &mut String, NatBridge { bridge, .. }: &NatBridge) -> std::fmt::Result {
    for passes in ["ct state established,related", "ct status dnat"] {
        writeln!(through, "\t\toifname \"{bridge}\" {passes} accept")?;
    }
    writeln!(through, "\t\tiifname != \"{bridge}\" oifname \"{bridge}\" drop")
}

#[cfg(test)]
mod tests {
    use super::*;
    use landline_options::LanIp;

    fn record(ports: NatPorts) -> NatRecord {
        let (owner, address) =
            (NatOwner::Container("web".into()), LanIp::Static("192.0.2.117".parse().unwrap()));
        NatRecord { ports, ..NatRecord::new(owner, address, "em1".parse().unwrap()) }
    }

    fn mapping(record: &NatRecord, seen: &NatSeen) -> Option<Mapping> {
        super::mapping(record, seen, &BTreeMap::new())
    }

    fn script(mappings: &[Mapping]) -> String {
        super::script(mappings, &BTreeSet::new())
    }

    #[test]
    fn a_private_bridge_lets_in_what_was_translated_only() {
        let nat_bridge = NatBridge {
            bridge: "llb0".parse().unwrap(),
            subnet: "203.0.113.0/24".parse().unwrap(),
            nic: "em1".parse().unwrap(),
            open: false,
        };
        let bound = Bound {
            endpoint: "e".repeat(64).parse().unwrap(),
            inside: "203.0.113.4".parse().unwrap(),
            subnet: nat_bridge.subnet,
            port: "llh0".parse().unwrap(),
            ports: Some(BTreeSet::from(["8080:80".parse().unwrap()])),
        };
        let owner = NatOwner::Network("n".repeat(64).parse().unwrap());
        let record = NatRecord { owner: owner.clone(), ..record(NatPorts::All) };
        let mapping = super::mapping(&record, &NatSeen::default(), &BTreeMap::from([(owner, bound)]));
        let script = super::script(&[mapping.unwrap()], &BTreeSet::from([nat_bridge]));
        let lines = [
            "ip daddr 192.0.2.117 tcp dport 8080 dnat to 203.0.113.4:80",
            "ip saddr 203.0.113.4 oifname \"em1\" snat to 192.0.2.117\n",
            "ip saddr 203.0.113.0/24 oifname != \"llb0\" masquerade\n",
            "iifname != \"llb0\" oifname \"llb0\" drop\n",
        ];
        let mut rest = script.as_str();
        for line in lines {
            let at =
                rest.find(line).unwrap_or_else(|| panic!("{line} is not where it should be in {script}"));
            rest = &rest[at..];
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
