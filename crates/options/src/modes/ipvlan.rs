//! `mode=ipvlan`: an ipvlan child of a network card (L2), with the card's own hardware address.

use super::{HostAccess, ModeRules};
use crate::words::Addressing;

pub(super) const RULES: ModeRules = ModeRules {
    word: "ipvlan",
    for_networks: true,
    missing_parent: Some(
        "a parent is missing: name the network card on the LAN, for example -o parent=eth0 (ip link lists them)",
    ),
    addressing: Addressing::Dhcp,
    translated: false,
    ipv6: true,
    shares_mac: true,
    vlan: true,
    trunks: false,
    firewall: false,
    host_access: HostAccess::Possible,
};
