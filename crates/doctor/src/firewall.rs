//! What the host's own firewall drops of what goes to and from containers, and whether the host passes packets on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use landline_kernel::{nft, sysctl};
use landline_links::mark::HOST_ENDS;
use landline_links::{HostEnd, facts_of};
use landline_model::{NatOwner, NetworkRecord};
use landline_nat as nat;
use landline_nat::NatView;
use landline_options::{Addressing, NatPort};
use landline_types::IfName;
use serde_json::Value;

use super::filter::{Fate, Packet};
use super::nft::{self as nftables, Dropping};
use super::{Cure, Finding, Found, iptables, label};

const UDP: u8 = 17;
const TCP: u8 = 6;
/// Where DHCP servers listen (RFC 2131 section 4.1).
const DHCP_SERVER: u16 = 67;

const FIX: &str = "landline doctor --fix";

/// What there is. Blocks.
pub(super) fn look(
    networks: &[NetworkRecord],
    views: &BTreeMap<NatOwner, NatView>,
    exceptions: &BTreeSet<IfName>,
) -> Vec<Found> {
    if networks.is_empty() && views.is_empty() {
        return Vec::new();
    }
    let firewall = Firewall::look();
    let mut found = Vec::new();
    if sysctl::bridge_nf() {
        found.extend(bridges(networks).iter().flat_map(|subject| firewall.findings(subject)));
    }
    let privates = networks.iter().filter(|network| facts_of(network.options.mode).is_translated());
    let containers = views.iter().filter_map(|(owner, view)| match owner {
        NatOwner::Container(name) => container(owner, name, view),
        NatOwner::Network(_) | NatOwner::Identity { .. } => None,
    });
    let subjects = privates.filter_map(private).chain(routed(networks)).chain(containers);
    found.extend(subjects.flat_map(|subject| firewall.findings(&subject)));
    if !nat::forwards() {
        found.extend(forwarding(networks, views, exceptions));
    }
    found.extend(not_forwarding(networks));
    found
}

/// The chain that drops what comes from the LAN to a container that the host routes to. Blocks.
pub(super) fn what_drops_routed(parent: &IfName) -> Option<String> {
    let rules = nat::rules();
    let program = nat::exception_program()?;
    routed_packets(parent).iter().find_map(|packet| dropping(&rules, program, packet))
}

/// The chain that drops what a container on this bridge begins with, where an exception would let it through. Blocks.
pub(super) fn what_drops(bridge: &IfName, addressing: Addressing) -> Option<String> {
    if !sysctl::bridge_nf() {
        return None;
    }
    let rules = nat::rules();
    dropping(&rules, nat::exception_program()?, &bridged(bridge, addressing))
}

fn dropping(rules: &[(&str, String)], exceptions: &str, packet: &Packet) -> Option<String> {
    let (program, rules) = rules.iter().find(|(program, _)| *program == exceptions)?;
    match iptables::forward(rules, packet) {
        Fate::Dropped(chain) => Some(format!("chain {chain} of {program}")),
        Fate::Passes | Fate::Unclear => None,
    }
}

/// The rules of the host's firewall.
struct Firewall {
    /// Those of iptables, by the program that lists them.
    iptables: Vec<(&'static str, String)>,
    /// That by which exceptions are made.
    exceptions: Option<&'static str>,
    /// All of nftables.
    nftables: Value,
}

/// What may be dropped, and how it would be let through.
struct Subject {
    /// In words.
    what: String,
    /// The packets that conversations begin with.
    packets: Vec<Packet>,
    cure: Cure,
    /// Rules of iptables, without the chain.
    iptables: Vec<String>,
    /// Rules of nftables, without the chain.
    nftables: Vec<String>,
    /// The bridge, and the zone of firewalld it should be in; `None`: the one that counts now.
    zone: Option<(IfName, Option<&'static str>)>,
}

impl Firewall {
    /// What there is. Blocks.
    fn look() -> Self {
        let listing = nft::list().unwrap_or_else(|error| {
            tracing::debug!(error = landline_types::chain(&error), "rules of nftables cannot be listed");
            String::new()
        });
        let nftables = serde_json::from_str(&listing).unwrap_or_default();
        Self { iptables: nat::rules(), exceptions: nat::exception_program(), nftables }
    }

