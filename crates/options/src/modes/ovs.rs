//! `mode=ovs`: a veth pair into an existing Open vSwitch bridge.

use super::{HostAccess, ModeRules};
use crate::words::Addressing;

pub(super) const RULES: ModeRules = ModeRules {
    word: "ovs",
    for_networks: true,
    missing_parent: Some(
        "a bridge is missing: name an existing Open vSwitch bridge, for example -o bridge=br0 \
         (ovs-vsctl list-br lists them)",
    ),
    addressing: Addressing::Dhcp,
    translated: false,
    ipv6: true,
    shares_mac: false,
    vlan: true,
    trunks: true,
    firewall: false,
    host_access: HostAccess::Needless,
};
