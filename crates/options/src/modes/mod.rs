//! How the wire of a network runs: a file for each mode, with what the mode says about the options beside it.

mod bridge;
mod ipvlan;
mod macvlan;
mod nat;
mod nic;
mod ovs;
mod routed;
mod vde;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::words::Addressing;

/// How the wire of a network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A veth pair into an existing Linux bridge.
    #[default]
    Bridge,
    /// A macvlan child of a network card.
    Macvlan,
    /// An ipvlan child of a network card (L2): it has the card's own hardware address.
    Ipvlan,
    /// A veth pair into an existing Open vSwitch bridge.
    Ovs,
    /// A port of a VDE2 switch.
    Vde,
    /// A private bridge, and an address of the LAN on the host for each container.
    Nat,
    /// A veth pair whose containers the host routes for: the LAN sees the parent's hardware address alone.
    Routed,
    /// The network card itself, which moves into the container. Attachments only.
    Nic,
}

/// What a mode says about the options beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether one option makes sense")]
pub(crate) struct ModeRules {
    /// The word users write.
    word: &'static str,
    /// Whether a network may have it; attachments have their own word for the others.
    for_networks: bool,
    /// What is said if no parent is named. `None`: none may be named, since the driver has its own or needs none; the network's parent
    /// is called like the mode until the driver says otherwise.
    pub(crate) missing_parent: Option<&'static str>,
    /// Where addresses come from unless `addressing` says otherwise.
    pub(crate) addressing: Addressing,
    /// Whether containers' addresses are translated, so that they can only be static ones of IPv4.
    pub(crate) translated: bool,
    /// Whether containers can have IPv6.
    pub(crate) ipv6: bool,
    /// Whether all containers have one hardware address.
    pub(crate) shares_mac: bool,
    /// Options that mean nothing.
    pub(crate) excludes: &'static [&'static str],
    /// Whether a port can carry several of them.
    pub(crate) trunks: bool,
    /// Whether the host's firewall is in the way of it, and can be opened.
    pub(crate) firewall: bool,
    /// What becomes of `host_access`.
    pub(crate) host_access: HostAccess,
}

impl ModeRules {
    /// A mode whose containers are stations of a LAN. The rules of a mode say what is different in it.
    const ON_LAN: Self = Self {
        word: "",
        for_networks: true,
        missing_parent: None,
        addressing: Addressing::Dhcp,
        translated: false,
        ipv6: true,
        shares_mac: false,
        excludes: &[],
        trunks: false,
        firewall: false,
        host_access: HostAccess::Possible,
    };
}

/// What becomes of `host_access` in a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostAccess {
    /// The host cannot reach containers without it.
    Possible,
    /// It can anyway.
    Needless,
    /// It cannot at all.
    Never,
}

impl Mode {
    /// All there are.
    pub(crate) const ALL: [Self; 8] =
        [Self::Bridge, Self::Macvlan, Self::Ipvlan, Self::Ovs, Self::Vde, Self::Nat, Self::Routed, Self::Nic];

    /// What it says about the options beside it.
    pub(crate) const fn rules(self) -> &'static ModeRules {
        match self {
            Self::Bridge => &bridge::RULES,
            Self::Macvlan => &macvlan::RULES,
            Self::Ipvlan => &ipvlan::RULES,
            Self::Ovs => &ovs::RULES,
            Self::Vde => &vde::RULES,
            Self::Nat => &nat::RULES,
            Self::Routed => &routed::RULES,
            Self::Nic => &nic::RULES,
        }
    }

    /// The word users write.
    pub const fn as_str(self) -> &'static str {
        self.rules().word
    }

    /// Whether its networks have a parent that somebody names. The others have one of their own, or none.
    pub fn has_named_parent(self) -> bool {
        self.rules().missing_parent.is_some()
    }

    /// Whether its containers can have IPv6.
    pub fn has_ipv6(self) -> bool {
        self.rules().ipv6
    }

    /// Whether its networks are on a LAN, whose DHCP server gives addresses unless the network's options say otherwise.
    pub fn asks_the_lan(self) -> bool {
        self.rules().addressing == Addressing::Dhcp
    }

    /// The words of those a network may have.
    pub fn words_of_networks() -> Vec<&'static str> {
        Self::of_networks().into_iter().map(|(word, _)| word).collect()
    }

    /// Those a network may have, with their words.
    pub(crate) fn of_networks() -> Vec<(&'static str, Self)> {
        Self::ALL
            .into_iter()
            .filter(|mode| mode.rules().for_networks)
            .map(|mode| (mode.as_str(), mode))
            .collect()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_store() {
        for mode in Mode::ALL {
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
        }
        let words: Vec<&str> = Mode::of_networks().into_iter().map(|(word, _)| word).collect();
        assert_eq!(words, ["bridge", "macvlan", "ipvlan", "ovs", "vde", "nat", "routed"]);
    }
}
