//! `mode=routed`: the host routes for containers that have addresses of the LAN, and answers for them there.

use super::{HostAccess, ModeRules};
use crate::words::Addressing;

pub(super) const RULES: ModeRules = ModeRules {
    word: "routed",
    for_networks: true,
    missing_parent: Some(
        "a parent is missing: name the interface that has the host's address on the LAN, for example -o parent=wlan0 \
         (ip address lists them)",
    ),
    addressing: Addressing::Dhcp,
    translated: false,
    ipv6: false,
    shares_mac: true,
    vlan: false,
    trunks: false,
    firewall: true,
    host_access: HostAccess::Needless,
};
