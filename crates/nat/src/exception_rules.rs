//! What is to be let through the host's firewall.
//!
//! It does not depend on whether anything drops it now: nobody is told when the kernel begins to show bridged packets to
//! the firewall (`br_netfilter`, whose settings change without an event), and at boot that, the rules that drop them, and the first
//! container come within a moment. So the rules are there whenever there is a chain for them, and what somebody does to such
//! chains is listened for as long as anything is wanted.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use landline_types::IfName;

use super::OpenBridges;
use super::firewall::{Rule, bridge, exceptions, nat_bridge, routed};
use super::table::{Mapping, NatBridge};

/// The rules there are to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) v4: BTreeSet<Rule>,
    pub(super) v6: BTreeSet<Rule>,
    /// Whether some of those for IPv4 are for packets that the host routes, which always meet its firewall.
    pub(super) routed: bool,
    /// Whether somebody asked for one of the bridges to be open.
    asked: bool,
}

impl Wanted {
    /// Those for these containers, private bridges (each with where its NIC is), and bridges. `subnets`: those of the interfaces over
    /// which the host routes.
    pub(super) fn new<'a>(
        mappings: impl IntoIterator<Item = &'a Mapping>,
        nat_bridges: impl IntoIterator<Item = (&'a NatBridge, IfName)>,
        bridges: &OpenBridges,
        subnets: &BTreeSet<(IfName, Ipv4Net)>,
    ) -> Self {
        let mut v4 = exceptions(mappings.into_iter());
        v4.extend(nat_bridges.into_iter().flat_map(|(own, nic)| nat_bridge(own, &nic)));
        v4.extend(subnets.iter().filter(|(parent, _)| bridges.routed.contains(parent)).flat_map(routed));
        let routed = !v4.is_empty();
        v4.extend(bridges.all().map(bridge));
        Self { v4, v6: bridges.all().map(bridge).collect(), routed, asked: !bridges.asked.is_empty() }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether a host that has no `iptables` to ask is a failure. One whose firewall is shown nothing of what is wanted has
    /// nothing to open, and Landline's own bridges, which nobody asked to have opened, fail nothing.
    pub(super) fn needs_iptables(&self, bridged_meet_it: bool) -> bool {
        self.routed || (bridged_meet_it && self.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> IfName {
        name.parse().unwrap()
    }

    #[test]
    fn a_bridge_is_wanted_open_whatever_the_firewall_is_shown_now() {
        let asked = OpenBridges { asked: BTreeSet::from([name("br0")]), ..OpenBridges::default() };
        let wanted = Wanted::new([], [], &asked, &BTreeSet::new());
        assert_eq!(wanted.v4, BTreeSet::from([bridge(&name("br0"))]));
        assert_eq!(wanted.v6, wanted.v4);
        assert!(!wanted.is_nothing(), "so it is listened for what becomes of the rules");
        assert!(wanted.needs_iptables(true));
        assert!(!wanted.needs_iptables(false), "a host without a firewall has it open");
        assert!(Wanted::new([], [], &OpenBridges::default(), &BTreeSet::new()).is_nothing());
        let own = OpenBridges { own: BTreeSet::from([name("llb0")]), ..OpenBridges::default() };
        let wanted = Wanted::new([], [], &own, &BTreeSet::new());
        assert!(!wanted.is_nothing() && !wanted.needs_iptables(true), "nobody asked for it");
    }

    #[test]
    fn what_containers_of_the_lan_are_routed_is_let_through_both_ways() {
        let routed = OpenBridges { routed: BTreeSet::from([name("wlan0")]), ..OpenBridges::default() };
        let subnets = [("wlan0", "192.0.2.0/24"), ("eth1", "198.51.100.0/24")];
        let subnets = subnets.map(|(parent, subnet)| (name(parent), subnet.parse().unwrap()));
        let wanted = Wanted::new([], [], &routed, &subnets.into());
        assert!(wanted.needs_iptables(false), "routed packets meet the firewall");
        let way =
            |rule: &Rule| rule.iter().take_while(|word| *word != "-m").cloned().collect::<Vec<_>>().join(" ");
        let rules: Vec<String> = wanted.v4.iter().map(way).collect();
        // A container of eth1's LAN has another address, whatever its link is called.
        let expected = [
            "-d 192.0.2.0/24 -i wlan0 -o llh+",
            "-s 192.0.2.0/24 -d 192.0.2.0/24 -i llh+ -o llh+",
            "-s 192.0.2.0/24 -i llh+ -o wlan0",
        ];
        assert_eq!(rules, expected);
        assert!(wanted.v6.is_empty());
    }

    #[test]
    fn what_the_host_routes_meets_its_firewall_in_any_case() {
        let (subnet, nic) = ("203.0.113.0/24".parse().unwrap(), name("em1"));
        let nat_bridge = NatBridge { bridge: name("llb0"), subnet, nic, open: true };
        let wanted =
            Wanted::new([], [(&nat_bridge, name("br-em1"))], &OpenBridges::default(), &BTreeSet::new());
        assert!(wanted.needs_iptables(false));
        assert!(wanted.v6.is_empty() && wanted.v4.iter().flatten().any(|word| word == "br-em1"));
    }
}
