//! What the store keeps of host access.

use landline_store::Record;
use landline_types::IfName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A NIC whose `rp_filter` is 2 because a user said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpFilterRecord {
    /// The NIC.
    pub parent: IfName,
    /// What it was before.
    pub before: u32,
}

impl Record for RpFilterRecord {
    const TABLE: &'static str = "loosened";
    type Key = IfName;

    fn key(&self) -> &IfName {
        &self.parent
    }

    /// The setting as it was.
    fn owed(key: &str, row: &Value) -> Option<Self> {
        let before = u32::try_from(row.get("before")?.as_u64()?).ok()?;
        Some(Self { parent: key.parse().ok()?, before })
    }
}
