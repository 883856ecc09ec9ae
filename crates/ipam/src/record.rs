//! A pool as it is stored.

use std::fmt;

use ipnet::IpNet;
use landline_store::Record;

use landline_dhcp::Random;
use landline_spec::{NetworkId, PoolSource};
use serde::{Deserialize, Serialize};

use super::pool::Pool;

/// What a pool is called: where its addresses come from, its subnet, the range for addresses nobody names, and a random
/// number. Docker keeps that and shows it to nobody, so it is what a pool that was lost with the state is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(String);

impl PoolId {
    /// A new one.
    pub(crate) fn random(random: &mut impl Random, source: PoolSource, pool: &Pool) -> Self {
        let (subnet, range) = (pool.subnet(), pool.range());
        Self(format!(
            "{},{subnet},{range},{:08x}{:08x}",
            source.as_str(),
            random.next_u32(),
            random.next_u32()
        ))
    }

    /// Whether it says that it names such a pool.
    fn describes(&self, source: PoolSource, pool: &Pool) -> bool {
        self.description() == Some((source.as_str(), pool.subnet(), pool.range()))
    }

    /// Whether it says what pool it names.
    pub(crate) fn says_which(&self) -> bool {
        self.description().is_some()
    }

    fn description(&self) -> Option<(&str, IpNet, IpNet)> {
        let mut parts = self.0.split(',');
        let (source, subnet, range) = (parts.next()?, parts.next()?, parts.next()?);
        Some((source, subnet.parse().ok()?, range.parse().ok()?))
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
    /// It was lost and taken up from what Docker shows of its network; what Docker calls it has not been heard yet.
    #[serde(default)]
    pub adopted: bool,
}

impl Record for PoolRecord {
    const TABLE: &'static str = "pools";
    type Key = PoolId;

    fn key(&self) -> &PoolId {
        &self.id
    }
}

impl PoolRecord {
    /// Whether Docker may mean this one by a name that nobody knows.
    pub(crate) fn may_be(&self, id: &PoolId) -> bool {
        self.adopted && id.describes(self.source, &self.pool)
    }
}

#[cfg(test)]
mod tests {
    use landline_leases::OsRandom;

    use super::*;

    #[test]
    fn a_name_says_what_it_names() {
        let pool = |subnet: &str, range: Option<&str>| {
            Pool::new(subnet.parse().unwrap(), range.map(|range| range.parse().unwrap())).unwrap()
        };
        let own = pool("192.0.2.0/24", Some("192.0.2.64/27"));
        let id = PoolId::random(&mut OsRandom, PoolSource::Pool, &own);
        assert!(id.says_which() && id.describes(PoolSource::Pool, &own), "{id}");
        assert!(!id.describes(PoolSource::Dhcp, &own));
        assert!(!id.describes(PoolSource::Pool, &pool("192.0.2.0/24", None)));
        let v6 = pool("2001:db8::/64", None);
        assert!(PoolId::random(&mut OsRandom, PoolSource::Pool, &v6).describes(PoolSource::Pool, &v6));
        for text in ["", "91b6235577fd1201", "pool,192.0.2.0/24", "pool,x,y,z"] {
            assert!(!PoolId::from(text.to_owned()).says_which(), "{text}");
        }
    }
}
