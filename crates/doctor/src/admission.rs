//! A new network on a bridge whose packets the host's firewall drops is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use landline_engine::{Admission, NetworkRequest, Refusal, Verdict};
use landline_links::mark::is_implicit;
use landline_links::{blocking, facts_of};
use landline_model::NetworkRecord;
use landline_nat::Nat;
use landline_options::Addressing;
use landline_types::IfName;

use super::firewall::Firewall;

/// A new network's containers could not be reached.
#[derive(Debug, thiserror::Error)]
#[error(
    "the host's firewall drops what goes over {bridge} ({chain}), so containers on this network would get no address from the \
     LAN and could not be reached; add -o firewall=open to let it through (for networks that exist: landline doctor --fix), \
     or -o firewall=keep to have the network all the same"
)]
pub struct DroppedError {
    /// The bridge.
    pub bridge: IfName,
    /// The chain and the program whose it is.
    pub chain: String,
}

/// A new network's containers could not be reached.
#[derive(Debug, thiserror::Error)]
#[error(
    "the host's firewall drops what it routes between {parent} and containers ({chain}), so containers on this network could \
     not be reached; add -o firewall=open to let it through (for networks that exist: landline doctor --fix), or \
     -o firewall=keep to have the network all the same"
)]
pub struct RoutedDroppedError {
    /// The interface to the LAN.
    pub parent: IfName,
    /// The chain and the program whose it is.
    pub chain: String,
}

/// Looks at the host's firewall before there is a new network.
pub struct FirewallCheck {
    nat: Arc<Nat>,
}

impl FirewallCheck {
    /// Bridges that are let through by `nat` are not looked at.
    pub fn new(nat: Arc<Nat>) -> Self {
        Self { nat }
    }
}

impl Admission for FirewallCheck {
    /// Unless its user has it opened or wants it so.
    fn network<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            let Some(way) = Way::of(network.record, &self.nat.exceptions()) else { return Ok(()) };
            blocking(move || way.verdict(&way.firewall())).await
        })
    }
}

/// How the packets of a new network's containers come to the host's firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// Over this bridge.
    Bridged(IfName, Addressing),
    /// Routed, through this interface to the LAN.
    Routed(IfName),
}

impl Way {
    /// The way of a network that nobody has decided about: neither its user nor, by an exception, the administrator. `None`: there is
    /// nothing to look at.
    fn of(network: &NetworkRecord, exceptions: &BTreeSet<IfName>) -> Option<Self> {
        let (options, facts) = (&network.options, facts_of(network.options.mode));
        let decided = options.open_firewall || options.keep_firewall || exceptions.contains(&options.parent);
        if decided || is_implicit(&network.id) {
            return None;
        }
        let parent = options.parent.clone();
        if facts.host_routes() {
            Some(Self::Routed(parent))
        } else {
            facts.is_lan_bridge().then_some(Self::Bridged(parent, options.addressing))
        }
    }

    /// The rules that they pass. Blocks.
    fn firewall(&self) -> Firewall {
        match self {
            Self::Bridged(..) => Firewall::for_bridged(),
            Self::Routed(_) => Firewall::for_routed(),
        }
    }

