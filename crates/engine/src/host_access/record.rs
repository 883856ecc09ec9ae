//! What the store keeps of host access.

use landline_types::IfName;
use serde::{Deserialize, Serialize};

/// A NIC whose `rp_filter` is 2 because a user said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoosenedRecord {
    /// The NIC.
    pub parent: IfName,
    /// What it was before.
    pub before: u32,
}
