//! What the store keeps of host access.

use ipnet::IpNet;
use landline_types::IfName;
use serde::{Deserialize, Serialize};

/// A network whose containers the host is to reach, as `landline host-access enable` was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// The network's name, or its id.
    pub network: String,
    /// Addresses of the shim's own, at most one of each family; without any it is unnumbered.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
    /// Further destinations that are reached through the shim.
    #[serde(default)]
    pub routes: Vec<IpNet>,
    /// What a shim with addresses is called.
    #[serde(default)]
    pub interface: Option<IfName>,
    /// Whether the user allowed to set `rp_filter` of the parent to 2.
    #[serde(default)]
    pub loosen: bool,
}

impl AccessRecord {
    /// Access with an unnumbered shim.
    pub fn new(network: impl Into<String>) -> Self {
        Self {
            network: network.into(),
            addresses: Vec::new(),
            routes: Vec::new(),
            interface: None,
            loosen: false,
        }
    }
}

/// A NIC whose `rp_filter` is 2 because a user said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoosenedRecord {
    /// The NIC.
    pub parent: IfName,
    /// What it was before.
    pub before: u32,
}