    fn verdict(&self, firewall: &Firewall) -> Result<(), Refusal> {
        match self {
            Self::Bridged(bridge, addressing) => match firewall.drops_bridged(bridge, *addressing) {
                Some(chain) => Err(Refusal::new(DroppedError { bridge: bridge.clone(), chain })),
                None => Ok(()),
            },
            Self::Routed(parent) => match firewall.drops_routed(parent) {
                Some(chain) => Err(Refusal::new(RoutedDroppedError { parent: parent.clone(), chain })),
                None => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use landline_links::mark::ATTACHMENT_PREFIX;
    use landline_options::Mode;

    use super::*;
    use crate::tests::network;

    /// What becomes of a new network, with this firewall.
    fn admits(network: &NetworkRecord, exceptions: &[&str], firewall: &Firewall) -> Result<(), String> {
        let exceptions = exceptions.iter().map(|name| name.parse().unwrap()).collect();
        let verdict = Way::of(network, &exceptions).map_or(Ok(()), |way| way.verdict(firewall));
        verdict.map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_network_whose_packets_are_dropped_is_refused_with_what_to_type() {
        let refused = admits(&network(Mode::Bridge, "br0"), &[], &Firewall::dockers("")).unwrap_err();
        let begin = "the host's firewall drops what goes over br0 (chain FORWARD of iptables), ";
        assert!(refused.starts_with(begin), "{refused}");
        let refused = admits(&network(Mode::Routed, "wlan0"), &[], &Firewall::dockers("")).unwrap_err();
        let begin = "the host's firewall drops what it routes between wlan0 and containers (chain FORWARD of iptables), ";
        assert!(refused.starts_with(begin), "{refused}");
        for way in ["-o firewall=open", "-o firewall=keep", "landline doctor --fix"] {
            assert!(refused.contains(way), "{refused}");
        }
    }

    #[test]
    fn a_network_whose_packets_pass_is_admitted() {
        assert_eq!(admits(&network(Mode::Bridge, "br0"), &[], &Firewall::open()), Ok(()));
        assert_eq!(admits(&network(Mode::Routed, "wlan0"), &[], &Firewall::open()), Ok(()));
        let rule = "\n-A DOCKER-USER -i br0 -o br0 -j ACCEPT";
        assert_eq!(admits(&network(Mode::Bridge, "br0"), &[], &Firewall::dockers(rule)), Ok(()));
        assert!(
            admits(&network(Mode::Bridge, "br1"), &[], &Firewall::dockers(rule)).is_err(),
            "another bridge"
        );
        let routed = |rules: &str| admits(&network(Mode::Routed, "wlan0"), &[], &Firewall::dockers(rules));
        let (to, from) =
            ("\n-A DOCKER-USER -i wlan0 -o llh+ -j ACCEPT", "\n-A DOCKER-USER -i llh+ -o wlan0 -j ACCEPT");
        assert_eq!(routed(&format!("{to}{from}")), Ok(()));
        assert!(routed(to).is_err() && routed(from).is_err(), "one way is not enough");
        // Bridged packets that pass no rules, as they do without br_netfilter.
        assert_eq!(admits(&network(Mode::Bridge, "br0"), &[], &Firewall::default()), Ok(()));
    }

    #[test]
    fn whoever_has_decided_is_not_asked_again() {
        for (mode, parent) in [(Mode::Bridge, "br0"), (Mode::Routed, "wlan0")] {
            let asked = network(mode, parent);
            assert!(admits(&asked, &["other0"], &Firewall::dockers("")).is_err());
            assert_eq!(
                admits(&asked, &["other0", parent], &Firewall::dockers("")),
                Ok(()),
                "the administrator has"
            );
            let mut opened = asked.clone();
            opened.options.open_firewall = true;
            assert_eq!(admits(&opened, &[], &Firewall::dockers("")), Ok(()));
            let mut kept = asked.clone();
            kept.options.keep_firewall = true;
            assert_eq!(admits(&kept, &[], &Firewall::dockers("")), Ok(()));
            let id = format!("{ATTACHMENT_PREFIX}1").parse().unwrap();
            assert_eq!(
                admits(&NetworkRecord { id, ..asked }, &[], &Firewall::dockers("")),
                Ok(()),
                "an attachment's"
            );
        }
    }

    /// Their packets pass no bridge of the LAN that the host's rules for packets see, or Landline's own, which it opens itself.
    #[test]
    fn other_kinds_are_not_looked_at() {
        for mode in [Mode::Macvlan, Mode::Ipvlan, Mode::Ovs, Mode::Vde, Mode::Nat, Mode::Nic] {
            assert_eq!(Way::of(&network(mode, "if0"), &BTreeSet::new()), None, "{mode:?}");
        }
    }
}
