//! What the host's own firewall drops of what goes to and from containers, and whether the host passes packets on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use landline_kernel::sysctl;
use landline_spec::{Addressing, Mode, NatPort};
use landline_types::IfName;

use super::filter::{Fate, Packet};
use super::{Cure, Finding, Found, iptables, label};
use crate::nat::{self, NatOwner, NatView};
use crate::records::NetworkRecord;

const UDP: u8 = 17;
const TCP: u8 = 6;
/// Where DHCP servers listen (RFC 2131 section 4.1).
const DHCP_SERVER: u16 = 67;

const FIX: &str = "landline doctor --fix";

/// What there is. Blocks.
pub(super) fn look(
    networks: &[NetworkRecord],
    views: &BTreeMap<NatOwner, NatView>,
    openings: &BTreeSet<IfName>,
) -> Vec<Found> {
    let firewall = Firewall { rules: nat::rules(), openings: nat::opening_program() };
    let mut found = Vec::new();
    if sysctl::bridge_nf() {
        found.extend(bridges(networks, &firewall));
    }
    let privates = networks.iter().filter(|network| network.options.mode == Mode::Nat);
    found.extend(privates.filter_map(|network| private(network, &firewall)));
    let containers = views.iter().filter_map(|(owner, view)| match owner {
        NatOwner::Container(name) => container(owner, name, view, &firewall),
        NatOwner::Network(_) | NatOwner::Identity { .. } => None,
    });
    found.extend(containers);
    if !nat::forwards() {
        found.extend(forwarding(networks, views, openings));
    }
    found
}

/// The rules of the host's firewall.
struct Firewall {
    /// By the program that lists them.
    rules: Vec<(&'static str, String)>,
    /// That by which openings are made.
    openings: Option<&'static str>,
}

impl Firewall {
    /// Which rules drop one of these packets: the words for it, and whether an opening mends it.
    fn drops(&self, packets: &[Packet]) -> Option<(String, bool)> {
        packets.iter().find_map(|packet| {
            self.rules.iter().find_map(|(program, rules)| match iptables::forward(rules, packet) {
                Fate::Dropped(chain) => {
                    Some((format!("chain {chain} of {program}"), self.openings == Some(program)))
                }
                Fate::Passes | Fate::Unclear => None,
            })
        })
    }

    fn finding(&self, packets: &[Packet], what: &str, cure: Cure, rule: &str) -> Option<Found> {
        let (whose, mendable) = self.drops(packets)?;
        let (remedy, cures) = if mendable {
            (format!("{FIX} lets it through"), BTreeSet::from([cure]))
        } else {
            (format!("let it through there with a rule of your own: {rule}"), BTreeSet::new())
        };
        let says = format!("the host's firewall drops {what} ({whose}); {remedy}");
        Some(Found { finding: Finding { fixable: mendable, ..Finding::new("firewall", says) }, cures })
    }
}

/// Bridged frames that pass the rules for packets.
fn bridges(networks: &[NetworkRecord], firewall: &Firewall) -> Vec<Found> {
    let mut found = BTreeMap::new();
    for network in networks.iter().filter(|network| network.options.mode == Mode::Bridge) {
        let bridge = &network.options.parent;
        let what = format!(
            "what goes over {bridge} ({}), because br_netfilter shows it bridged packets",
            label(network)
        );
        let rule = format!("-i {bridge} -o {bridge} -j ACCEPT");
        let packet = bridged(bridge, network.options.addressing);
        if let Some(one) = firewall.finding(&[packet], &what, Cure::Bridge(bridge.clone()), &rule) {
            found.entry(bridge.clone()).or_insert(one);
        }
    }
    found.into_values().collect()
}

/// The packet a container begins with.
fn bridged(bridge: &IfName, addressing: Addressing) -> Packet {
    let over = Some(bridge.to_string());
    let packet = Packet { input: over.clone(), output: over, bridged: true, ..Packet::default() };
    if addressing != Addressing::Dhcp {
        return Packet { protocol: Some(TCP), ..packet };
    }
    Packet {
        source: Some(Ipv4Addr::UNSPECIFIED),
        destination: Some(Ipv4Addr::BROADCAST),
        protocol: Some(UDP),
        port: Some(DHCP_SERVER),
        ..packet
    }
}

/// What goes between the LAN and containers that have an address on the host.
fn private(network: &NetworkRecord, firewall: &Firewall) -> Option<Found> {
    let (bridge, nic) = (&network.options.parent, network.nic.as_ref()?);
    let packet = |from: &IfName, to: &IfName, translated| Packet {
        input: Some(from.to_string()),
        output: Some(to.to_string()),
        protocol: Some(TCP),
        translated,
        ..Packet::default()
    };
    let what = format!("what goes between {nic} and {}", label(network));
    let rule = format!("-i {bridge} -j ACCEPT, and -o {bridge} -j ACCEPT");
    let packets = [packet(nic, bridge, true), packet(bridge, nic, false)];
    firewall.finding(&packets, &what, Cure::Bridge(bridge.clone()), &rule)
}

/// What comes to a container on Docker's own bridge, which lets through what is published.
fn container(owner: &NatOwner, name: &str, view: &NatView, firewall: &Firewall) -> Option<Found> {
    let inside = view.inside?;
    let packet = Packet {
        input: Some(view.interface.to_string()),
        destination: Some(inside),
        translated: true,
        ..Packet::default()
    };
    let ports = view.ports.iter().filter_map(|port| port.parse::<NatPort>().ok());
    let mut packets: Vec<Packet> = ports
        .map(|NatPort { transport, inside, .. }| Packet {
            protocol: Some(transport.number()),
            port: Some(inside),
            ..packet.clone()
        })
        .collect();
    if packets.is_empty() {
        packets.push(Packet { protocol: Some(TCP), ..packet });
    }
    let what = format!("what comes to {} for container {name}", view.address?);
    let rule = format!("-d {inside} -j ACCEPT");
    firewall.finding(&packets, &what, Cure::Nat(owner.clone()), &rule)
}

/// Who needs packets to be passed on, which they are not.
fn forwarding(
    networks: &[NetworkRecord],
    views: &BTreeMap<NatOwner, NatView>,
    openings: &BTreeSet<IfName>,
) -> Option<Found> {
    let mut cures: BTreeSet<Cure> = views.keys().cloned().map(Cure::Nat).collect();
    let privates = networks.iter().filter(|network| network.options.mode == Mode::Nat);
    // Those that may switch it on do so for their first container.
    let waiting = privates.map(|network| &network.options);
    let waiting = waiting.filter(|options| !options.open_firewall && !openings.contains(&options.parent));
    cures.extend(waiting.map(|options| Cure::Bridge(options.parent.clone())));
    if cures.is_empty() {
        return None;
    }
    let says = format!(
        "net.ipv4.ip_forward is 0, so the host passes nothing on to containers that have an address of the LAN on it; \
         {FIX} sets it as long as they need it"
    );
    Some(Found { finding: Finding { fixable: true, ..Finding::new("ip-forward", says) }, cures })
}
