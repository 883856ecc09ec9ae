//! One endpoint's record, and the row in the store that follows it.

use std::net::IpAddr;
use std::sync::Arc;

use landline_model::{EndpointRecord, IdentityRecord};
use landline_options::{DnsMode, EndpointId, NetworkId, NetworkOptions};
use landline_store::{Batch, Store, StoreError};
use tokio::sync::Mutex;

use crate::addressing::book::{AddressBook, Entry};
use crate::addressing::permit::Holder;
use crate::inventory::Ledger;

/// A record that several tasks read and change. Once [`commit`](EndpointState::commit)ted every change is on disk before
/// it returns, in the order the changes were made.
#[derive(Debug)]
pub struct EndpointState {
    id: EndpointId,
    network: NetworkId,
    options: NetworkOptions,
    store: Arc<Store>,
    ledger: Ledger,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    record: EndpointRecord,
    stored: bool,
    /// The endpoint is gone; whoever still holds the record does not make it an owner of addresses.
    ended: bool,
    /// It is among those there are ([`Ledger`]).
    listed: bool,
    ledger: Ledger,
    /// Tells others which addresses the endpoint has.
    entry: Entry,
    /// Addresses it has beside those of its record.
    further: Vec<IpAddr>,
}

/// Who has the endpoint's addresses.
fn holder(record: &EndpointRecord) -> Holder {
    Holder {
        endpoint: record.id.clone(),
        name: record.holder_name(),
        mac: record.mac,
        sandbox: record.sandbox.clone(),
    }
}

impl Inner {
    fn new(
        record: EndpointRecord,
        options: &NetworkOptions,
        book: &AddressBook,
        ledger: Ledger,
        stored: bool,
    ) -> Self {
        let entry = book.enter(options, holder(&record));
        let further = Vec::new();
        let mut inner = Self { record, stored, ended: false, listed: stored, ledger, entry, further };
        inner.tell();
        inner
    }

    /// The endpoint is over; whoever still holds the record does not bring it back.
    fn end(&mut self) {
        self.ended = true;
        if std::mem::take(&mut self.listed) {
            self.ledger.remove_endpoint(&self.record.id);
        }
        self.tell();
    }

    fn tell(&mut self) {
        if self.listed {
            self.ledger.put_endpoint(&self.record);
        }
        let all = self.record.addresses().chain(self.further.iter().copied());
        let addresses = all.filter(|_| !self.ended).collect();
        self.entry.set(holder(&self.record), addresses);
    }
}

impl EndpointState {
    /// A record that is not stored yet.
    pub fn fresh(
        record: EndpointRecord,
        options: NetworkOptions,
        store: Arc<Store>,
        book: &AddressBook,
        ledger: &Ledger,
    ) -> Self {
        Self::new(record, options, store, book, ledger, false)
    }

    /// A record that came out of the store.
    pub fn stored(
        record: EndpointRecord,
        options: NetworkOptions,
        store: Arc<Store>,
        book: &AddressBook,
        ledger: &Ledger,
    ) -> Self {
        Self::new(record, options, store, book, ledger, true)
    }

    fn new(
        record: EndpointRecord,
        options: NetworkOptions,
        store: Arc<Store>,
        book: &AddressBook,
        ledger: &Ledger,
        stored: bool,
    ) -> Self {
        let (id, network, ledger) = (record.id.clone(), record.network.clone(), ledger.clone());
        let inner = Mutex::new(Inner::new(record, &options, book, ledger.clone(), stored));
        Self { id, network, options, store, ledger, inner }
    }

    /// The endpoint's id.
    pub fn id(&self) -> &EndpointId {
        &self.id
    }

    /// The id of the endpoint's network.
    pub fn network(&self) -> &NetworkId {
        &self.network
    }

    /// The options of the endpoint's network.
    pub fn options(&self) -> &NetworkOptions {
        &self.options
    }

    /// The record as it is.
    pub async fn read(&self) -> EndpointRecord {
        self.inner.lock().await.record.clone()
    }

    /// Changes the record. The change holds in memory even if it cannot be written.
    pub async fn update(&self, change: impl FnOnce(&mut EndpointRecord)) -> Result<(), StoreError> {
        let mut inner = self.inner.lock().await;
        let before = inner.record.clone();
        change(&mut inner.record);
        inner.tell();
        if inner.stored && inner.record != before { self.store.put(&inner.record).await } else { Ok(()) }
    }

    /// Changes the record in memory alone; the next change that is written takes this one along.
    pub async fn amend(&self, change: impl FnOnce(&mut EndpointRecord)) {
        let mut inner = self.inner.lock().await;
        change(&mut inner.record);
        inner.tell();
    }

    /// Whether changes are written.
    pub(crate) async fn is_stored(&self) -> bool {
        self.inner.lock().await.stored
    }

    /// The endpoint did not come about: it has no address.
    pub async fn withdraw(&self) {
        self.inner.lock().await.end();
    }

    /// The endpoint has these addresses too.
    pub async fn has_also(&self, addresses: Vec<IpAddr>) {
        let mut inner = self.inner.lock().await;
        inner.further = addresses;
        inner.tell();
    }

    /// Writes the record for the first time, with its identity; from now on changes are written too.
    pub async fn commit(&self, identity: IdentityRecord) -> Result<(), StoreError> {
        let mut inner = self.inner.lock().await;
        self.store.write(Batch::default().put(&inner.record).put(&identity)).await?;
        inner.stored = true;
        inner.listed = true;
        inner.tell();
        Ok(())
    }

    /// The endpoint counts as one of those there are, although it could not be stored.
    pub async fn list(&self) {
        let mut inner = self.inner.lock().await;
        inner.listed = true;
        inner.tell();
    }

    /// The endpoint's LAN may say something else about names.
    pub fn names_changed(&self) {
        if self.options.dns != DnsMode::Off {
            self.ledger.names_changed(&self.id);
        }
    }

    /// The sandbox could not be found.
    pub fn sandbox_lost(&self) {
        self.ledger.sandbox_lost(&self.id);
    }

    /// The link in the sandbox was set up: others may want to look at it.
    pub fn was_set_up(&self) {
        self.ledger.set_up(&self.id);
    }

    /// Removes the row and writes what became of the identity; later changes are not written any more.
    pub async fn end(&self, identity: Option<IdentityRecord>) -> Result<(), StoreError> {
        let mut inner = self.inner.lock().await;
        inner.stored = false;
        inner.end();
        self.store.write(removal(&self.id, identity.as_ref())).await
    }
}

/// What is stored when an endpoint is over: that there is none, and what became of its identity.
pub fn removal(id: &EndpointId, identity: Option<&IdentityRecord>) -> Batch {
    let batch = Batch::default().remove::<EndpointRecord>(id);
    match identity {
        Some(identity) => batch.put(identity),
        None => batch,
    }
}
