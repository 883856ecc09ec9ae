//! What the watcher tells about containers, and what that means for endpoints and identities.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use landline_leases::clock::wall;
use landline_model::{AddressRecord, ContainerRecord, EndpointRecord, IdentityId, IdentityRecord};
use landline_options::EndpointId;

use crate::admission::AddressNews;
use crate::engine::{Endpoint, Engine};
use crate::identities::{erase, write};
use crate::identity::IdentityQuery;
use crate::release::endpoint_of;

/// Why an identity was not forgotten.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgetError {
    /// There is none.
    #[error("there is no identity {name:?}; landline identity ls shows their ids and keys")]
    Unknown {
        /// What was asked for, cut.
        name: String,
    },
    /// A container uses it.
    #[error("identity {name:?} is in use; stop its container first")]
    InUse {
        /// What was asked for, cut.
        name: String,
    },
}

impl Engine {
    /// The watcher has seen which container an endpoint belongs to. The name the DHCP server learns is the
    /// container's host name if the user chose one, else the container's name.
    pub async fn container_seen(&self, id: &EndpointId, container: ContainerRecord) {
        let Some(endpoint) = self.slot_if_known(id).and_then(|slot| slot.current()) else { return };
        let before = endpoint.state.read().await;
        if before.container.as_ref() == Some(&container) {
            // Docker may have written its files again.
            endpoint.state.names_changed();
            return;
        }
        // While it is not settled whose identity the endpoint has, it is nobody's.
        let settled = endpoint.is_settled();
        if settled {
            self.confirm_identity(&before, &container).await;
        }
        self.tell_addresses(&before, container.called().text).await;
        let hostname = crate::endpoints::lan_name(endpoint.state.options(), &before, &container);
        let written = endpoint.state.update(|record| {
            record.container = Some(container);
            if let AddressRecord::Dhcp(dhcp) = &mut record.address {
                dhcp.hostname.clone_from(&hostname);
            }
            if let Some(ipv6) = &mut record.ipv6 {
                ipv6.hostname.clone_from(&hostname);
            }
        });
        if let Err(error) = written.await {
            tracing::warn!(error = %landline_types::chain(&error), "a container's name could not be stored");
        }
        if !settled && endpoint.is_settled() {
            self.confirm_container(&endpoint).await;
        }
        for task in endpoint.tasks() {
            task.hostname(hostname.clone());
        }
        endpoint.state.names_changed();
    }

    /// Whether it was seen which container an endpoint belongs to, as it is once that has started.
    pub async fn has_container(&self, id: &EndpointId) -> bool {
        let endpoint = self.slot_if_known(id).and_then(|slot| slot.current());
        match endpoint {
            Some(endpoint) => endpoint.state.read().await.container.is_some(),
            None => false,
        }
    }

    /// Tells the features whose the endpoint's fixed addresses are.
    async fn tell_addresses(&self, record: &EndpointRecord, name: &str) {
        let v4 = match record.address {
            AddressRecord::Static { address } => Some(IpAddr::from(address.addr())),
            _ => None,
        };
        let v6 = record.address_v6.map(|net| net.addr().into());
        for address in v4.into_iter().chain(v6) {
            self.admission.address(&record.network, AddressNews::Of(address, name)).await;
        }
    }

    /// The identity of the endpoint is that of the container that was seen with it, if one was.
    pub(crate) async fn confirm_container(&self, endpoint: &Endpoint) {
        let record = endpoint.state.read().await;
        if let Some(container) = &record.container {
            self.confirm_identity(&record, container).await;
        }
    }

    /// The identity of the endpoint is that of this container.
    pub(crate) async fn confirm_identity(&self, record: &EndpointRecord, container: &ContainerRecord) {
        let network = self.networks().get(&record.network).cloned();
        let (Some(id), Some(network)) = (&record.identity, network) else { return };
        let Some(identity) = self.identities.get(id) else { return };
        let query = IdentityQuery { ports: Some(&identity.ports), ..IdentityQuery::on(&network) };
        write(&self.store, self.identities.confirm(id, &query, &network.options, container)).await;
    }

    /// All the containers there are, running or not, as of a complete look. Identities of others lose their
    /// container: their leases are given back after the network's grace, and the records age.
    pub async fn containers_present(&self, present: BTreeSet<String>) {
        self.ledger.set_containers(present);
        for identity in self.identities.all() {
            // Those in use are looked at when their endpoint ends.
            if self.identities.holder(&identity.id).is_none() {
                write(&self.store, self.look_for_container(&identity)).await;
            }
        }
    }