    /// Whose rules drop it. Each of them decides by itself, so each has to be told.
    fn findings(&self, subject: &Subject) -> Vec<Found> {
        let by_iptables = self.iptables.iter().filter_map(|(program, rules)| {
            let chain = subject.packets.iter().find_map(|packet| match iptables::forward(rules, packet) {
                Fate::Dropped(chain) => Some(chain),
                Fate::Passes | Fate::Unclear => None,
            })?;
            let whose = format!("chain {chain} of {program}");
            Some(if self.exceptions == Some(program) {
                subject.mended(&whose)
            } else {
                subject.by_hand(&whose, &commands(&subject.iptables, &format!("{program} -I FORWARD")))
            })
        });
        let mut dropping: Vec<Dropping> = Vec::new();
        for found in subject.packets.iter().flat_map(|packet| nftables::forward(&self.nftables, packet)) {
            // Those are the rules of iptables again, and less is to be read of them.
            let own = (&*found.family, &*found.table, &*found.base) != ("ip", "filter", "FORWARD");
            if (own || self.iptables.is_empty()) && !dropping.contains(&found) {
                dropping.push(found);
            }
        }
        let by_nftables = dropping.iter().map(|dropping| {
            let Dropping { family, table, chain, .. } = dropping;
            subject.by_hand(
                &format!("chain {chain} of nftables' table {family} {table}"),
                &subject.own_rule(dropping),
            )
        });
        by_iptables.chain(by_nftables).collect()
    }
}

impl Subject {
    fn mended(&self, whose: &str) -> Found {
        let says = format!("the host's firewall drops {} ({whose}); {FIX} lets it through", self.what);
        let finding = Finding { fixable: true, ..Finding::new("firewall", says) };
        Found { finding, cures: BTreeSet::from([self.cure.clone()]) }
    }

    fn by_hand(&self, whose: &str, command: &str) -> Found {
        let what = &self.what;
        let says = format!(
            "the host's firewall drops {what} ({whose}), which no rule of Landline's overrides; let it through there: \
             {command}"
        );
        Finding::new("firewall", says).into()
    }

