//! What `landline doctor --fix` changes.

use std::collections::{BTreeMap, BTreeSet};

use landline_model::{NatOwner, NetworkRecord};
use landline_options::NetworkId;
use landline_types::IfName;

use super::Finding;

/// What mends a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cure {
    /// Letting this bridge through the host's firewall.
    Bridge(IfName),
    /// The same for what is translated.
    Nat(NatOwner),
}

/// A finding, and what of it can be mended.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) finding: Finding,
    pub(super) cures: BTreeSet<Cure>,
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        Self { finding, cures: BTreeSet::new() }
    }
}

/// What is let through the host's firewall.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opened {
    /// The bridges and the parents of routed containers.
    pub(super) bridges: BTreeSet<IfName>,
    /// The addresses on the host that stand for containers.
    pub(super) owners: BTreeSet<NatOwner>,
}

/// What mends all of these. With a private bridge go the addresses (`owners`: those there are) of the networks on it.
pub(super) fn opened<'a>(
    found: &[Found],
    networks: &BTreeMap<NetworkId, NetworkRecord>,
    owners: impl IntoIterator<Item = &'a NatOwner>,
) -> Opened {
    let mut opened = Opened::default();
    for cure in found.iter().flat_map(|found| found.cures.iter().cloned()) {
        match cure {
            Cure::Bridge(bridge) => drop(opened.bridges.insert(bridge)),
            Cure::Nat(owner) => drop(opened.owners.insert(owner)),
        }
    }
    let parent = |owner: &NatOwner| Some(&networks.get(owner.network()?)?.options.parent);
    let on_bridge = |owner: &&NatOwner| parent(owner).is_some_and(|parent| opened.bridges.contains(parent));
    let theirs: Vec<NatOwner> = owners.into_iter().filter(on_bridge).cloned().collect();
    opened.owners.extend(theirs);
    opened
}

/// What of this could be mended, and is found no more. Other findings go by themselves, or say it differently since: Docker has told the
/// name of a network.
pub(super) fn mended(before: Vec<Found>, now: &[Finding]) -> Vec<Finding> {
    let curable = before.into_iter().filter(|found| !found.cures.is_empty()).map(|found| found.finding);
    curable.filter(|finding| !now.contains(finding)).collect()
}

#[cfg(test)]
mod tests {
    use landline_options::Mode;

    use super::*;
    use crate::tests::network;

    fn finding(says: &str) -> Finding {
        Finding::new("firewall", says.to_owned())
    }

    fn found(says: &str, cures: &[Cure]) -> Found {
        Found { finding: finding(says), cures: cures.iter().cloned().collect() }
    }

    fn bridge(name: &str) -> Cure {
        Cure::Bridge(name.parse().unwrap())
    }

    fn network_id(letter: &str) -> NetworkId {
        letter.repeat(64).parse().unwrap()
    }

    #[test]
    fn only_what_could_be_mended_is_reported_as_mended() {
        let cure = [bridge("br0")];
        let before = vec![
            found("network lan: br0 is closed", &cure),
            found("network wan: br1 is closed", &cure),
            found("network 79aeda61e747: the route leads elsewhere", &[]),
        ];
        let now = [finding("network wan: br1 is closed"), finding("network nat: the route leads elsewhere")];
        assert_eq!(mended(before, &now), [finding("network lan: br0 is closed")]);
    }

    #[test]
    fn findings_that_nothing_mends_open_nothing() {
        let networks = [(network_id("a"), network(Mode::Nat, "llb0"))].into();
        let owners = [NatOwner::Network(network_id("a")), NatOwner::Container("web".to_owned())];
        assert_eq!(opened(&[found("eth0 has no carrier", &[])], &networks, &owners), Opened::default());
        assert_eq!(opened(&[], &networks, &owners), Opened::default());
    }

    #[test]
    fn what_is_found_is_opened_once_and_nothing_else() {
        let web = NatOwner::Container("web".to_owned());
        let found = [
            found("chain FORWARD drops br0", &[bridge("br0")]),
            found("nothing is forwarded", &[bridge("br0"), bridge("llb0"), Cure::Nat(web.clone())]),
        ];
        let there = [web.clone(), NatOwner::Container("db".to_owned())];
        let bridges = ["br0", "llb0"].map(|name| name.parse().unwrap()).into();
        assert_eq!(opened(&found, &BTreeMap::new(), &there), Opened { bridges, owners: [web].into() });
    }

    #[test]
    fn with_a_private_bridge_go_the_addresses_of_its_networks() {
        let networks =
            [(network_id("a"), network(Mode::Nat, "llb0")), (network_id("b"), network(Mode::Nat, "llb1"))]
                .into();
        let on = |letter: &str| NatOwner::Network(network_id(letter));
        // The network of one is gone meanwhile.
        let there = [on("a"), on("b"), on("c"), NatOwner::Container("web".to_owned())];
        let opened = opened(&[found("chain FORWARD drops llb0", &[bridge("llb0")])], &networks, &there);
        assert_eq!(opened.owners, [on("a")].into());
    }
}
