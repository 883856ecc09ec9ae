//! Leases for containers whose link is not there yet.
//!
//! Docker asks for an address before it says anything about the endpoint it is for, and it must be that one. So the
//! lease is made over a link made for that moment, under an identity, and kept with it; the endpoint that comes with the
//! address has the identity, and asks the server for the same lease again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use landline_dhcp::Random as _;
use landline_engine::{CreateEndpoint, CreateEndpointError, IdentityQuery, first_name, network_name};
use landline_leases::{OsRandom, clock};
use landline_model::{Called, ContainerRecord, IdentityId, IdentityRecord, LeaseRecord, NetworkRecord};
use landline_spec::{
    Addressing, EndpointId, EndpointOptions, Ipv6Mode, NetworkId, NetworkOptions, PoolSource,
};
use tokio_util::sync::CancellationToken;

use super::{Ipam, RequestAddress, RequestAddressError};

/// How long an endpoint may take to come for its lease: Docker asks for it next. After that the identity is free, and the lease
/// runs out unless somebody takes it up.
const SOON: Duration = Duration::from_mins(1);

/// The leases that nobody has come for yet.
#[derive(Debug, Default)]
pub(crate) struct Reservations(Mutex<BTreeMap<(NetworkId, Ipv4Addr), Waiting>>);

/// A lease that nobody has come for yet.
#[derive(Debug, Clone)]
struct Waiting {
    identity: IdentityId,
    since: Instant,
    /// The container's name, if Docker said it, and what was known of its user's options when the lease was made.
    name: Option<String>,
    options: EndpointOptions,
}

impl Reservations {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(NetworkId, Ipv4Addr), Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stale(&self) -> Vec<IdentityId> {
        let mut all = self.lock();
        let gone = all.extract_if(.., |_, waiting| waiting.since.elapsed() > SOON);
        gone.map(|(_, waiting)| waiting.identity).collect()
    }
}

impl RequestAddress {
    /// What the container is called, if Docker said its name.
    pub(super) fn called(&self) -> Option<Called<'_>> {
        let name = self.name.as_deref()?;
        Some(self.container.as_ref().map_or(Called::of(name, None), ContainerRecord::called))
    }

    /// What is known of whoever starts.
    pub(super) fn wish<'a>(&'a self, network: &'a NetworkRecord) -> IdentityQuery<'a> {
        IdentityQuery {
            network: &network.id,
            network_name: network.name.as_deref(),
            parent: &network.options.parent,
            mac: self.mac,
            key: self.options.id.as_deref(),
            name: self.called(),
            address: None,
            ports: None,
            candidates: self.candidates.as_deref(),
        }
    }
}

impl Ipam {
    /// Gets a lease for whoever starts, of the address that was named or of any.
    pub(super) async fn lease_ahead(
        &self,
        network: &NetworkRecord,
        request: &RequestAddress,
        cancel: &CancellationToken,
    ) -> Result<IpNet, RequestAddressError> {
        for identity in self.ahead.stale() {
            self.engine.release_unused(&identity);
        }
        let subnet = self.pools.look(&request.pool, |record| record.pool.subnet()).unwrap_or_default();
        let named = match request.named {
            None => request.options.ip,
            Some(IpAddr::V4(address)) => Some(address),
            Some(address @ IpAddr::V6(_)) => return Err(RequestAddressError::NoSubnet(address)),
        };
        // No endpoint of Docker's has such an id.
        let stand_in = format!("ipam-{:08x}{:08x}", OsRandom.next_u32(), OsRandom.next_u32());
        let stand_in: EndpointId =
            stand_in.parse().unwrap_or_else(|_| unreachable!("letters, digits and a hyphen"));
        let as_endpoint = CreateEndpoint {
            network: network.id.clone(),
            endpoint: stand_in.clone(),
            mac: request.mac,
            address: named.map(Ipv4Net::from),
            address_v6: None,
            options: request.options.clone(),
            ports: BTreeSet::new(),
            published: Vec::new(),
            candidates: request.candidates.clone(),
            reservation: None,
            host_end: None,
        };
        self.engine.evict_orphans(&as_endpoint, network).await;
        self.engine.check_mac(&as_endpoint, network).await?;
        let wish = IdentityQuery { address: named, ..request.wish(network) };
        self.engine.refuse_unsure(network, &wish).await?;
        // What is known before this counts as an endpoint.
        let starting = self.engine.identities.starting(&wish);
        let mut identity = self.engine.identities.take(&stand_in, network, &wish);
        let id = identity.id.clone();
        if let (None, Some(name)) = (&identity.container, &request.name) {
            // The watcher will say the rest.
            let known = request.container.clone();
            identity.container = Some(known.unwrap_or_else(|| ContainerRecord::named(name)));
        }
        let name = first_name(&as_endpoint.options, &network.options, starting.as_ref(), &identity);
        let leased = self.lease_as(&as_endpoint, network, &mut identity, name, subnet, cancel).await;
        match leased {
            Ok(address) => {
                let key = (network.id.clone(), address.addr());
                let (name, options) = (request.name.clone(), request.options.clone());
                let waiting = Waiting { identity: id, since: Instant::now(), name, options };
                self.ahead.lock().insert(key, waiting);
                Ok(address.into())
            }
            Err(error) => {
                self.engine.identities.release(&id);
                Err(error)
            }
        }
    }

