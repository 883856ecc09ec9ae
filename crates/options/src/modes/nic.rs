//! `mode=nic`: the network card itself, which moves into the container; attachments only.

use super::{HostAccess, ModeRules};

pub(super) const RULES: ModeRules = ModeRules {
    word: "nic",
    for_networks: false,
    missing_parent: Some(
        "a parent is missing: name the network card on the LAN, for example -o parent=eth0 (ip link lists them)",
    ),
    excludes: &["vlan"],
    host_access: HostAccess::Never,
    ..ModeRules::ON_LAN
};
