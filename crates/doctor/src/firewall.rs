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
    findings(networks, views, exceptions, &Seen::look(networks))
}

/// What of the host decides about packets.
struct Seen {
    firewall: Firewall,
    /// Whether bridged packets pass the rules for packets that are routed (`br_netfilter`).
    bridged_pass: bool,
    /// Whether the host passes packets on (`net.ipv4.ip_forward`).
    forwards: bool,
    /// The parents of routed containers from which it does not (`net.ipv4.conf.PARENT.forwarding`).
    held: BTreeSet<IfName>,
}

impl Seen {
    /// What there is. Blocks.
    fn look(networks: &[NetworkRecord]) -> Self {
        let off = |parent: &&IfName| {
            sysctl::get(sysctl::Family::V4, parent, "forwarding").is_ok_and(|setting| setting == "0")
        };
        Self {
            firewall: Firewall::look(),
            bridged_pass: sysctl::bridge_nf(),
            forwards: nat::forwards(),
            held: routed_parents(networks).into_iter().filter(off).cloned().collect(),
        }
    }
}

fn findings(
    networks: &[NetworkRecord],
    views: &BTreeMap<NatOwner, NatView>,
    exceptions: &BTreeSet<IfName>,
    seen: &Seen,
) -> Vec<Found> {
    let firewall = &seen.firewall;
    let mut found = Vec::new();
    if seen.bridged_pass {
        found.extend(bridges(networks).iter().flat_map(|subject| firewall.findings(subject)));
    }
    let privates = networks.iter().filter(|network| facts_of(network.options.mode).is_translated());
    let containers = views.iter().filter_map(|(owner, view)| match owner {
        NatOwner::Container(name) => container(owner, name, view),
        NatOwner::Network(_) | NatOwner::Identity { .. } => None,
    });
    let subjects = privates.filter_map(private).chain(routed(networks)).chain(containers);
    found.extend(subjects.flat_map(|subject| firewall.findings(&subject)));
    if !seen.forwards {
        found.extend(forwarding(networks, views, exceptions));
    }
    found.extend(not_forwarding(networks, &seen.held));
    found
}

fn dropping(rules: &[(&str, String)], exceptions: &str, packet: &Packet) -> Option<String> {
    let (program, rules) = rules.iter().find(|(program, _)| *program == exceptions)?;
    match iptables::forward(rules, packet) {
        Fate::Dropped(chain) => Some(format!("chain {chain} of {program}")),
        Fate::Passes | Fate::Unclear => None,
    }
}

/// The rules of the host's firewall.
#[derive(Debug, Default)]
pub(super) struct Firewall {
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

    /// The rules that packets pass which are routed, as far as exceptions count there. Blocks.
    pub(super) fn for_routed() -> Self {
        Self { iptables: nat::rules(), exceptions: nat::exception_program(), nftables: Value::Null }
    }

    /// The same for bridged packets, which pass none unless `br_netfilter` is there. Blocks.
    pub(super) fn for_bridged() -> Self {
        if sysctl::bridge_nf() { Self::for_routed() } else { Self::default() }
    }

    /// The chain that drops what comes from the LAN to a container that the host routes to, or goes there.
    pub(super) fn drops_routed(&self, parent: &IfName) -> Option<String> {
        routed_packets(parent).iter().find_map(|packet| dropping(&self.iptables, self.exceptions?, packet))
    }

