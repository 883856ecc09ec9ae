//! Creating endpoints: from Docker's request to a link with its first lease.

mod error;
mod names;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use landline_dhcp::Random as _;
use landline_dhcp::v4::ClientId;
use landline_leases::addressing::dhcp;
use landline_leases::{EndpointState, Location, OsRandom};
use landline_links::mark::is_implicit;
use landline_links::network::NetworkLinksError;
use landline_links::spanning_tree::until_forwarding;
use landline_links::{MacOf, ParentError, Plan, PlannedLink, apply_and_wait_for_carrier, blocking, facts_of};
use landline_model::{
    AddressRecord, DhcpRecord, EndpointRecord, IdentityId, IdentityRecord, LeaseRecord, NetworkRecord, Port,
};
use landline_options::{Addressing, EndpointId, EndpointOptions, NetworkId, OnDuplicate, OnTimeout};
use landline_types::{IfName, Mac};
use tokio_util::sync::CancellationToken;

use crate::admission::{EndpointRequest, Withdrawn};
use crate::duplicate::draw_instead;
use crate::engine::{Endpoint, Engine};
use crate::identity::{Candidate, IdentityQuery};
use crate::late::Late;
use crate::parent_links::{PlanLinkError, WantedLink};
pub use error::CreateEndpointError;
pub(crate) use names::{chosen_name, first_name, lan_name};
pub use names::{container_name, network_name};

/// A request for an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateEndpoint {
    /// The network it is on.
    pub network: NetworkId,
    /// Docker's id for it.
    pub endpoint: EndpointId,
    /// The hardware address the user gave (`--mac-address`).
    pub mac: Option<Mac>,
    /// The address Docker's IPAM gave.
    pub address: Option<Ipv4Net>,
    /// The IPv6 address it gave.
    pub address_v6: Option<Ipv6Net>,
    /// The user's per-endpoint options.
    pub options: EndpointOptions,
    /// The ports the container exposes or publishes, as Docker says.
    pub ports: BTreeSet<Port>,
    /// Those it publishes, and where.
    pub published: Vec<Published>,
    /// The containers of this network that are not running, one of which is starting. `None`: Docker cannot be
    /// seen.
    pub candidates: Option<Vec<Candidate>>,
    /// The identity that the address was leased for before there was an endpoint.
    pub reservation: Option<IdentityId>,
    /// What the host's end of the link is to be called.
    pub host_end: Option<IfName>,
}

/// A port that was published (`-p`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// IP protocol number.
    pub protocol: u8,
    /// The container's port.
    pub inside: u16,
    /// The port it is to be reached at; `None`: whichever.
    pub outside: Option<u16>,
    /// The host's address it is to be reached at; `None`: any.
    pub address: Option<Ipv4Addr>,
}

/// What an endpoint got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointAddress {
    /// Its hardware address; `None` if the request gave it, it is the parent's, or it is not known yet.
    pub mac: Option<Mac>,
    /// Its address; `None` if the request gave it, or it has none.
    pub address: Option<Ipv4Net>,
    /// An IPv6 address of it; `None` if there is none yet.
    pub address_v6: Option<Ipv6Net>,
}

/// How an endpoint is to get its first lease.
#[derive(Debug, Clone, Default)]
pub(crate) struct FirstLease {
    /// The name that the server learns.
    pub(crate) name: Option<String>,
    /// Only once it is known which container it is for.
    pub(crate) late: bool,
}

/// An endpoint whose link is there, and its lease.
pub(crate) struct Prepared {
    pub(crate) endpoint: Arc<Endpoint>,
    plan: Plan,
}

impl Engine {
    /// Makes the link and gets the address. Asked again for an endpoint that exists, it answers the same again.
    /// When it fails, or `cancel` fires, no link and no lease are left.
    ///
    /// # Errors
    /// See [`CreateEndpointError`].
    pub async fn create_endpoint(
        &self,
        request: CreateEndpoint,
        cancel: CancellationToken,
    ) -> Result<EndpointAddress, CreateEndpointError> {
        let slot = self.slot(&request.endpoint);
        let result = {
            let _turn = slot.operation.lock().await;
            if let Some(endpoint) = slot.current() {
                Ok(answer(&endpoint).await)
            } else {
                let made = self.make_endpoint(&request, |e| slot.set(Some(e)), &cancel).await;
                if made.is_err() {
                    slot.set(None);
                }
                made
            }
        };
        self.drop_slot(&request.endpoint, slot);
        if let (Some(identity), Err(_)) = (&request.reservation, &result) {
            self.release_unused(identity);
        }
        result
    }

