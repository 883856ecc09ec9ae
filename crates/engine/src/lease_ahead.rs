//! Leases for endpoints that are still to come.
//!
//! Docker asks an IPAM driver for an address before it says anything about the endpoint it is for, and it must be that one. So
//! the lease is made over a link made for that moment, under an identity, and kept with it. The endpoint that comes with the
//! address names the identity ([`CreateEndpoint::reservation`]), and asks the server for the same lease again.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use landline_dhcp::Random as _;
use landline_leases::OsRandom;
use landline_model::{ContainerRecord, IdentityId, IdentityRecord, LeaseRecord, NetworkRecord};
use landline_options::{EndpointId, Ipv6Mode, NetworkOptions};
use landline_store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::endpoints::{CreateEndpoint, CreateEndpointError, FirstLease, first_name, network_name};
use crate::engine::Engine;
use crate::identity::IdentityQuery;
use crate::starting::Starting;

/// Why there is no lease. The text is what `docker run` prints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseAheadError {
    /// The container cannot be on the network, or the server gave nothing.
    #[error(transparent)]
    Endpoint(#[from] CreateEndpointError),
    /// The server's addresses are not of the subnet that the user gave.
    #[error(
        "the DHCP server gave {given}, which is not within --subnet {subnet}; create the network again with the \
         LAN's own subnet"
    )]
    OtherSubnet {
        /// What the server gave.
        given: IpAddr,
        /// What the user said.
        subnet: IpNet,
    },
    /// It could not be stored.
    #[error("cannot store the address")]
    Store(#[source] StoreError),
}

impl Engine {
    /// Gets a lease on a network for the container that starts: of this address, or of any within `subnet`. The identity that
    /// has it is held until the endpoint comes, or [`Engine::release_unused`] is called. Nothing is left if it fails.
    ///
    /// # Errors
    /// See [`LeaseAheadError`].
    pub async fn lease_ahead(
        &self,
        network: &NetworkRecord,
        container: &Starting,
        address: Option<Ipv4Addr>,
        subnet: IpNet,
        cancel: &CancellationToken,
    ) -> Result<(IdentityId, Ipv4Net), LeaseAheadError> {
        let stand_in = CreateEndpoint {
            network: network.id.clone(),
            endpoint: stand_in(),
            mac: container.mac,
            address: address.map(Ipv4Net::from),
            address_v6: None,
            options: container.options.clone(),
            ports: BTreeSet::new(),
            published: Vec::new(),
            candidates: container.candidates.clone(),
            reservation: None,
            host_end: None,
        };
        self.evict_orphans(&stand_in, network).await;
        self.check_mac(&stand_in, network).await?;
        let query = IdentityQuery { address, ..container.query(network) };
        self.refuse_unsure(network, &query).await?;
        // What is known before this counts as an endpoint.
        let starting = self.identities.starting(&query);
        let mut identity = self.identities.take(&stand_in.endpoint, network, &query);
        let id = identity.id.clone();
        if let (None, Some(name)) = (&identity.container, &container.name) {
            // The watcher will say the rest.
            let known = container.container.clone();
            identity.container = Some(known.unwrap_or_else(|| ContainerRecord::named(name)));
        }
        let name = first_name(&stand_in.options, &network.options, starting.as_ref(), &identity);
        let leased = self.lease_as(&stand_in, network, &mut identity, name, subnet, cancel).await;
        if leased.is_err() {
            self.identities.release(&id);
        }
        Ok((id, leased?))
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
    ) -> Result<Ipv4Net, LeaseAheadError> {
        // IPv6 has time until there is an endpoint.
        let options = NetworkOptions { ipv6: Ipv6Mode::Off, ..network.options.clone() };
        let network = &NetworkRecord { options, ..network.clone() };
        let first = FirstLease { name, late: false };
        let prepared = self.prepare(request, network, identity, first, |_| {}, cancel).await?;
        let lease = prepared.endpoint.status().and_then(|status| status.lease);
        let lease =
            lease.map(|lease| LeaseRecord::of(&lease, &self.services.boot, self.services.clock.both()));
        let net = lease.as_ref().map(LeaseRecord::net);
        let result = match net {
            // `on_timeout=continue` does not help somebody who must be given an address.
            None => Err(CreateEndpointError::NoAddress { network: network_name(network) }.into()),
            Some(net) if !subnet.contains(&IpAddr::from(net.addr())) => {
                Err(LeaseAheadError::OtherSubnet { given: net.addr().into(), subnet })
            }
            Some(net) => {
                identity.lease = lease;
                let stored = self.store.put(&*identity).await;
                stored.map(|()| net).map_err(LeaseAheadError::Store)
            }
        };
        if result.is_ok() {
            self.identities.keep(identity.clone());
        }
        self.roll_back(prepared, result.is_err()).await;
        result
    }
}

/// The id of the endpoint that stands in for the one to come. No endpoint of Docker's has such an id.
fn stand_in() -> EndpointId {
    let id = format!("ipam-{:08x}{:08x}", OsRandom.next_u32(), OsRandom.next_u32());
    id.parse().unwrap_or_else(|_| unreachable!("letters, digits and a hyphen"))
}
