//! `mode=macvlan`: a macvlan child of a network card.

use super::{HostAccess, ModeRules};
use crate::words::Addressing;

pub(super) const RULES: ModeRules = ModeRules {
    word: "macvlan",
    for_networks: true,
    missing_parent: Some(
        "a parent is missing: name the network card on the LAN, for example -o parent=eth0 (ip link lists them)",
    ),
    addressing: Addressing::Dhcp,
    translated: false,
    ipv6: true,
    shares_mac: false,
    vlan: true,
    trunks: false,
    firewall: false,
    host_access: HostAccess::Possible,
};