    async fn make_endpoint(
        &self,
        request: &CreateEndpoint,
        announce: impl Fn(Arc<Endpoint>),
        cancel: &CancellationToken,
    ) -> Result<EndpointAddress, CreateEndpointError> {
        let network = self.networks().get(&request.network).cloned();
        let network = network.ok_or_else(|| CreateEndpointError::UnknownNetwork(request.network.clone()))?;
        if !facts_of(network.options.mode).is_translated() {
            let options = &request.options;
            let given = [("lan_ip", options.lan_ip.is_some()), ("ports", options.ports.is_some())];
            if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
                let (network, mode) = (network_name(&network), network.options.mode);
                return Err(CreateEndpointError::NotTranslated { network, mode, option });
            }
        }
        self.evict_orphans(request, &network).await;
        self.check_mac(request, &network).await?;
        let ports = &request.ports;
        let query = IdentityQuery {
            mac: request.mac,
            key: request.options.id.as_deref(),
            address: request.address.map(|net| net.addr()),
            ports: Some(ports),
            candidates: request.candidates.as_deref(),
            ..IdentityQuery::on(&network)
        };
        let leased = self.reserved(request);
        let was_leased = leased.is_some();
        let late = !was_leased && self.is_late(&network, &query);
        if !was_leased && !late {
            self.refuse_unsure(&network, &query).await?;
        }
        // What is known before this endpoint counts as one.
        let starting = self.identities.starting(&query);
        let identity = leased.unwrap_or_else(|| self.identities.take(&request.endpoint, &network, &query));
        let id = identity.id.clone();
        let name = first_name(&request.options, &network.options, starting.as_ref(), &identity);
        let first = FirstLease { name, late };
        let made = self.make_as(request, &network, identity, first, announce, cancel).await;
        if made.is_err() && !was_leased {
            self.identities.release(&id);
        }
        made
    }

    /// Fails if several containers may be the one that starts, and a feature refuses that.
    pub(crate) async fn refuse_unsure(
        &self,
        network: &NetworkRecord,
        query: &IdentityQuery<'_>,
    ) -> Result<(), CreateEndpointError> {
        if self.identities.possible(query) < 2 {
            return Ok(());
        }
        self.admission.unsure(network).await.map_err(CreateEndpointError::Unsure)
    }

    /// Whether the hardware address that the user gave can be had.
    pub(crate) async fn check_mac(
        &self,
        request: &CreateEndpoint,
        network: &NetworkRecord,
    ) -> Result<(), CreateEndpointError> {
        let Some(mac) = request.mac else { return Ok(()) };
        let parent = network.options.parent.clone();
        if mac.is_zero() {
            return Err(CreateEndpointError::ZeroMac(mac));
        }
        if mac.is_multicast() {
            return Err(CreateEndpointError::BadMac(mac));
        }
        if facts_of(network.options.mode).shares_mac() {
            return Err(CreateEndpointError::MacIsParents { parent });
        }
        match self.mac_user(mac, &parent).await {
            Some(user) => Err(CreateEndpointError::MacInUse { mac, user, parent }),
            None => Ok(()),
        }
    }

    async fn make_as(
        &self,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        mut identity: IdentityRecord,
        first: FirstLease,
        announce: impl Fn(Arc<Endpoint>),
        cancel: &CancellationToken,
    ) -> Result<EndpointAddress, CreateEndpointError> {
        let name = first.name.clone();
        let prepared = self.prepare(request, network, &mut identity, first, announce, cancel).await?;
        let state = prepared.endpoint.state.clone();
        let record = state.read().await;
        let (identity_now, name) = (&identity, name.as_deref());
        let endpoint =
            EndpointRequest { request, record: &record, network, identity: identity_now, name, again: false };
        let claimed = match cancel.run_until_cancelled(self.admission.endpoint(endpoint)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(source)) => Err(CreateEndpointError::LanIp { network: network_name(network), source }),
            None => Err(CreateEndpointError::Cancelled),
        };
        if let Err(error) = claimed {
            self.withdraw(&record).await;
            self.roll_back(prepared, true).await;
            return Err(error);
        }
        // Whatever becomes of the lease until then, this is what Docker puts on the link.
        let tell = |record: &mut EndpointRecord| {
            if let AddressRecord::Dhcp(dhcp) = &mut record.address {
                dhcp.told = dhcp.lease.as_ref().map(LeaseRecord::net);
            }
        };
        if !is_implicit(&network.id) {
            state.amend(tell).await;
        }
        if let Err(source) = state.commit(identity.clone()).await {
            self.withdraw(&record).await;
            self.roll_back(prepared, true).await;
            return Err(CreateEndpointError::Store(source));
        }
        self.identities.keep(identity);
        let record = state.read().await;
        tracing::info!(endpoint = %record.id.short(), network = %network_name(network), mac = %record.mac, "endpoint created");
        drop(record);
        Ok(answer(&prepared.endpoint).await)
    }

    /// Makes the link and waits for the first lease, if there is to be one. Nothing is stored yet, and nothing is left
    /// if it fails. The identity gets the hardware address of this link. If another host uses the identity, the start fails or
    /// draws another one, as the network says.
    pub(crate) async fn prepare(
        &self,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        identity: &mut IdentityRecord,
        first_lease: FirstLease,
        announce: impl Fn(Arc<Endpoint>),
        cancel: &CancellationToken,
    ) -> Result<Prepared, CreateEndpointError> {
        // Boxed, as there are two of them in one place.
        let first =
            Box::pin(self.prepare_as(request, network, identity, first_lease.clone(), &announce, cancel));
        match first.await {
            Err(CreateEndpointError::Duplicate { .. })
                if network.options.on_duplicate == OnDuplicate::Fresh =>
            {
                draw_instead(identity);
                Box::pin(self.prepare_as(request, network, identity, first_lease, &announce, cancel)).await
            }
            prepared => prepared,
        }
    }

    async fn prepare_as(
        &self,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        identity: &mut IdentityRecord,
        FirstLease { name, late }: FirstLease,
        announce: impl Fn(Arc<Endpoint>),
        cancel: &CancellationToken,
    ) -> Result<Prepared, CreateEndpointError> {
        let last = identity.lease.as_ref().map(|lease| lease.address);
        let looked = self.check_duplicate(network, identity, last);
        cancel.run_until_cancelled(looked).await.ok_or(CreateEndpointError::Cancelled)??;
        match self.parents.ensure(network, false).await {
            Err(NetworkLinksError::Awaited(error)) => {
                tracing::debug!(error = %landline_types::chain(&*error), "what a network needs is missing for now");
            }
            Err(source) => {
                return Err(CreateEndpointError::NetworkLinks { network: network_name(network), source });
            }
            Ok(_) => {}
        }
        let planned = self.plan_link(request, network, identity.mac);
        let planned = cancel.run_until_cancelled(planned).await.ok_or(CreateEndpointError::Cancelled)?;
        let PlannedLink { plan, name: link, mac, parent_mtu } = planned?;
        identity.mac = mac;
        let address = address_record(request, network, identity, name.clone())?;
        if let AddressRecord::Dhcp(dhcp) = &address {
            identity.client_id.clone_from(&dhcp.client_id);
        }
        let given = request.options.hostname.is_some();
        let shared = facts_of(network.options.mode).shares_mac();
        let ipv6 = identity.with_ipv6(&network.options, shared, name.clone(), given, &mut OsRandom);
        let made = apply_and_wait_for_carrier(&self.host, &self.services.link_table, &plan, link.clone());
        let (made, ()) = tokio::join!(made, self.admission.starting(network));
        let index = made
            .map_err(|source| CreateEndpointError::Link { parent: network.options.parent.clone(), source })?;

        let (id, on) = (request.endpoint.clone(), request.network.clone());
        let mut record = EndpointRecord {
            identity: Some(identity.id.clone()),
            mac_given: request.mac.is_some(),
            host_end: request.host_end.clone(),
            parent_mtu: Some(parent_mtu),
            ifname: request.options.ifname.clone(),
            prefix: facts_of(network.options.mode).container_prefix(&network.options.parent),
            address_v6: request.address_v6,
            ipv6,
            ..EndpointRecord::new(id, on, link, mac, address)
        };
        self.admission.annotate(request, network, identity, &mut record);
        let state = Arc::new(EndpointState::fresh(
            record,
            network.options.clone(),
            self.store.clone(),
            &self.services.book,
            &self.ledger,
        ));
        let endpoint = Arc::new(Endpoint {
            state,
            supervised: Mutex::new(None),
            ipv6: Mutex::new(None),
            found_on_host: false,
            late: late.then(|| Late::new(request.clone())),
            elsewhere: OnceLock::new(),
        });
        announce(endpoint.clone());
        if late {
            return Ok(Prepared { endpoint, plan });
        }

        let leased = async {
            let held = self.wait_to_forward(&endpoint, network, cancel).await?;
            self.check_fixed(&endpoint.state.read().await, network, index, cancel).await?;
            let (before, place) = (identity.lease.as_ref(), Location::Host(index));
            self.start_ipv6(&endpoint, place.clone()).await;
            let leased = async {
                if let Some(patience) =
                    self.start_lease(&endpoint, request, network, before, place, false).await
                {
                    self.first_lease(&endpoint, request, network, patience, cancel).await?;
                }
                let leased = leased_address(&endpoint).filter(|leased| Some(*leased) != last);
                self.check_duplicate(network, identity, leased).await?;
                self.first_ipv6(&endpoint, network, cancel).await
            };
            leased.await.map_err(|error| match error {
                CreateEndpointError::NoLease { network, parent, why, waited, hint, .. } => {
                    CreateEndpointError::NoLease { network, parent, why, waited, hint, held }
                }
                error => error,
            })
        };
        let leased = leased.await;
        let prepared = Prepared { endpoint, plan };
        match leased {
            Ok(()) => Ok(prepared),
            Err(error) => {
                // What another host uses is not given back.
                let release = !matches!(error, CreateEndpointError::Duplicate { .. });
                self.roll_back(prepared, release).await;
                Err(error)
            }
        }
    }

    /// Waits until the parent forwards what the container sends, if its spanning tree does not yet; how long that took.
    async fn wait_to_forward(
        &self,
        endpoint: &Endpoint,
        network: &NetworkRecord,
        cancel: &CancellationToken,
    ) -> Result<Duration, CreateEndpointError> {
        let record = endpoint.state.read().await;
        if matches!(record.address, AddressRecord::None) && record.ipv6.is_none() {
            // Nothing is asked or looked for.
            return Ok(Duration::ZERO);
        }
        let (options, id) = (&network.options, endpoint.state.id());
        let forwarding = until_forwarding(&self.host, &self.services.link_table, id, options);
        match cancel.run_until_cancelled(forwarding).await {
            None => Err(CreateEndpointError::Cancelled),
            Some(Ok(waited)) => Ok(waited),
            Some(Err(held)) if options.on_timeout == OnTimeout::Continue => {
                tracing::warn!(%held, "the container starts although no packet of it gets through");
                Ok(held.at_most)
            }
            Some(Err(held)) => Err(CreateEndpointError::HeldBack {
                network: network_name(network),
                waited: held.at_most,
                remedy: held.remedy.clone(),
                held: held.to_string(),
            }),
        }
    }

    /// The identity that the address of the endpoint was leased for, which holds it from now on.
    fn reserved(&self, request: &CreateEndpoint) -> Option<IdentityRecord> {
        let mut identity = self.identities.get(request.reservation.as_ref()?)?;
        self.identities.claim(&identity.id, &request.endpoint);
        identity.ports.clone_from(&request.ports);
        Some(identity)
    }

    /// Has the features take back what they did for an endpoint that is gone, or did not come about.
    pub(crate) async fn withdraw(&self, record: &EndpointRecord) {
        let remembered = record.identity.as_ref().is_some_and(|id| self.identities.get(id).is_some());
        if let Err(error) = self.admission.withdrawn(Withdrawn::Endpoint { record, remembered }).await {
            tracing::warn!(error = %landline_types::chain(&error), "something of an endpoint is left");
        }
    }

    /// Takes the link away again, and gives the lease back if that is wanted.
    pub(crate) async fn roll_back(&self, prepared: Prepared, release: bool) {
        prepared.endpoint.stop(release).await;
        prepared.endpoint.state.withdraw().await;
        let (host, plan) = (self.host.clone(), prepared.plan);
        blocking(move || plan.undo(&*host)).await;
    }

    /// How the endpoint's link is made. A parent that may be about to come is waited for.
    async fn plan_link(
        &self,
        wanted: &CreateEndpoint,
        network: &NetworkRecord,
        mac: Mac,
    ) -> Result<PlannedLink, CreateEndpointError> {
        let options = &network.options;
        let deadline = tokio::time::Instant::now() + options.lease_timeout;
        let mut present = self.services.link_table.clone();
        loop {
            self.parents.reopen_vlan(network).await;
            let wanted = WantedLink { endpoint: &wanted.endpoint, mac, host_name: wanted.host_end.clone() };
            match self.parents.plan(options, wanted).await {
                // At boot, and while a network manager makes its bridge again, it may be about to come.
                Err(PlanLinkError::Parent(ParentError::Missing { .. } | ParentError::Down { .. }))
                    if tokio::time::timeout_at(deadline, present.changed()).await.is_ok() => {}
                Err(PlanLinkError::Parent(source)) => {
                    return Err(CreateEndpointError::Parent { network: network_name(network), source });
                }
                Err(PlanLinkError::Host(source)) => {
                    return Err(CreateEndpointError::Link { parent: options.parent.clone(), source });
                }
                Ok(planned) => return Ok(planned),
            }
        }
    }
}

