//! Endpoints whose container is recognised after its start has begun (`when_unsure=late`).
//!
//! While nothing tells which container an endpoint is for, it is answered without an address, and its link has a drawn hardware
//! address. Once the link is in the sandbox, the container's processes are there too, in its control group: then the
//! link gets the container's hardware address, and the container its lease, before or while its first process starts.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use landline_leases::{Location, MoveOutcome, Orders, SandboxMove, wait_for_move};
use landline_links::mark::{Mark, is_implicit};
use landline_links::{SandboxError, blocking, facts_of};
use landline_model::{AddressRecord, EndpointRecord, IdentityRecord, NetworkRecord};
use landline_options::{Addressing, EndpointId, OnDuplicate, WhenUnsure};
use landline_types::{Mac, chain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::duplicate::is_exposed;
use crate::endpoints::{CreateEndpoint, CreateEndpointError, address_record, first_name, leased_address};
use crate::engine::{Endpoint, Engine, Slot};
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

/// An endpoint whose container is recognised, and where it is.
struct Start<'a> {
    endpoint: &'a Endpoint,
    request: &'a CreateEndpoint,
    network: &'a NetworkRecord,
    sandbox: PathBuf,
}

impl Endpoint {
    /// Whether it is settled whose identity it has: it is not recognised late, or was.
    pub fn is_settled(&self) -> bool {
        self.late.as_ref().is_none_or(|late| *late.settled.borrow())
    }
}

