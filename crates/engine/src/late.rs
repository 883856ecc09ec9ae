//! Endpoints whose container is recognised after its start has begun (`when_unsure=late`).
//!
//! While nothing tells which container an endpoint is for, it is answered without an address, and its link has a drawn hardware
//! address. Once the link is in the sandbox, the container's processes are there too, in its control group: then the
//! link gets the container's hardware address, and the container its lease, before or while its first process starts.

use std::time::Duration;

use landline_leases::Location;
use landline_leases::{MoveOutcome, SandboxMove, wait_for_move};
use landline_links::mark::{Mark, is_implicit};
use landline_links::{SandboxError, blocking, facts_of};
use landline_model::{AddressRecord, EndpointRecord, IdentityRecord, NetworkRecord};
use landline_options::{Addressing, EndpointId, WhenUnsure};
use landline_types::{Mac, chain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::duplicate::draw_instead;
use crate::endpoints::{CreateEndpoint, CreateEndpointError, address_record, first_name};
use crate::engine::{Endpoint, Engine};
use crate::identities::{erase, write};
use crate::identity::{Candidate, IdentityQuery};

/// The longest that Docker is kept waiting for the address. Docker itself waits longer.
const HOLD: Duration = Duration::from_secs(15);

/// What is known of such an endpoint.
#[derive(Debug)]
pub(crate) struct Late {
    /// What Docker asked for.
    request: CreateEndpoint,
    /// Whether all is done that is to be done.
    settled: watch::Sender<bool>,
}

impl Late {
    pub(crate) fn new(request: CreateEndpoint) -> Self {
        Self { request, settled: watch::Sender::new(false) }
    }
}

impl Engine {
    /// Whether an endpoint is to be answered without an address, because nothing tells which container it is for.
    pub(crate) fn is_late(&self, network: &NetworkRecord, query: &IdentityQuery<'_>) -> bool {
        let options = &network.options;
        options.when_unsure == WhenUnsure::Late
            && options.addressing == Addressing::Dhcp
            && !is_implicit(&network.id)
            && self.identities.is_unsure(query)
    }

    /// Waits until the link of an endpoint whose container is recognised late is in its sandbox. The container's id, if the sandbox tells it.
    /// `None`: the endpoint is none of these, or its link went elsewhere.
    pub async fn late_arrival(&self, id: &EndpointId) -> Option<Option<String>> {
        let endpoint = self.endpoint(id)?;
        let late = endpoint.late.as_ref().filter(|late| !*late.settled.borrow())?;
        let record = endpoint.state.read().await;
        let sandbox = record.sandbox.clone()?;
        let index = match self.find(&record).await? {
            Location::Host(index) => Some(index),
            Location::Sandbox(_) => None,
        };
        let arrived = wait_for_move(SandboxMove {
            link_table: self.services.link_table.clone(),
            sandboxes: self.services.sandboxes.clone(),
            index,
            sandbox: sandbox.clone(),
            mark: Mark::inside(id, endpoint.state.options().mode),
            address: None,
            own_v6: record.ipv6.is_some(),
        });
        if arrived.await == MoveOutcome::Gone {
            late.settled.send_replace(true);
            return None;
        }
        let sandboxes = self.services.sandboxes.clone();
        Some(blocking(move || sandboxes.occupant(&sandbox)).await)
    }

    /// The container of this id, as it was when it ran last.
    pub fn remembered_container(&self, id: &str) -> Option<Candidate> {
        let container = self.identities.all().into_iter().filter_map(|identity| identity.container);
        let container = container.into_iter().find(|container| container.id == id)?;
        let (ports, address) = (None, container.address);
        let (id, name, slot, hostname) = (container.id, container.name, container.slot, container.hostname);
        Some(Candidate { id, name, slot, hostname, ports, address })
    }

    /// The container of such an endpoint is known, or is not going to be: gives it its identity and its lease.
    pub async fn settle_late(&self, id: &EndpointId, container: Option<Candidate>) {
        let Some(slot) = self.slot_if_known(id) else { return };
        let turn = slot.operation.lock().await;
        let Some(endpoint) = slot.current() else { return };
        let Some(late) = endpoint.late.as_ref().filter(|late| !*late.settled.borrow()) else { return };
        let record = endpoint.state.read().await;
        let network = self.networks().get(&record.network).cloned();
        let (Some(network), Some(sandbox)) = (network, record.sandbox.clone()) else { return };
        match &container {
            Some(container) => {
                if let Err(error) = self.give_identity(&endpoint, &late.request, &network, container).await {
                    tracing::warn!(endpoint = %id.short(), error = %chain(&error), "a container that was recognised after its start keeps the identity that was drawn for it");
                }
            }
            None => {
                tracing::warn!(endpoint = %id.short(), "its sandbox does not tell which container it is of");
            }
        }
        let place = Location::Sandbox(sandbox);
        let identity = endpoint.state.read().await.identity.and_then(|id| self.identities.get(&id));
        let before = identity.and_then(|identity| identity.lease);
        self.start_ipv6(&endpoint, place.clone()).await;
        let patience = self.start_lease(&endpoint, &late.request, &network, before.as_ref(), place).await;
        drop(turn);
        let never = CancellationToken::new();
        if let Some(patience) = patience {
            let leased = self.first_lease(&endpoint, &late.request, &network, patience, &never).await;
            match leased {
                Ok(()) => self.until_set_up(id, network.options.lease_timeout).await,
                Err(error) => {
                    tracing::warn!(endpoint = %id.short(), error = %chain(&error), "the container has no address for now");
                }
            }
        }
        late.settled.send_replace(true);
    }

    /// Waits until an endpoint whose container is recognised late has its address, if its link is in the sandbox: only then it is on its
    /// way.
    pub async fn until_settled(&self, id: &EndpointId) {
        let Some(endpoint) = self.endpoint(id) else { return };
        let Some(late) = &endpoint.late else { return };
        let record = endpoint.state.read().await;
        if record.sandbox.is_none() || matches!(self.find(&record).await, Some(Location::Host(_)) | None) {
            return;
        }
        let mut settled = late.settled.subscribe();
        let _ = tokio::time::timeout(HOLD, settled.wait_for(|settled| *settled)).await;
    }

    async fn until_set_up(&self, id: &EndpointId, limit: Duration) {
        let mut inventory = self.inventory();
        let set_up = inventory.wait_for(|inventory| {
            inventory.endpoints.get(id).is_none_or(|present| present.record.applied.address.is_some())
        });
        let _ = tokio::time::timeout(limit, set_up).await;
    }

    /// Gives the endpoint the identity of this container, and its link the hardware address.
    async fn give_identity(
        &self,
        endpoint: &Endpoint,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        container: &Candidate,
    ) -> Result<(), LateError> {
        let record = endpoint.state.read().await;
        let drawn = record.identity.as_ref().and_then(|id| self.identities.get(id));
        let Some(drawn) = drawn else { return Ok(()) };
        let candidates = [container.clone()];
        let query = IdentityQuery {
            ports: Some(&request.ports),
            candidates: Some(&candidates),
            ..IdentityQuery::on(network)
        };
        self.identities.release(&drawn.id);
        let mut identity = self.identities.take(&request.endpoint, network, &query);
        let is_new = self.identities.get(&identity.id).is_none();
        if is_new && identity.derived.is_none() {
            // It has none yet: what was drawn is its own.
            self.identities.release(&identity.id);
            self.identities.claim(&drawn.id, &request.endpoint);
            identity = drawn.clone();
        }
        let last = identity.lease.as_ref().map(|lease| lease.address);
        if let Err(error) = self.check_duplicate(network, &identity, last).await {
            // What is under way is not refused any more.
            tracing::warn!(error = %chain(&error), "the container starts all the same");
            draw_instead(&mut identity);
        }
        let given = self.put_on_link(endpoint, &record, request, network, &mut identity, container).await;
        if given.is_err() {
            if identity.id != drawn.id {
                self.identities.release(&identity.id);
            }
            self.identities.claim(&drawn.id, &request.endpoint);
            return given;
        }
        tracing::info!(endpoint = %request.endpoint.short(), container = container.name, mac = %identity.mac, "container recognised after its start began");
        self.identities.keep(identity.clone());
        if identity.id != drawn.id {
            self.identities.forget(&drawn.id);
            erase(&self.store, drawn.id).await;
        }
        write(&self.store, Some(identity)).await;
        if let Some(container) = &record.container {
            self.confirm_identity(&endpoint.state.read().await, container).await;
        }
        Ok(())
    }

    async fn put_on_link(
        &self,
        endpoint: &Endpoint,
        record: &EndpointRecord,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        identity: &mut IdentityRecord,
        container: &Candidate,
    ) -> Result<(), LateError> {
        let options = &network.options;
        let shares_mac = facts_of(options.mode).shares_mac();
        if shares_mac {
            identity.mac = record.mac;
        }
        let name = first_name(&request.options, options, Some(container), identity);
        let address = address_record(request, network, identity, name.clone())?;
        if let AddressRecord::Dhcp(dhcp) = &address {
            identity.client_id.clone_from(&dhcp.client_id);
        }
        let given = request.options.hostname.is_some();
        let ipv6 = identity.with_ipv6(options, shares_mac, name, given, &mut landline_leases::OsRandom);
        // Nothing but the store can fail after this.
        if identity.mac != record.mac {
            self.set_mac(endpoint, record, identity.mac).await?;
        }
        let changed = endpoint.state.update(|record| {
            record.identity = Some(identity.id.clone());
            record.mac = identity.mac;
            record.address = address;
            if let (Some(known), Some(ipv6)) = (&mut record.ipv6, ipv6) {
                known.identity = ipv6.identity;
                known.hostname = ipv6.hostname;
            }
        });
        changed.await.map_err(|source| CreateEndpointError::Store(source).into())
    }

    async fn set_mac(
        &self,
        endpoint: &Endpoint,
        record: &EndpointRecord,
        mac: Mac,
    ) -> Result<(), SandboxError> {
        let Some(sandbox) = record.sandbox.clone() else { return Ok(()) };
        let mark = Mark::inside(&record.id, endpoint.state.options().mode);
        let sandboxes = self.services.sandboxes.clone();
        blocking(move || match sandboxes.enter(&sandbox, &mark)? {
            Some(mut inside) => inside.set_mac(mac),
            None => Ok(()),
        })
        .await
    }
}

/// Why a container that was told late keeps the identity that was drawn for it.
#[derive(Debug, thiserror::Error)]
enum LateError {
    #[error("the link did not take its hardware address")]
    Link(#[from] SandboxError),
    #[error(transparent)]
    Endpoint(#[from] CreateEndpointError),
}
