//! The leases that endpoints are still to come for, each found by its address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use landline_engine::{CreateEndpoint, CreateEndpointError};
use landline_model::{IdentityId, NetworkRecord};
use landline_options::{Addressing, EndpointOptions, NetworkId, PoolSource};
use tokio::time::Instant;
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
            None => request.container.options.ip,
            Some(IpAddr::V4(address)) => Some(address),
            Some(address @ IpAddr::V6(_)) => return Err(RequestAddressError::NoSubnet(address)),
        };
        let (identity, leased) =
            self.engine.lease_ahead(network, &request.container, named, subnet, cancel).await?;
        let key = (network.id.clone(), leased.addr());
        let (name, options) = (request.container.name.clone(), request.container.options.clone());
        self.ahead.lock().insert(key, Waiting { identity, since: Instant::now(), name, options });
        Ok(leased.into())
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
        let given = &request.options;
        let identity = waiting.and_then(|waiting| self.engine.identity(&waiting.identity));
        if let (Some(id), None, Some(_), Some(identity)) = (&given.id, &known.id, &name, &identity) {
            // Nobody has the key, so it is this one's from now on.
            if !self.engine.claim_key(&identity.id, id) {
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