/// The address of the endpoint's first lease.
pub(crate) fn leased_address(endpoint: &Endpoint) -> Option<Ipv4Addr> {
    endpoint.supervised().as_ref().and_then(|s| s.status.borrow().lease.as_ref().map(|lease| lease.address))
}

pub(crate) fn address_record(
    request: &CreateEndpoint,
    network: &NetworkRecord,
    identity: &IdentityRecord,
    name: Option<String>,
) -> Result<AddressRecord, CreateEndpointError> {
    match network.options.addressing {
        Addressing::None => Ok(AddressRecord::None),
        Addressing::Static => request
            .address
            .map(|address| AddressRecord::Static { address })
            .ok_or_else(|| CreateEndpointError::NoAddress { network: network_name(network) }),
        Addressing::Dhcp => Ok(AddressRecord::Dhcp(DhcpRecord {
            client_id: Some(client_id(request, network, identity)?),
            hostname: name,
            hostname_given: request.options.hostname.is_some(),
            told: None,
            lease: None,
        })),
    }
}

/// Option 61: the endpoint's, else the network's template, else the identity's of before, else type 1 and the
/// hardware address, as most clients send it (RFC 2132 section 9.14), or a drawn one where that address is shared.
fn client_id(
    request: &CreateEndpoint,
    network: &NetworkRecord,
    identity: &IdentityRecord,
) -> Result<Vec<u8>, CreateEndpointError> {
    let mac = identity.mac;
    let template = request.options.client_id.as_ref().or(network.options.client_id.as_ref());
    let Some(template) = template else {
        return Ok(identity.client_id.clone().unwrap_or_else(|| match facts_of(network.options.mode).mac {
            MacOf::Parent => dhcp::drawn_client_id(&mut OsRandom),
            MacOf::Own => ClientId::from_mac(mac).as_bytes().to_vec(),
        }));
    };
    let context = landline_options::ClientIdContext {
        mac,
        endpoint: request.options.id.as_deref().unwrap_or(request.endpoint.as_str()),
        hostname: request.options.hostname.as_ref(),
    };
    template
        .expand(&context)
        .map_err(|source| CreateEndpointError::ClientId { network: network_name(network), source })
}

/// A locally administered unicast address with 40 random bits.
pub fn random_mac() -> Mac {
    let (a, b) = (OsRandom.next_u32().to_be_bytes(), OsRandom.next_u32().to_be_bytes());
    Mac::new([0x02, a[0], a[1], a[2], a[3], b[0]])
}

async fn answer(endpoint: &Endpoint) -> EndpointAddress {
    let record = endpoint.state.read().await;
    let address = match &record.address {
        AddressRecord::None | AddressRecord::Static { .. } => None,
        AddressRecord::Dhcp(dhcp) => dhcp.told.or_else(|| dhcp.lease.as_ref().map(LeaseRecord::net)),
    };
    // Docker sets an address that it is told, which the kernel refuses on ipvlan (EOPNOTSUPP).
    let shared = facts_of(endpoint.state.options().mode).shares_mac();
    let told = !record.mac_given && !shared && endpoint.late.is_none();
    let address_v6 = record.ipv6.and_then(|ipv6| ipv6.told);
    EndpointAddress { mac: told.then_some(record.mac), address, address_v6 }
}
