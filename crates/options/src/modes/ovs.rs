//! `mode=ovs`: a veth pair into an existing Open vSwitch bridge.

use super::{HostAccess, ModeRules};

pub(super) const RULES: ModeRules = ModeRules {
    word: "ovs",
    missing_parent: Some(
        "a bridge is missing: name an existing Open vSwitch bridge, for example -o bridge=br0 \
         (ovs-vsctl list-br lists them)",
    ),
    trunks: true,
    host_access: HostAccess::Needless,
    ..ModeRules::ON_LAN
};