impl Start<'_> {
    fn place(&self) -> Location {
        Location::Sandbox(self.sandbox.clone())
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
            Location::Sandbox(_) | Location::Parent(_) => None,
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

    /// The container of such an endpoint is known, or is not going to be: gives it its identity and its addresses.
    ///
    /// What is under way is not refused any more. If another host uses the identity that is derived for the container, that is what was drawn
    /// for it, or no address, as the network says.
    pub async fn settle_late(&self, id: &EndpointId, container: Option<Candidate>) {
        let Some(slot) = self.slot_if_known(id) else { return };
        let turn = slot.operation.lock().await;
        let Some(endpoint) = slot.current() else { return };
        let Some(late) = endpoint.late.as_ref().filter(|late| !*late.settled.borrow()) else { return };
        let record = endpoint.state.read().await;
        let network = self.networks().get(&record.network).cloned();
        let (Some(network), Some(sandbox)) = (network, record.sandbox.clone()) else { return };
        let start = Start { endpoint: &endpoint, request: &late.request, network: &network, sandbox };
        let drawn = record.identity.as_ref().and_then(|id| self.identities.get(id));
        let given = match (container, drawn) {
            (Some(container), Some(drawn)) => {
                let given = Box::pin(self.give_identity(&start, &drawn, &container)).await;
                given.map(|given| (given, drawn, container))
            }
            (container, _) => {
                if container.is_none() {
                    tracing::warn!(endpoint = %id.short(), "its sandbox does not tell which container it is of");
                }
                Err(None)
            }
        };
        // Nobody else is known to have what was drawn, so nobody is asked about it.
        let begun = match &given {
            Ok((given, ..)) => self.begin(&start, Some(given)).await,
            Err(Some(duplicate)) if self.lacks_address(&start, duplicate).await => None,
            Err(_) => self.begin(&start, None).await,
        };
        drop(turn);
        Box::pin(self.first_late_lease(&start, begun)).await;
        if let Ok((given, drawn, container)) = given
            && is_exposed(&network, &given)
        {
            Box::pin(self.look_elsewhere(&slot, &start, &given, drawn, &container)).await;
        }
        self.until_set_up(&endpoint, network.options.lease_timeout).await;
        late.settled.send_replace(true);
        self.confirm_container(&endpoint).await;
    }

    /// The container has a lease by its derived identity, or none yet: has its addresses set up, unless another host uses the identity.
    async fn look_elsewhere(
        &self,
        slot: &Slot,
        start: &Start<'_>,
        given: &IdentityRecord,
        drawn: IdentityRecord,
        container: &Candidate,
    ) {
        let leased = leased_address(start.endpoint).filter(|leased| Some(*leased) != last_address(given));
        let checked = self.check_duplicate(start.network, given, leased).await;
        let turn = slot.operation.lock().await;
        if !slot.current().is_some_and(|now| std::ptr::eq(now.as_ref(), start.endpoint)) {
            return;
        }
        let Err(duplicate) = checked else {
            start.endpoint.tasks().iter().for_each(Orders::allow);
            self.start_ipv6(start.endpoint, start.place()).await;
            return;
        };
        // The lease is the other host's.
        start.endpoint.stop(false).await;
        self.take_back(start, given, drawn, container).await;
        if self.lacks_address(start, &duplicate).await {
            return;
        }
        let begun = self.begin(start, None).await;
        drop(turn);
        self.first_late_lease(start, begun).await;
    }

    /// Starts the clients of an endpoint in its sandbox; how long the lease is waited for, if it has one. While it is to be found out whether
    /// another host has this identity, no address is put on the link and IPv6 waits.
    async fn begin(&self, start: &Start<'_>, identity: Option<&IdentityRecord>) -> Option<Duration> {
        let exposed = identity.is_some_and(|identity| is_exposed(start.network, identity));
        if !exposed {
            self.start_ipv6(start.endpoint, start.place()).await;
        }
        let held = start.endpoint.state.read().await.identity.and_then(|id| self.identities.get(&id));
        let before = held.and_then(|identity| identity.lease);
        let Start { endpoint, request, network, .. } = start;
        self.start_lease(endpoint, request, network, before.as_ref(), start.place(), exposed).await
    }

    async fn first_late_lease(&self, start: &Start<'_>, patience: Option<Duration>) {
        let Some(patience) = patience else { return };
        let Start { endpoint, request, network, .. } = start;
        let never = CancellationToken::new();
        if let Err(error) = self.first_lease(endpoint, request, network, patience, &never).await {
            let endpoint = request.endpoint.short();
            tracing::warn!(%endpoint, error = %chain(&error), "the container has no address for now");
        }
    }

    /// Another host uses the identity of the container. Whether the container is to have no address because of that; otherwise it has what was drawn
    /// for it.
    async fn lacks_address(&self, start: &Start<'_>, duplicate: &CreateEndpointError) -> bool {
        let endpoint = start.request.endpoint.short();
        let CreateEndpointError::Duplicate { address, .. } = duplicate else { return false };
        if start.network.options.on_duplicate == OnDuplicate::Fresh {
            tracing::warn!(%endpoint, error = %chain(duplicate), "the container has a fresh identity for now");
            return false;
        }
        tracing::error!(%endpoint, error = %chain(duplicate), "the container has no address");
        let noted = start.endpoint.state.update(|record| record.used_elsewhere = Some(*address));
        if let Err(error) = noted.await {
            tracing::warn!(%endpoint, error = %chain(&error), "that could not be stored");
        }
        true
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

    /// Waits until the sandbox has the addresses there are.
    async fn until_set_up(&self, endpoint: &Endpoint, limit: Duration) {
        let leased = leased_address(endpoint).is_some();
        let six = self.ipv6_to_come(endpoint).await;
        let mut inventory = self.inventory();
        let set_up = inventory.wait_for(|inventory| {
            inventory.endpoints.get(endpoint.state.id()).is_none_or(|present| {
                let record = &present.record;
                let applied = record.ipv6.iter().flat_map(|ipv6| &ipv6.applied);
                let missing =
                    six.iter().any(|net| applied.clone().all(|applied| applied.addr() != net.addr()));
                (!leased || record.applied.address.is_some()) && !missing
            })
        });
        let _ = tokio::time::timeout(limit, set_up).await;
    }

    /// Gives the endpoint the identity of this container, and its link the hardware address. The identity that it has then: its own, or what
    /// was drawn for it. Fails if another host is known to use its own.
    async fn give_identity(
        &self,
        start: &Start<'_>,
        drawn: &IdentityRecord,
        container: &Candidate,
    ) -> Result<IdentityRecord, Option<CreateEndpointError>> {
        let Start { endpoint, request, network, .. } = start;
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
        let given = match self.check_duplicate(network, &identity, last_address(&identity)).await {
            Err(duplicate) => Err(Some(duplicate)),
            Ok(()) => self.put_on_link(start, &mut identity, container).await.map_err(|error| {
                let endpoint = request.endpoint.short();
                tracing::warn!(%endpoint, error = %chain(&error), "a container that was recognised after its start keeps the identity that was drawn for it");
                None
            }),
        };
        if let Err(error) = given {
            if identity.id != drawn.id {
                self.identities.release(&identity.id);
            }
            self.identities.claim(&drawn.id, &request.endpoint);
            if error.is_some() {
                self.keep_for_now(drawn.clone()).await;
            }
            return Err(error);
        }
        tracing::info!(endpoint = %request.endpoint.short(), container = container.name, mac = %identity.mac, "container recognised after its start began");
        self.identities.keep(identity.clone());
        if identity.id != drawn.id {
            self.identities.forget(&drawn.id);
            erase(&self.store, drawn.id.clone()).await;
        }
        write(&self.store, Some(identity.clone())).await;
        self.confirm_container(endpoint).await;
        Ok(identity)
    }

    /// Takes a container's derived identity back, which another host uses: the endpoint has what was drawn for it, for this run.
    async fn take_back(
        &self,
        start: &Start<'_>,
        given: &IdentityRecord,
        mut drawn: IdentityRecord,
        container: &Candidate,
    ) {
        let id = &start.request.endpoint;
        self.identities.release(&given.id);
        if given.lease.is_none() {
            // It has never been anybody's here.
            self.identities.forget(&given.id);
            erase(&self.store, given.id.clone()).await;
        }
        self.identities.claim(&drawn.id, id);
        if let Err(error) = self.put_on_link(start, &mut drawn, container).await {
            tracing::error!(endpoint = %id.short(), error = %chain(&error), "the container keeps the hardware address that another host uses");
        }
        self.keep_for_now(drawn).await;
    }

    /// What was drawn for a container is its own as long as it runs.
    async fn keep_for_now(&self, drawn: IdentityRecord) {
        let known = self.identities.get(&drawn.id).unwrap_or(drawn);
        let drawn = IdentityRecord { temporary: true, ..known };
        self.identities.keep(drawn.clone());
        write(&self.store, Some(drawn)).await;
    }

    /// The endpoint has this identity from now on, and its link the hardware address. Nothing is changed if that fails.
    async fn put_on_link(
        &self,
        start: &Start<'_>,
        identity: &mut IdentityRecord,
        container: &Candidate,
    ) -> Result<(), LateError> {
        let Start { endpoint, request, network, .. } = start;
        let before = endpoint.state.read().await;
        let options = &network.options;
        let shares_mac = facts_of(options.mode).shares_mac();
        if shares_mac {
            identity.mac = before.mac;
        }
        let name = first_name(&request.options, options, Some(container), identity);
        let address = address_record(request, network, identity, name.clone())?;
        if let AddressRecord::Dhcp(dhcp) = &address {
            identity.client_id.clone_from(&dhcp.client_id);
        }
        let given = request.options.hostname.is_some();
        let ipv6 = identity.with_ipv6(options, shares_mac, name, given, &mut landline_leases::OsRandom);
        // Nothing but the store can fail after this.
        if identity.mac != before.mac {
            self.set_mac(endpoint, &before, identity.mac).await?;
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
        let Err(source) = changed.await else { return Ok(()) };
        if identity.mac != before.mac
            && let Err(error) = self.set_mac(endpoint, &before, before.mac).await
        {
            tracing::warn!(endpoint = %before.id.short(), error = %chain(&error), "the hardware address could not be set back");
        }
        let back = |record: &mut EndpointRecord| {
            let EndpointRecord { identity, mac, address, ipv6, .. } = before;
            (record.identity, record.mac, record.address, record.ipv6) = (identity, mac, address, ipv6);
        };
        endpoint.state.amend(back).await;
        Err(CreateEndpointError::Store(source).into())
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

/// The address of the identity's last lease.
fn last_address(identity: &IdentityRecord) -> Option<Ipv4Addr> {
    identity.lease.as_ref().map(|lease| lease.address)
}