    /// The chain that drops what a container on this bridge begins with, where an exception would let it through.
    pub(super) fn drops_bridged(&self, bridge: &IfName, addressing: Addressing) -> Option<String> {
        dropping(&self.iptables, self.exceptions?, &bridged(bridge, addressing))
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

/// The parents of containers that the host routes to.
fn routed_parents(networks: &[NetworkRecord]) -> BTreeSet<&IfName> {
    let routed = networks.iter().filter(|network| facts_of(network.options.mode).host_routes());
    routed.map(|network| &network.options.parent).collect()
}

/// Interfaces to the LAN from which the host forwards nothing to the containers that it routes to.
fn not_forwarding(networks: &[NetworkRecord], held: &BTreeSet<IfName>) -> Vec<Found> {
    let says = |parent: &IfName| {
        format!(
            "the host does not forward IPv4 packets from {parent}, so containers of mode=routed cannot be reached; type \
             sysctl -w net/ipv4/conf/{parent}/forwarding=1, and write it to /etc/sysctl.d"
        )
    };
    let parents = routed_parents(networks).into_iter().filter(|parent| held.contains(*parent));
    parents.map(|parent| Finding::new("ip-forward", says(parent)).into()).collect()
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
impl Firewall {
    /// Docker's policy, with this in `DOCKER-USER`.
    pub(super) fn dockers(rules: &str) -> Self {
        let docker = "-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER";
        Self {
            iptables: vec![("iptables", format!("{docker}{rules}"))],
            exceptions: Some("iptables"),
            nftables: Value::Null,
        }
    }

    /// One that drops nothing.
    pub(super) fn open() -> Self {
        Self { iptables: vec![("iptables", "-P FORWARD ACCEPT".to_owned())], ..Self::dockers("") }
    }
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

    fn seen(firewall: Firewall) -> Seen {
        Seen { firewall, bridged_pass: true, forwards: true, held: BTreeSet::new() }
    }

    /// The checks and the cures of what is found.
    fn finds(
        networks: &[NetworkRecord],
        views: &BTreeMap<NatOwner, NatView>,
        seen: &Seen,
    ) -> Vec<(String, Vec<Cure>)> {
        let found = findings(networks, views, &BTreeSet::new(), seen);
        found.into_iter().map(|found| (found.finding.check, found.cures.into_iter().collect())).collect()
    }

    fn drops(name: &str) -> (String, Vec<Cure>) {
        ("firewall".to_owned(), vec![Cure::Bridge(name.parse().unwrap())])
    }

    #[test]
    fn bridged_packets_are_dropped_only_where_they_pass_the_rules() {
        let networks = [network(Mode::Bridge, "br0")];
        let none = BTreeMap::new();
        assert_eq!(finds(&networks, &none, &seen(Firewall::dockers(""))), [drops("br0")]);
        assert_eq!(
            finds(&networks, &none, &seen(Firewall::dockers("\n-A DOCKER-USER -i br0 -o br0 -j ACCEPT"))),
            []
        );
        assert_eq!(finds(&networks, &none, &seen(Firewall::open())), []);
        assert_eq!(finds(&networks, &none, &Seen { bridged_pass: false, ..seen(Firewall::dockers("")) }), []);
        // What is routed passes them in any case.
        let networks = [network(Mode::Routed, "eth0")];
        assert_eq!(
            finds(&networks, &none, &Seen { bridged_pass: false, ..seen(Firewall::dockers("")) }),
            [drops("eth0")]
        );
    }

    #[test]
    fn hosts_that_pass_nothing_on_are_told_of_where_somebody_needs_it() {
        let closed = || Seen { forwards: false, ..seen(Firewall::open()) };
        let none = BTreeMap::new();
        assert_eq!(finds(&[network(Mode::Bridge, "br0")], &none, &closed()), []);
        let nat = NetworkRecord { nic: Some("eth0".parse().unwrap()), ..network(Mode::Nat, "llb0") };
        let forward = |cures: &[Cure]| [("ip-forward".to_owned(), cures.to_vec())];
        let cure = Cure::Bridge("llb0".parse().unwrap());
        assert_eq!(finds(std::slice::from_ref(&nat), &none, &closed()), forward(&[cure]));
        assert_eq!(finds(std::slice::from_ref(&nat), &none, &seen(Firewall::open())), []);
        // It is switched on for the first container of such a network.
        let exceptions = ["llb0".parse().unwrap()].into();
        assert!(findings(std::slice::from_ref(&nat), &none, &exceptions, &closed()).is_empty());
        let mut opened = nat;
        opened.options.open_firewall = true;
        assert_eq!(finds(&[opened], &none, &closed()), []);
    }

    #[test]
    fn parents_that_forward_nothing_are_told_of_if_containers_are_routed_there() {
        let held = |name: &str| Seen { held: [name.parse().unwrap()].into(), ..seen(Firewall::open()) };
        let networks =
            [network(Mode::Routed, "eth0"), network(Mode::Routed, "eth0"), network(Mode::Macvlan, "eth1")];
        let none = BTreeMap::new();
        assert_eq!(finds(&networks, &none, &held("eth0")), [("ip-forward".to_owned(), vec![])]);
        assert_eq!(finds(&networks, &none, &held("eth1")), []);
    }

    #[test]
    fn a_container_of_dockers_bridge_is_let_through_by_its_address() {
        let view = |ports: &[&str]| -> NatView {
            serde_json::from_value(serde_json::json!({
                "container": "web", "address": "192.0.2.7", "interface": "eth0", "inside": "172.17.0.2",
                "ports": ports, "state": "ready",
            }))
            .unwrap()
        };
        let owner = NatOwner::Container("web".to_owned());
        let finds = |ports: &[&str], rules: &str| {
            finds(&[], &[(owner.clone(), view(ports))].into(), &seen(Firewall::dockers(rules)))
        };
        let dropped = [("firewall".to_owned(), vec![Cure::Nat(owner.clone())])];
        assert_eq!(finds(&["80/tcp"], ""), dropped);
        assert_eq!(finds(&["80/tcp"], "\n-A DOCKER-USER -d 172.17.0.2/32 -j ACCEPT"), []);
        let published = "\n-A DOCKER-USER -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j ACCEPT";
        assert_eq!(finds(&["80/tcp"], published), []);
        assert_eq!(finds(&["80/tcp", "53/udp"], published), dropped, "each port counts");
        // An address on a network's own bridge is found with the network.
        let network = NatOwner::Network("n".repeat(64).parse().unwrap());
        assert!(
            findings(&[], &[(network, view(&[]))].into(), &BTreeSet::new(), &seen(Firewall::dockers("")))
                .is_empty()
        );
    }

    /// Each flavour decides by itself; exceptions are made in one of them.
    #[test]
    fn what_another_program_drops_is_for_its_user_to_let_through() {
        let legacy = ("iptables-legacy", "-P FORWARD DROP".to_owned());
        let mut both = Firewall::dockers("");
        both.iptables.insert(0, legacy.clone());
        let found = finds(&[network(Mode::Bridge, "br0")], &BTreeMap::new(), &seen(both));
        assert_eq!(found, [("firewall".to_owned(), vec![]), drops("br0")]);
        let other = Firewall { iptables: vec![legacy], ..Firewall::dockers("") };
        assert_eq!(
            other.drops_bridged(&"br0".parse().unwrap(), Addressing::Dhcp),
            None,
            "no exception helps"
        );
    }

    #[test]
    fn without_a_program_for_exceptions_nothing_is_refused() {
        let (br0, eth0) = ("br0".parse().unwrap(), "eth0".parse().unwrap());
        assert!(Firewall::dockers("").drops_bridged(&br0, Addressing::Dhcp).is_some());
        assert!(Firewall::dockers("").drops_routed(&eth0).is_some());
        for none in [Firewall { exceptions: None, ..Firewall::dockers("") }, Firewall::default()] {
            assert_eq!(none.drops_bridged(&br0, Addressing::Dhcp), None);
            assert_eq!(none.drops_routed(&eth0), None);
        }
    }
}
