//! `mode=nat`: a private bridge, and an address of the LAN on the host for each container.

use super::{HostAccess, ModeRules};
use crate::words::Addressing;

pub(super) const RULES: ModeRules = ModeRules {
    word: "nat",
    missing_parent: Some(
        "a parent is missing: name the network card on the LAN, for example -o parent=eth0 (ip link lists them)",
    ),
    addressing: Addressing::Static,
    translated: true,
    ipv6: false,
    excludes: &["vlan"],
    firewall: true,
    host_access: HostAccess::Needless,
    ..ModeRules::ON_LAN
};
