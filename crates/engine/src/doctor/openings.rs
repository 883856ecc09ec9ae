//! Which bridges are let through the host's firewall: as their networks' users say, or the administrator.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use landline_types::IfName;
use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::engine::{Engine, open_bridges};
use crate::links::{ParentIs, facts_of};
use crate::nat::{NatError, private_bridges};
use crate::records::NetworkRecord;
use crate::store::{Record, Store};

/// A bridge that is let through on the administrator's word (`landline doctor --fix`), whatever its networks' users say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpeningRecord {
    /// The bridge.
    pub bridge: IfName,
}

impl Record for OpeningRecord {
    const TABLE: &'static str = "openings";
    type Key = IfName;

    fn key(&self) -> &IfName {
        &self.bridge
    }

    /// The key is all there is to it.
    fn owed(key: &str, _row: &serde_json::Value) -> Option<Self> {
        key.parse().ok().map(|bridge| Self { bridge })
    }
}

/// A new network's containers could not be reached.
#[derive(Debug, thiserror::Error)]
#[error(
    "the host's firewall drops what goes over {bridge} ({chain}), so containers on this network would get no address from the \
     LAN and could not be reached; add -o firewall=open to let it through (for networks that exist: landline doctor --fix), \
     or -o firewall=keep to have the network all the same"
)]
pub struct DroppedError {
    /// The bridge.
    pub bridge: IfName,
    /// The chain and the program whose it is.
    pub chain: String,
}

/// All of those; as long as a network hangs on them.
#[derive(Debug)]
pub(crate) struct Openings(Mutex<BTreeSet<IfName>>);

impl Openings {
    /// Those of the last run. One whose networks are gone is forgotten: a later one on that bridge is another.
    pub(crate) async fn resume(
        records: Vec<OpeningRecord>,
        networks: &[NetworkRecord],
        store: &Store,
    ) -> Self {
        let used: BTreeSet<&IfName> = networks.iter().map(|network| &network.options.parent).collect();
        let (kept, gone): (BTreeSet<IfName>, BTreeSet<IfName>) =
            records.into_iter().map(|record| record.bridge).partition(|bridge| used.contains(bridge));
        for bridge in gone {
            if let Err(error) = store.remove::<OpeningRecord>(&bridge).await {
                tracing::warn!(%bridge, error = crate::chain(&error), "an opening that is over is still stored");
            }
        }
        Self(Mutex::new(kept))
    }

    pub(crate) fn all(&self) -> BTreeSet<IfName> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<IfName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Opens the host's firewall for a new network, if its user says so or the bridge is its own.
    pub(crate) async fn open_firewall(&self, network: &NetworkRecord) -> Result<(), NatError> {
        let asked = network.options.open_firewall && facts_of(network.options.mode).is_lan_bridge();
        let own = is_own(network);
        if !asked && !own {
            return Ok(());
        }
        let bridges = {
            let networks = self.networks();
            let networks = networks.values().filter(|other| other.id != network.id).chain([network]);
            open_bridges(networks, &self.openings.all())
        };
        match self.nat.open_bridges(bridges).await {
            // It works on every host whose firewall lets bridged packets through, and doctor knows the others.
            Err(error) if !asked => {
                tracing::warn!(bridge = %network.options.parent, error = %crate::chain(&error),
                    "a network's own bridge could not be let through the host's firewall");
                Ok(())
            }
            done => done,
        }
    }

    /// Before a container's first packet: the host's firewall may have been closed without a word, as the kernel's settings for bridged
    /// packets and the rules of `iptables-legacy` are.
    pub(crate) async fn open_for_start(&self, network: &NetworkRecord) {
        let options = &network.options;
        let facts = facts_of(options.mode);
        let openable = facts.is_lan_bridge() || facts.is_translated();
        if openable && (options.open_firewall || self.openings.all().contains(&options.parent)) {
            self.nat.look().await;
        }
    }

    /// Refuses a new network on a bridge whose packets the host's firewall drops, unless its user has that opened or wants it so.
    pub(crate) async fn check_firewall(&self, network: &NetworkRecord) -> Result<(), DroppedError> {
        let options = &network.options;
        let asked = options.open_firewall || options.keep_firewall;
        if !facts_of(options.mode).is_lan_bridge() || asked || self.openings.all().contains(&options.parent) {
            return Ok(());
        }
        let (bridge, addressing) = (options.parent.clone(), options.addressing);
        let chain = blocking(move || super::firewall::what_drops(&bridge, addressing)).await;
        chain.map_or(Ok(()), |chain| Err(DroppedError { bridge: options.parent.clone(), chain }))
    }

    /// Closes it for a network that is gone, unless another one needs it open.
    pub(crate) async fn close_firewall(&self, network: &NetworkRecord) {
        let parent = &network.options.parent;
        let used = self.networks().values().any(|other| other.options.parent == *parent);
        let opened = !used && self.openings.all().contains(parent);
        let closed = async {
            if opened {
                self.forget_opening(parent).await?;
            }
            if opened || network.options.open_firewall || is_own(network) {
                self.reopen_firewall().await
            } else {
                Ok(())
            }
        };
        if let Err(error) = closed.await {
            tracing::warn!(error = %crate::chain(&error), "the host's firewall could not be closed");
        }
    }

    /// Opens it for a bridge.
    pub(super) async fn add_opening(&self, bridge: IfName) -> Result<(), NatError> {
        self.store.put(&OpeningRecord { bridge: bridge.clone() }).await?;
        self.openings.lock().insert(bridge);
        Ok(())
    }

    pub(super) async fn forget_opening(&self, bridge: &IfName) -> Result<(), NatError> {
        self.store.remove::<OpeningRecord>(bridge).await?;
        self.openings.lock().remove(bridge);
        Ok(())
    }

    /// Has the openings there should be.
    pub(super) async fn reopen_firewall(&self) -> Result<(), NatError> {
        let openings = self.openings.all();
        let (bridges, privates) = {
            let networks = self.networks();
            (open_bridges(networks.values(), &openings), private_bridges(networks.values(), &openings))
        };
        self.nat.open_bridges(bridges).await?;
        self.nat.privates(privates).await
    }
}

/// Whether the network's bridge is Landline's own.
fn is_own(network: &NetworkRecord) -> bool {
    facts_of(network.options.mode).parent == ParentIs::OwnBridge
}

#[cfg(test)]
mod tests {
    use landline_spec::Mode;

    use super::*;

    #[tokio::test]
    async fn an_opening_does_not_outlive_its_networks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let (store, _) = Store::open(&path).unwrap();
        let record = |bridge: &str| OpeningRecord { bridge: bridge.parse().unwrap() };
        let records = vec![record("br0"), record("br1")];
        for record in &records {
            store.put(record).await.unwrap();
        }
        let network = crate::doctor::tests::network(Mode::Bridge, "br1");
        let openings = Openings::resume(records, &[network], &store).await;
        assert_eq!(openings.all(), BTreeSet::from([record("br1").bridge]));
        drop(store);
        assert_eq!(Store::open(&path).unwrap().1.take::<OpeningRecord>(), [record("br1")]);
    }
}
