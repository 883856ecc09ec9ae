//! `mode=vde`: a port of a VDE2 switch.

use super::{HostAccess, ModeRules};
use crate::words::Addressing;

pub(super) const RULES: ModeRules = ModeRules {
    word: "vde",
    addressing: Addressing::Static,
    excludes: &["vlan"],
    host_access: HostAccess::Never,
    ..ModeRules::ON_LAN
};
