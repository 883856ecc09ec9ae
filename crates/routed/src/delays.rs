//! How long the kernel waits before it answers for others (`proxy_delay`, arp(7)): by default for up to 0.8 s, which the first packet of
//! each neighbour of a container would wait as well. While a parent has routed containers it is 0, and afterwards what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use landline_kernel::sysctl::Family;
use landline_links::{Namespaces, blocking};
use landline_store::{Record, Store, StoreError};
use landline_types::IfName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const KEY: &str = "proxy_delay";
const NONE: &str = "0";

/// An interface whose `proxy_delay` is 0 because of routed containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyDelayRecord {
    /// The interface.
    pub parent: IfName,
    /// What it was before, in hundredths of a second.
    pub before: u32,
}

impl Record for ProxyDelayRecord {
    const TABLE: &'static str = "proxy_delays";
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

/// Why a setting is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DelayError {
    #[error("cannot change {KEY} of {0}")]
    Setting(IfName, #[source] io::Error),
    #[error("cannot store {KEY} of {0}")]
    Store(IfName, #[source] StoreError),
}

/// The settings that were changed.
#[derive(Debug)]
pub(crate) struct Delays {
    before: BTreeMap<IfName, u32>,
    store: Arc<Store>,
}

impl Delays {
    pub(crate) fn resume(records: Vec<ProxyDelayRecord>, store: Arc<Store>) -> Self {
        let before = records.into_iter().map(|record| (record.parent, record.before)).collect();
        Self { before, store }
    }

    /// These interfaces have routed containers, and no others.
    pub(crate) async fn keep(&mut self, namespaces: &Arc<dyn Namespaces>, parents: BTreeSet<IfName>) {
        let done: Vec<IfName> = self.before.keys().filter(|name| !parents.contains(*name)).cloned().collect();
        for parent in parents {
            if let Err(error) = self.shorten(namespaces, parent).await {
                tracing::warn!(
                    error = landline_types::chain(&error),
                    "the first packet to a container may take longer"
                );
            }
        }
        for parent in done {
            if let Err(error) = self.restore(namespaces, &parent).await {
                tracing::warn!(error = landline_types::chain(&error), "a setting is not as it was before");
            }
        }
    }

    async fn shorten(&mut self, namespaces: &Arc<dyn Namespaces>, parent: IfName) -> Result<(), DelayError> {
        // An interface that is not there, or a kernel that does not say, has nothing to change.
        let Some(now) = get(namespaces, &parent).await.filter(|now| now != NONE) else { return Ok(()) };
        if let (None, Ok(before)) = (self.before.get(&parent), now.parse()) {
            let record = ProxyDelayRecord { parent: parent.clone(), before };
            self.store.put(&record).await.map_err(|source| DelayError::Store(parent.clone(), source))?;
            self.before.insert(parent.clone(), before);
        }
        set(namespaces, parent, NONE.to_owned()).await
    }

    /// Unless somebody else has changed it meanwhile.
    async fn restore(&mut self, namespaces: &Arc<dyn Namespaces>, parent: &IfName) -> Result<(), DelayError> {
        if let Some(before) = self.before.get(parent)
            && get(namespaces, parent).await.is_some_and(|now| now == NONE)
        {
            set(namespaces, parent.clone(), before.to_string()).await?;
        }
        let removed = self.store.remove::<ProxyDelayRecord>(parent).await;
        removed.map_err(|source| DelayError::Store(parent.clone(), source))?;
        self.before.remove(parent);
        Ok(())
    }
}

async fn get(namespaces: &Arc<dyn Namespaces>, parent: &IfName) -> Option<String> {
    let (namespaces, parent) = (namespaces.clone(), parent.clone());
    blocking(move || namespaces.setting(Family::Arp, &parent, KEY)).await.ok()
}

async fn set(namespaces: &Arc<dyn Namespaces>, parent: IfName, value: String) -> Result<(), DelayError> {
    let namespaces = namespaces.clone();
    blocking(move || {
        let done = namespaces.set(Family::Arp, &parent, KEY, &value);
        done.map_err(|source| DelayError::Setting(parent, source))
    })
    .await
}
