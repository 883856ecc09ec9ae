//! `mode=nic`: the network card itself, which moves into the container; attachments only.

use super::{HostAccess, ModeRules};
use crate::words::Addressing;

pub(super) const RULES: ModeRules = ModeRules {
    word: "nic",
    for_networks: false,
    missing_parent: Some(
        "a parent is missing: name the network card on the LAN, for example -o parent=eth0 (ip link lists them)",
    ),
    addressing: Addressing::Dhcp,
    translated: false,
    ipv6: true,
    shares_mac: false,
    vlan: false,
    trunks: false,
    firewall: false,
    host_access: HostAccess::Never,
};
