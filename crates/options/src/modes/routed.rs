//! `mode=routed`: the host routes for containers that have addresses of the LAN, and answers for them there.

use super::{HostAccess, ModeRules};

pub(super) const RULES: ModeRules = ModeRules {
    word: "routed",
    missing_parent: Some(
        "a parent is missing: name the interface that has the host's address on the LAN, for example -o parent=wlan0 \
         (ip address lists them)",
    ),
    ipv6: false,
    shares_mac: true,
    excludes: &["vlan"],
    firewall: true,
    host_access: HostAccess::Needless,
    ..ModeRules::ON_LAN
};
