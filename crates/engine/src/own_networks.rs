//! Networks that Docker does not know: those behind attachments, of which their maker keeps the record.

use landline_leases::clock::wall;
use landline_model::{IdentityId, IdentityRecord, NetworkRecord};
use landline_options::NetworkId;

use crate::admission::{NetworkRequest, Refusal, Withdrawn};
use crate::engine::Engine;
use crate::identities::{erase, write};

impl Engine {
    /// There is such a network from now on, if the features admit it. Nothing of it is stored here.
    ///
    /// # Errors
    /// A feature refuses it. It is to be [left](Self::leave_network) then, too.
    pub async fn enter_network(&self, network: &NetworkRecord) -> Result<(), Refusal> {
        self.ledger.put_network(network.clone());
        self.admission.network(NetworkRequest { record: network, pools: &[], parent: None }).await
    }

    /// There is no such network any more: the features take back what they did for it. One that is not known is fine.
    pub async fn leave_network(&self, id: &NetworkId) {
        let Some(network) = self.ledger.remove_network(id) else { return };
        let what = Withdrawn::Network { id, record: Some(&network), forgotten: true };
        if let Err(error) = self.admission.withdrawn(what).await {
            tracing::warn!(error = %landline_types::chain(&error), "something of an attachment's network is left");
        }
    }

    /// The identity of this id.
    pub fn identity(&self, id: &IdentityId) -> Option<IdentityRecord> {
        self.identities.get(id)
    }

    /// Gives an identity the key that its user has just shown, unless it has one or another has it. Whether it did.
    pub fn claim_key(&self, id: &IdentityId, key: &str) -> bool {
        self.identities.claim_key(id, key)
    }

    /// The endpoint of this key is gone for good, and nobody will ask for its identity again.
    pub async fn drop_identity(&self, id: Option<IdentityId>, key: &str) {
        let of_key =
            || self.identities.all().into_iter().find(|i| i.key.as_deref() == Some(key)).map(|i| i.id);
        let Some(id) = id.or_else(of_key) else { return };
        self.identities.release(&id);
        if self.identities.forget(&id).is_some() {
            erase(&self.store, id).await;
        }
    }
    /// The container of an identity was removed, and may be recreated under its name: until the network's `release_after`
    /// is over, its lease is kept. Docker knows nothing of such containers, so whoever made the endpoint says so.
    pub async fn container_removed(&self, id: &IdentityId, network: &NetworkId) {
        let changed = self.identities.change(id, |record| {
            record.destroyed = true;
            record.used = wall();
        });
        let Some(record) = changed.or_else(|| self.identities.get(id)) else { return };
        let policy = self.release_policy(network);
        self.releaser.removed(&record, &policy);
        self.admission.identity_over(&record, policy.grace(&record));
        write(&self.store, Some(record)).await;
    }
}
