//! One endpoint's record, and the row in the store that follows it.

use std::sync::Arc;

use landline_model::IdentityRecord;
use landline_spec::{EndpointId, NetworkOptions};
use tokio::sync::Mutex;

use crate::records::EndpointRecord;
use crate::store::{Batch, Store, StoreError};

/// A record that several tasks read and change. Once [`commit`](Cell::commit)ted every change is on disk before
/// it returns, in the order the changes were made.
#[derive(Debug)]
pub(crate) struct Cell {
    id: EndpointId,
    options: NetworkOptions,
    store: Arc<Store>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    record: EndpointRecord,
    stored: bool,
}

impl Cell {
    /// A record that is not stored yet.
    pub(crate) fn fresh(record: EndpointRecord, options: NetworkOptions, store: Arc<Store>) -> Self {
        Self { id: record.id.clone(), options, store, inner: Mutex::new(Inner { record, stored: false }) }
    }

    /// A record that came out of the store.
    pub(crate) fn stored(record: EndpointRecord, options: NetworkOptions, store: Arc<Store>) -> Self {
        Self { id: record.id.clone(), options, store, inner: Mutex::new(Inner { record, stored: true }) }
    }

    pub(crate) fn id(&self) -> &EndpointId {
        &self.id
    }

    /// The options of the endpoint's network.
    pub(crate) fn options(&self) -> &NetworkOptions {
        &self.options
    }

    pub(crate) async fn read(&self) -> EndpointRecord {
        self.inner.lock().await.record.clone()
    }

    /// Changes the record. The change holds in memory even if it cannot be written.
    pub(crate) async fn update(&self, change: impl FnOnce(&mut EndpointRecord)) -> Result<(), StoreError> {
        let mut inner = self.inner.lock().await;
        let before = inner.record.clone();
        change(&mut inner.record);
        if inner.stored && inner.record != before { self.store.put(&inner.record).await } else { Ok(()) }
    }

    /// Changes the record in memory alone; the next change that is written takes this one along.
    pub(crate) async fn amend(&self, change: impl FnOnce(&mut EndpointRecord)) {
        change(&mut self.inner.lock().await.record);
    }

    /// Whether changes are written.
    pub(crate) async fn is_stored(&self) -> bool {
        self.inner.lock().await.stored
    }

    /// Writes the record for the first time, with its identity; from now on changes are written too.
    pub(crate) async fn commit(&self, identity: IdentityRecord) -> Result<(), StoreError> {
        let mut inner = self.inner.lock().await;
        self.store.write(Batch::default().put(&inner.record).put(&identity)).await?;
        inner.stored = true;
        Ok(())
    }

    /// Removes the row and writes what became of the identity; later changes are not written any more.
    pub(crate) async fn end(&self, identity: Option<IdentityRecord>) -> Result<(), StoreError> {
        let mut inner = self.inner.lock().await;
        inner.stored = false;
        self.store.write(ended(&self.id, identity.as_ref())).await
    }
}

/// What is stored when an endpoint is over: that there is none, and what became of its identity.
pub(crate) fn ended(id: &EndpointId, identity: Option<&IdentityRecord>) -> Batch {
    let batch = Batch::default().remove::<EndpointRecord>(id);
    match identity {
        Some(identity) => batch.put(identity),
        None => batch,
    }
}
