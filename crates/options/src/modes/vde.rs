//! `mode=vde`: a port of a VDE2 switch.

use super::{HostAccess, ModeRules};
use crate::words::Addressing;

pub(super) const RULES: ModeRules = ModeRules {
    word: "vde",
    for_networks: true,
    missing_parent: None,
    addressing: Addressing::Static,
    translated: false,
    ipv6: true,
    shares_mac: false,
    vlan: false,
    trunks: false,
    firewall: false,
    host_access: HostAccess::Never,
};
