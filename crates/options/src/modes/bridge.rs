//! `mode=bridge`: a veth pair into an existing Linux bridge.

use super::{HostAccess, ModeRules};

pub(super) const RULES: ModeRules = ModeRules {
    word: "bridge",
    missing_parent: Some(
        "a bridge is missing: name an existing Linux bridge on the LAN, for example -o bridge=br0, \
         or use a network card directly with -o mode=macvlan -o parent=eth0",
    ),
    firewall: true,
    host_access: HostAccess::Needless,
    ..ModeRules::ON_LAN
};