    /// Leases as that identity, and stores both.
    async fn lease_as(
        &self,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        identity: &mut IdentityRecord,
        name: Option<String>,
        subnet: IpNet,
        cancel: &CancellationToken,
    ) -> Result<Ipv4Net, RequestAddressError> {
        // IPv6 has time until there is an endpoint.
        let options = NetworkOptions { ipv6: Ipv6Mode::Off, ..network.options.clone() };
        let network = &NetworkRecord { options, ..network.clone() };
        let prepared = self.engine.prepare(request, network, identity, name, |_| {}, cancel).await?;
        let lease = prepared.endpoint.supervised().as_ref().and_then(|s| s.status.borrow().lease.clone());
        let lease = lease.map(|lease| LeaseRecord::of(&lease, &self.engine.services.boot, clock::now()));
        let net = lease.as_ref().map(LeaseRecord::net);
        let result = match net {
            // `on_timeout=continue` does not help somebody who must be given an address.
            None => Err(CreateEndpointError::NoAddress { network: network_name(network) }.into()),
            Some(net) if !subnet.contains(&IpAddr::from(net.addr())) => {
                Err(RequestAddressError::OtherSubnet { given: net.addr().into(), subnet })
            }
            Some(net) => {
                identity.lease = lease;
                let stored = self.engine.store.put(&*identity).await;
                stored.map(|()| net).map_err(RequestAddressError::Store)
            }
        };
        if result.is_ok() {
            self.engine.identities.keep(identity.clone());
        }
        self.engine.roll_back(prepared, result.is_err()).await;
        result
    }

    /// The identity that has the lease of the address which Docker's IPAM gave the endpoint, and which is the endpoint's from
    /// now on. `None`: the address is not leased, or by whom is not remembered.
    ///
    /// # Errors
    /// The request says what it was too late to say.
    pub fn reservation(&self, request: &CreateEndpoint) -> Result<Option<IdentityId>, CreateEndpointError> {
        let network = &request.network;
        let Some(address) = request.address.map(|net| net.addr()).filter(|_| self.leases_ahead(network))
        else {
            return Ok(None);
        };
        if self.engine.knows(&request.endpoint) {
            return Ok(None);
        }
        let key = (network.clone(), address);
        let mut ahead = self.ahead.lock();
        let waiting = ahead.get(&key).cloned();
        let known = waiting.as_ref().map(|waiting| waiting.options.clone()).unwrap_or_default();
        let name = waiting.as_ref().and_then(|waiting| waiting.name.clone());
        let too_late = |option| match &name {
            Some(name) => CreateEndpointError::TooLateOnce { option, name: name.clone() },
            None => CreateEndpointError::TooLate { option },
        };
        let (given, identities) = (&request.options, &self.engine.identities);
        let identity = waiting.and_then(|waiting| identities.get(&waiting.identity));
        if let (Some(id), None, Some(_), Some(identity)) = (&given.id, &known.id, &name, &identity) {
            // Nobody has the key, so it is this one's from now on.
            if !identities.claim_key(&identity.id, id) {
                return Err(too_late("landline.id"));
            }
        } else if given.id.is_some() && given.id != known.id {
            return Err(too_late("landline.id"));
        }
        if given.client_id.is_some() && given.client_id != known.client_id {
            return Err(too_late("client_id"));
        }
        if given.ip.is_some_and(|ip| ip != address) {
            return Err(too_late("ip"));
        }
        let Some(identity) = identity else { return Ok(None) };
        if let Some(mac) = request.mac.filter(|mac| *mac != identity.mac) {
            return Err(match name {
                Some(_) => too_late("--mac-address"),
                None => CreateEndpointError::MacTooLate { mac, address },
            });
        }
        ahead.remove(&key);
        Ok(Some(identity.id))
    }

    /// Whether the network's addresses are leased before its endpoints are made.
    fn leases_ahead(&self, network: &NetworkId) -> bool {
        let dhcp = |id| self.pools.look(id, |record| record.source == Some(PoolSource::Dhcp)) == Some(true);
        let asks = |n: &NetworkRecord| n.options.addressing == Addressing::Dhcp;
        self.engine.networks().get(network).is_some_and(asks)
            && self.pools.of_network(network).iter().any(dhcp)
    }

    /// No endpoint will come for a lease.
    pub(super) fn lease_not_used(&self, network: &NetworkId, address: Ipv4Addr) {
        let unused = self.ahead.lock().remove(&(network.clone(), address));
        if let Some(Waiting { identity, .. }) = unused {
            self.engine.release_unused(&identity);
        }
    }
}