    /// Notes whether the identity's container is there, and has the lease given back if not. Returns the record
    /// to store, if that changed it.
    fn look_for_container(&self, identity: &IdentityRecord) -> Option<IdentityRecord> {
        let container = identity.container.as_ref().filter(|container| container.was_seen())?;
        let gone = !self.ledger.has_container(&container.id)?;
        if gone == identity.destroyed {
            return None;
        }
        let changed = self.identities.change(&identity.id, |record| {
            record.destroyed = gone;
            record.used = wall();
        });
        if let (true, Some(record)) = (gone, &changed) {
            let policy = self.release_policy(&record.network);
            self.releaser.removed(record, &policy);
            self.admission.identity_over(record, policy.grace(record));
        }
        changed
    }

    /// Forgets an identity that is not in use, by its id, or all that have this key (`landline.id`): their containers
    /// get new ones when they start again. It is gone when this returns.
    ///
    /// # Errors
    /// See [`ForgetError`].
    pub async fn forget_identity(&self, name: &str) -> Result<(), ForgetError> {
        let shown = || name.chars().filter(|c| !c.is_control()).take(128).collect();
        let named = self.identities.named(name);
        if named.is_empty() {
            return Err(ForgetError::Unknown { name: shown() });
        }
        let mut in_use = false;
        for id in named {
            let Some(record) = self.identities.forget(&id) else {
                in_use = true;
                continue;
            };
            self.admission.identity_over(&record, Duration::ZERO);
            erase(&self.store, record.id).await;
        }
        if in_use { Err(ForgetError::InUse { name: shown() }) } else { Ok(()) }
    }

    /// The identity as it is to be stored when its endpoint ends, with the endpoint's last lease.
    pub(crate) fn settle_identity(&self, record: &EndpointRecord) -> Option<IdentityRecord> {
        let id = record.identity.as_ref()?;
        let lease = match &record.address {
            AddressRecord::Dhcp(dhcp) => dhcp.lease.clone(),
            _ => None,
        };
        let changed = self.identities.change(id, |identity| {
            identity.used = wall();
            if lease.is_some() {
                identity.lease = lease;
            }
            if let Some(ipv6) = &record.ipv6 {
                identity.ipv6 = Some(ipv6.identity.clone());
            }
        });
        changed.or_else(|| self.identities.get(id))
    }

    /// The endpoint is gone: lets go of its identity. One that nobody could ask for again goes away, and its
    /// lease is given back.
    pub(crate) async fn after_endpoint(&self, record: &EndpointRecord) {
        let Some(id) = &record.identity else { return };
        match self.identities.get(id) {
            Some(identity) if !record.mac_given && self.is_nobodys(&identity) || identity.temporary => {
                self.admission.identity_over(&identity, Duration::ZERO);
                self.identities.retire(id, endpoint_of(id));
                self.releaser.discard(identity);
            }
            Some(identity) => {
                self.identities.release(id);
                write(&self.store, self.look_for_container(&identity)).await;
                self.releaser.stopped(&identity, &self.release_policy(&record.network));
            }
            None => self.identities.release(id),
        }
    }

    /// Nobody comes for the lease that the identity was given before there was an endpoint. One that nobody could ask for
    /// again goes away with its lease.
    pub fn release_unused(&self, id: &IdentityId) {
        match self.identities.get(id) {
            Some(identity) if self.is_nobodys(&identity) => {
                self.identities.retire(id, endpoint_of(id));
                self.releaser.discard(identity);
            }
            Some(identity) => {
                self.identities.release(id);
                self.releaser.stopped(&identity, &self.release_policy(&identity.network));
            }
            None => self.identities.release(id),
        }
    }

    /// Whether nobody could ask for it again. Who has nothing but a name is somebody as long as Docker cannot be seen.
    pub(crate) fn is_nobodys(&self, identity: &IdentityRecord) -> bool {
        let seen = self.ledger.knows_containers();
        let container = identity.container.as_ref().filter(|c| c.was_seen() || !seen);
        identity.temporary || (container.is_none() && identity.key.is_none())
    }

    pub(crate) async fn sweep_identities(&self) {
        for id in self.identities.sweep() {
            erase(&self.store, id).await;
        }
        for identity in self.identities.all() {
            if self.identities.holder(&identity.id).is_some() {
                continue;
            }
            if identity.temporary {
                // Its endpoint ended while nobody was there to see it.
                self.admission.identity_over(&identity, Duration::ZERO);
                self.identities.retire(&identity.id, endpoint_of(&identity.id));
                self.releaser.discard(identity);
            } else if identity.destroyed {
                let policy = self.release_policy(&identity.network);
                self.releaser.removed(&identity, &policy);
                self.admission.identity_over(&identity, policy.grace(&identity));
            }
        }
    }
}
