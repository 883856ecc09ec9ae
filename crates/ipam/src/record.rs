//! A pool as it is stored.

use std::fmt;

use ipnet::IpNet;
use landline_store::Record;

use landline_dhcp::Random;
use landline_options::{NetworkId, PoolSource};
use serde::{Deserialize, Serialize};

use super::pool::Pool;

/// What a pool is called for as long as it is not known where its addresses come from: its network's options say that.
const UNDECIDED: &str = "subnet";

/// What a pool is called: where its addresses come from, its subnet, the range for addresses nobody names, and a random
/// number. Docker keeps that and shows it to nobody, so it is what a pool that was lost with the state is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(String);

impl PoolId {
    /// A new one.
    pub(crate) fn random(random: &mut impl Random, source: Option<PoolSource>, pool: &Pool) -> Self {
        let (subnet, range) = (pool.subnet(), pool.range());
        let source = source.map_or(UNDECIDED, PoolSource::as_str);
        Self(format!("{source},{subnet},{range},{:08x}{:08x}", random.next_u32(), random.next_u32()))
    }

    /// Whether it says that it names such a pool.
    fn describes(&self, source: Option<PoolSource>, pool: &Pool) -> bool {
        self.description().is_some_and(|(word, subnet, range)| {
            let same = word == UNDECIDED || Some(word) == source.map(PoolSource::as_str);
            same && (subnet, range) == (pool.subnet(), pool.range())
        })
    }

    /// Where it says that the pool's addresses come from, if it does.
    pub(crate) fn source(&self) -> Option<PoolSource> {
        let (word, ..) = self.description()?;
        [PoolSource::Dhcp, PoolSource::Pool].into_iter().find(|source| source.as_str() == word)
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
    /// Where its addresses come from; `None`: its network, which is not created yet or another driver's, has not said.
    #[serde(default)]
    pub source: Option<PoolSource>,
    /// The network it was made for, once that was created with this driver.
    #[serde(default)]
    pub network: Option<NetworkId>,
    /// Its addresses. Those from a DHCP server are not among them.
    pub(crate) pool: Pool,
    /// It was lost and taken up from what Docker shows of its network; what Docker calls it has not been heard yet.
    #[serde(default)]
    pub adopted: bool,
    /// Docker did not show where its addresses come from either. What Docker calls it may say that: versions before this one made a
    /// pool of a subnet alone.
    #[serde(default)]
    pub guessed: bool,
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
        let alone = || self.guessed && id.describes(Some(PoolSource::Pool), &self.pool);
        self.adopted && (id.describes(self.source, &self.pool) || alone())
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
        let (lan, alone) = (Some(PoolSource::Dhcp), Some(PoolSource::Pool));
        let id = PoolId::random(&mut OsRandom, alone, &own);
        assert!(id.says_which() && id.describes(alone, &own), "{id}");
        assert!(!id.describes(lan, &own));
        assert!(!id.describes(alone, &pool("192.0.2.0/24", None)));
        let v6 = pool("2001:db8::/64", None);
        assert!(PoolId::random(&mut OsRandom, alone, &v6).describes(alone, &v6));
        let later = PoolId::random(&mut OsRandom, None, &own);
        assert!(later.says_which() && [lan, alone, None].iter().all(|source| later.describes(*source, &own)));
        assert!(!later.describes(lan, &v6));
        assert_eq!([id.source(), later.source()], [alone, None]);
        for text in ["", "91b6235577fd1201", "pool,192.0.2.0/24", "pool,x,y,z"] {
            assert!(!PoolId::from(text.to_owned()).says_which(), "{text}");
        }
    }

    #[test]
    fn a_name_knows_better_than_a_guess() {
        let pool = Pool::new("192.0.2.0/24".parse().unwrap(), None).unwrap();
        let name = |source| PoolId::random(&mut OsRandom, Some(source), &pool);
        let record = |guessed| PoolRecord {
            id: name(PoolSource::Dhcp),
            source: Some(PoolSource::Dhcp),
            network: None,
            pool: pool.clone(),
            adopted: true,
            guessed,
        };
        assert!(record(true).may_be(&name(PoolSource::Pool)) && record(true).may_be(&name(PoolSource::Dhcp)));
        assert!(!record(false).may_be(&name(PoolSource::Pool)), "Docker shows that it is none");
    }
}
