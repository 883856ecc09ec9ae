//! Which bridges are let through the host's firewall: as their networks' users say, or the administrator.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use landline_spec::Mode;
use landline_types::IfName;
use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::engine::{Engine, open_bridges};
use crate::nat::{NatError, private_bridges};
use crate::records::NetworkRecord;

/// A bridge that is let through on the administrator's word (`landline doctor --fix`), whatever its networks' users say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpeningRecord {
    /// The bridge.
    pub bridge: IfName,
}

/// All of those; as long as a network hangs on them.
#[derive(Debug)]
pub(crate) struct Openings(Mutex<BTreeSet<IfName>>);

impl Openings {
    pub(crate) fn new(records: Vec<OpeningRecord>) -> Self {
        Self(Mutex::new(records.into_iter().map(|record| record.bridge).collect()))
    }

    pub(crate) fn all(&self) -> BTreeSet<IfName> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<IfName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Opens the host's firewall for a new network, if its user says so.
    pub(crate) async fn open_firewall(&self, network: &NetworkRecord) -> Result<(), NatError> {
        if !network.options.open_firewall || network.options.mode != Mode::Bridge {
            return Ok(());
        }
        let mut bridges = open_bridges(self.networks().values(), &self.openings.all());
        bridges.insert(network.options.parent.clone());
        self.nat.open_bridges(bridges).await
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
            if opened || network.options.open_firewall { self.reopen_firewall().await } else { Ok(()) }
        };
        if let Err(error) = closed.await {
            tracing::warn!(error = %crate::chain(&error), "the host's firewall could not be closed");
        }
    }

    /// Opens it for a bridge.
    pub(super) async fn add_opening(&self, bridge: IfName) -> Result<(), NatError> {
        let (store, record) = (self.store.clone(), OpeningRecord { bridge: bridge.clone() });
        blocking(move || store.put_opening(&record)).await?;
        self.openings.lock().insert(bridge);
        Ok(())
    }

    pub(super) async fn forget_opening(&self, bridge: &IfName) -> Result<(), NatError> {
        let (store, key) = (self.store.clone(), bridge.clone());
        blocking(move || store.remove_opening(&key)).await?;
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
