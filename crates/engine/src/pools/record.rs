//! A pool as it is stored.

use std::fmt;

use landline_dhcp::Random;
use landline_spec::{NetworkId, PoolSource};
use serde::{Deserialize, Serialize};

use super::pool::Pool;

/// What a pool is called: 16 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(String);

impl PoolId {
    /// A new one.
    pub(crate) fn random(random: &mut impl Random) -> Self {
        Self(format!("{:08x}{:08x}", random.next_u32(), random.next_u32()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for PoolId {
    /// Whatever it is, it is looked up and nothing else.
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pool that Docker was told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// Its key.
    pub id: PoolId,
    /// Where its addresses come from.
    pub source: PoolSource,
    /// The network it was made for, once that was created with this driver.
    #[serde(default)]
    pub network: Option<NetworkId>,
    /// Its addresses. Those from a DHCP server are not among them.
    pub(crate) pool: Pool,
}