    /// What to type for those who have a table of their own.
    fn own_rule(&self, Dropping { family, table, chain, base }: &Dropping) -> String {
        if let (Some((bridge, zone)), "firewalld") = (&self.zone, &**table) {
            let named = zone.or_else(|| chain.strip_prefix("filter_FWD_")).unwrap_or("public");
            // What stays among the interfaces of a zone may pass there, if the zone has that switched on.
            let forward = format!(" && firewall-cmd --permanent --zone={named} --add-forward");
            let forward = if zone.is_none() { &forward } else { "" };
            return format!(
                "firewall-cmd --permanent --zone={named} --change-interface={bridge}{forward} && firewall-cmd --reload"
            );
        }
        commands(&self.nftables, &format!("nft insert rule {family} {table} {base}"))
    }
}

/// One command a rule, to be typed as one line.
fn commands(rules: &[String], begin: &str) -> String {
    rules.iter().map(|rule| format!("{begin} {rule}")).collect::<Vec<_>>().join(" && ")
}

/// Bridged frames that pass the rules for packets.
fn bridges(networks: &[NetworkRecord]) -> Vec<Subject> {
    let mut subjects = BTreeMap::new();
    let bridged_by =
        |network: &&NetworkRecord| facts_of(network.options.mode).host_end == HostEnd::BridgePort;
    for network in networks.iter().filter(bridged_by) {
        let bridge = &network.options.parent;
        subjects.entry(bridge.clone()).or_insert_with(|| Subject {
            what: format!(
                "what goes over {bridge} ({}), because br_netfilter shows it bridged packets",
                label(network)
            ),
            packets: vec![bridged(bridge, network.options.addressing)],
            cure: Cure::Bridge(bridge.clone()),
            iptables: vec![format!("-i {bridge} -o {bridge} -j ACCEPT")],
            nftables: vec![format!("iifname {bridge} oifname {bridge} accept")],
            zone: Some((bridge.clone(), None)),
        });
    }
    subjects.into_values().collect()
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
fn private(network: &NetworkRecord) -> Option<Subject> {
    let (bridge, nic) = (&network.options.parent, network.nic.as_ref()?);
    let packet = |from: &IfName, to: &IfName, translated| Packet {
        input: Some(from.to_string()),
        output: Some(to.to_string()),
        protocol: Some(TCP),
        translated,
        ..Packet::default()
    };
    Some(Subject {
        what: format!("what goes between {nic} and {}", label(network)),
        packets: vec![packet(nic, bridge, true), packet(bridge, nic, false)],
        cure: Cure::Bridge(bridge.clone()),
        iptables: vec![format!("-i {bridge} -j ACCEPT"), format!("-o {bridge} -j ACCEPT")],
        nftables: vec![format!("iifname {bridge} accept"), format!("oifname {bridge} accept")],
        // Nobody else is on that bridge, and what gets in is for our own table to say.
        zone: Some((bridge.clone(), Some("trusted"))),
    })
}

/// Packets between the LAN and a container that the host routes to.
fn routed_packets(parent: &IfName) -> [Packet; 2] {
    // Any name of a host's end.
    let end = HOST_ENDS.replace('+', "0");
    let packet = |from: &str, to: &str| Packet {
        input: Some(from.to_owned()),
        output: Some(to.to_owned()),
        protocol: Some(TCP),
        ..Packet::default()
    };
    [packet(parent.as_str(), &end), packet(&end, parent.as_str())]
}

/// What the host routes between the LAN and containers.
fn routed(networks: &[NetworkRecord]) -> Vec<Subject> {
    let mut subjects = BTreeMap::new();
    for network in networks.iter().filter(|network| facts_of(network.options.mode).host_routes()) {
        let parent = &network.options.parent;
        let nftables = HOST_ENDS.replace('+', "*");
        subjects.entry(parent.clone()).or_insert_with(|| Subject {
            what: format!("what goes between {parent} and {}", label(network)),
            packets: routed_packets(parent).to_vec(),
            cure: Cure::Bridge(parent.clone()),
            iptables: vec![
                format!("-i {parent} -o {HOST_ENDS} -j ACCEPT"),
                format!("-i {HOST_ENDS} -o {parent} -j ACCEPT"),
            ],
            nftables: vec![
                format!("iifname {parent} oifname '\"{nftables}\"' accept"),
                format!("iifname '\"{nftables}\"' oifname {parent} accept"),
            ],
            zone: None,
        });
    }
    subjects.into_values().collect()
}

/// Interfaces to the LAN from which the host forwards nothing to the containers that it routes to.
fn not_forwarding(networks: &[NetworkRecord]) -> Vec<Found> {
    let routed = networks.iter().filter(|network| facts_of(network.options.mode).host_routes());
    let parents: BTreeSet<&IfName> = routed.map(|network| &network.options.parent).collect();
    let off = |parent: &&IfName| {
        sysctl::get(sysctl::Family::V4, parent, "forwarding").is_ok_and(|setting| setting == "0")
    };
    let says = |parent: &IfName| {
        format!(
            "the host does not forward IPv4 packets from {parent}, so containers of mode=routed cannot be reached; type \
             sysctl -w net.ipv4.conf.{parent}.forwarding=1, and write it to /etc/sysctl.d"
        )
    };
    parents.into_iter().filter(off).map(|parent| Finding::new("ip-forward", says(parent)).into()).collect()
}

/// What comes to a container on Docker's own bridge, which lets through what is published.
fn container(owner: &NatOwner, name: &str, view: &NatView) -> Option<Subject> {
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
    Some(Subject {
        what: format!("what comes to {} for container {name}", view.address?),
        packets,
        cure: Cure::Nat(owner.clone()),
        iptables: vec![format!("-d {inside} -j ACCEPT")],
        nftables: vec![format!("ip daddr {inside} accept")],
        zone: None,
    })
}

/// Who needs packets to be passed on, which they are not.
fn forwarding(
    networks: &[NetworkRecord],
    views: &BTreeMap<NatOwner, NatView>,
    exceptions: &BTreeSet<IfName>,
) -> Option<Found> {
    let mut cures: BTreeSet<Cure> = views.keys().cloned().map(Cure::Nat).collect();
    let privates = networks.iter().filter(|network| facts_of(network.options.mode).is_translated());
    // Those that may switch it on do so for their first container.
    let waiting = privates.map(|network| &network.options);
    let waiting = waiting.filter(|options| !options.open_firewall && !exceptions.contains(&options.parent));
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

#[cfg(test)]
mod tests {
    use landline_options::Mode;

    use super::*;
    use crate::tests::network;

    #[test]
    fn bridges_that_the_firewall_may_drop_are_known_whoever_made_them() {
        let networks = [
            network(Mode::Bridge, "br0"),
            network(Mode::Bridge, "br0"),
            network(Mode::Vde, "llb1"),
            network(Mode::Nat, "llb2"),
            network(Mode::Macvlan, "eth0"),
        ];
        let known: Vec<Cure> = bridges(&networks).into_iter().map(|subject| subject.cure).collect();
        assert_eq!(known, ["br0", "llb1", "llb2"].map(|name| Cure::Bridge(name.parse().unwrap())));
    }

    #[test]
    fn what_is_routed_is_dropped_by_dockers_policy_unless_it_is_let_through_both_ways() {
        let networks =
            [network(Mode::Routed, "wlan0"), network(Mode::Routed, "wlan0"), network(Mode::Macvlan, "eth0")];
        let subjects = routed(&networks);
        let cures: Vec<&Cure> = subjects.iter().map(|subject| &subject.cure).collect();
        assert_eq!(cures, [&Cure::Bridge("wlan0".parse().unwrap())]);
        let drops = |rules: &str| {
            let rules =
                [("iptables", format!("-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER{rules}"))];
            subjects[0].packets.iter().any(|packet| dropping(&rules, "iptables", packet).is_some())
        };
        let rules: Vec<String> =
            subjects[0].iptables.iter().map(|rule| format!("\n-A DOCKER-USER {rule}")).collect();
        assert!(drops("") && drops(&rules[0]) && drops(&rules[1]));
        assert!(!drops(&rules.concat()));
    }

    #[test]
    fn a_new_network_is_refused_only_where_its_packets_are_certain_to_be_dropped() {
        let br0: IfName = "br0".parse().unwrap();
        let drops = |rules: &str, addressing| {
            let rules = [("iptables-legacy", "-P FORWARD DROP".to_owned()), ("iptables", rules.to_owned())];
            dropping(&rules, "iptables", &bridged(&br0, addressing))
        };
        let docker = "-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER";
        for addressing in [Addressing::Dhcp, Addressing::Static, Addressing::None] {
            assert_eq!(drops(docker, addressing).as_deref(), Some("chain FORWARD of iptables"));
            for rule in ["-i br0 -o br0 -j ACCEPT", "-m physdev --physdev-is-bridged -j ACCEPT"] {
                assert_eq!(drops(&format!("{docker}\n-A DOCKER-USER {rule}"), addressing), None, "{rule}");
            }
            assert_eq!(drops("-P FORWARD ACCEPT", addressing), None);
            let unclear =
                format!("{docker}\n-A FORWARD -m comment --comment x -m set --match-set own src -j ACCEPT");
            assert_eq!(drops(&unclear, addressing), None, "who knows");
        }
        let other = format!("{docker}\n-A DOCKER-USER -i br1 -o br1 -j ACCEPT");
        assert!(drops(&other, Addressing::Dhcp).is_some());
    }
}
