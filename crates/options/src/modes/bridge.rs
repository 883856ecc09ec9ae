//! `mode=bridge`: a veth pair into an existing Linux bridge.

use super::{HostAccess, ModeRules};
use crate::words::Addressing;

pub(super) const RULES: ModeRules = ModeRules {
    word: "bridge",
    for_networks: true,
    missing_parent: Some(
        "a bridge is missing: name an existing Linux bridge on the LAN, for example -o bridge=br0, \
         or use a network card directly with -o mode=macvlan -o parent=eth0",
    ),
    addressing: Addressing::Dhcp,
    translated: false,
    ipv6: true,
    shares_mac: false,
    vlan: true,
    trunks: false,
    firewall: true,
    host_access: HostAccess::Needless,
};
