//! After a start: what the store says against what the kernel has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use landline_leases::addressing::dhcp;
use landline_leases::{EndpointState, Location, ipv4, removal};
use landline_links::mark::{End, Mark};
use landline_links::{blocking, is_half_made, mark_of};
use landline_model::{AddressRecord, EndpointRecord};
use landline_options::EndpointId;

use crate::engine::{Endpoint, Engine};

impl Engine {
    /// Takes up the stored endpoints whose links are still there, forgets the others, and removes links of ours
    /// that belong to no endpoint.
    pub(crate) async fn reconcile(&self, stored: Vec<EndpointRecord>) {
        for record in stored {
            self.recover(record).await;
        }
        self.remove_strays().await;
    }

    async fn recover(&self, record: EndpointRecord) {
        let id = record.id.clone();
        let network = self.networks().get(&record.network).cloned();
        let place = self.find(&record).await;
        let (Some(network), Some(place)) = (network, place) else {
            count(&self.services.meters.reconciled.ended);
            tracing::info!(endpoint = %id.short(), "its link is gone; forgotten");
            let identity = self.settle_identity(&record);
            if let Err(error) = self.store.write(removal(&id, identity.as_ref())).await {
                tracing::warn!(error = %landline_types::chain(&error), "an endpoint could not be removed from the store");
            }
            self.withdraw(&record).await;
            self.after_endpoint(&record).await;
            return;
        };
        if let Some(identity) = &record.identity {
            self.identities.claim(identity, &id);
        }
        let found_on_host = matches!(place, Location::Host(_));
        let state = Arc::new(EndpointState::stored(
            record.clone(),
            network.options.clone(),
            self.store.clone(),
            &self.services.book,
            &self.ledger,
        ));
        let supervised = match &record.address {
            AddressRecord::Dhcp(row) if record.used_elsewhere.is_none() => {
                let config = dhcp::config(&network.options, record.mac, row, None);
                let lease = row.lease.as_ref().and_then(|lease| lease.restore(&self.services.boot));
                let place = place.clone();
                Some(ipv4::resume(state.clone(), self.services.clone(), config, lease, place))
            }
            _ => None,
        };
        let ipv6 = record.ipv6.as_ref().filter(|_| record.used_elsewhere.is_none());
        let ipv6 = ipv6.map(|ipv6| {
            let config = landline_leases::ipv6::config(&network.options, record.mac, ipv6);
            let before = ipv6.identity.state.as_ref();
            landline_leases::ipv6::resume(state.clone(), self.services.clone(), config, before, place)
        });
        let (supervised, ipv6) = (Mutex::new(supervised), Mutex::new(ipv6));
        let endpoint =
            Endpoint { state, supervised, ipv6, found_on_host, late: None, elsewhere: OnceLock::new() };
        self.slot(&id).set(Some(Arc::new(endpoint)));
        count(&self.services.meters.reconciled.recovered);
        tracing::info!(endpoint = %id.short(), "endpoint taken up again");
    }

    /// Where the endpoint's link is now.
    pub(crate) async fn find(&self, record: &EndpointRecord) -> Option<Location> {
        let mode =
            self.networks().get(&record.network).map(|network| network.options.mode).unwrap_or_default();
        let mark = Mark::inside(&record.id, mode);
        let (host, sandbox) = (self.host.clone(), record.sandbox.clone());
        let sandboxes = self.services.sandboxes.clone();
        let found = blocking(move || {
            let alias = mark.to_string();
            let links = host.links()?;
            if let Some(link) = links.iter().find(|link| link.alias.as_deref() == Some(&*alias)) {
                return Ok(Some(Location::Host(link.index)));
            }
            if let Some(path) = sandbox.filter(|path| sandboxes.lives(path)) {
                return Ok(Some(Location::Sandbox(path)));
            }
            // It may have come back between the two looks.
            let back = host.links()?.into_iter().find(|link| link.alias.as_deref() == Some(&*alias));
            Ok(back.map(|link| Location::Host(link.index)))
        });
        match found.await {
            Ok(place) => place,
            Err::<_, landline_links::HostError>(error) => {
                tracing::error!(error = %landline_types::chain(&error), "cannot look at the host's links");
                // Rather supervise a link that is gone than drop one that lives.
                record.sandbox.clone().map(Location::Sandbox)
            }
        }
    }

    /// Closes endpoints whose sandbox is gone with their link: Docker does not when it was killed together with
    /// its containers.
    pub async fn close_dead(&self) {
        for endpoint in self.endpoints() {
            self.close_if_dead(endpoint.state.id()).await;
        }
    }

    pub(crate) async fn close_if_dead(&self, id: &EndpointId) {
        let Some(endpoint) = self.slot_if_known(id).and_then(|slot| slot.current()) else { return };
        let record = endpoint.state.read().await;
        // One that has not joined has its link on the host, or is just being made.
        if record.sandbox.is_none() || self.find(&record).await.is_some() {
            return;
        }
        count(&self.services.meters.reconciled.ended);
        tracing::info!(endpoint = %id.short(), "its sandbox is gone; closed");
        if let Err(error) = self.delete_endpoint(id).await {
            tracing::warn!(error = %landline_types::chain(&error), "an endpoint could not be closed");
        }
    }

    /// Removes links that were made and never moved into a sandbox, with their other ends. A host's end whose other
    /// end is in a sandbox goes away with that; until then a container may be using it, even if the store has lost
    /// it.
    async fn remove_strays(&self) {
        let known: Vec<_> = self.endpoints().iter().map(|e| e.state.id().clone()).collect();
        let (host, meters) = (self.host.clone(), self.services.meters.clone());
        blocking(move || {
            let reconciled = &meters.reconciled;
            let Ok(links) = host.links() else { return };
            for link in links {
                if is_half_made(&link) {
                    tracing::info!(link = %link.name, "removing a link that was not finished");
                    match host.remove_half_made(link.index) {
                        Ok(true) => count(&reconciled.strays),
                        Ok(false) => {}
                        Err(error) => {
                            count(&reconciled.failed);
                            tracing::warn!(error = %landline_types::chain(&error), "it could not be removed");
                        }
                    }
                    continue;
                }
                let (Some(mark), Some(alias)) = (mark_of(&link), link.alias.clone()) else { continue };
                if mark.end == End::Container && !known.contains(&mark.endpoint) {
                    tracing::info!(link = %link.name, "removing a link that belongs to no endpoint");
                    match host.remove_marked(link.index, &alias) {
                        Ok(true) => count(&reconciled.strays),
                        Ok(false) => {}
                        Err(error) => {
                            count(&reconciled.failed);
                            tracing::warn!(error = %landline_types::chain(&error), "it could not be removed");
                        }
                    }
                }
            }
        })
        .await;
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
