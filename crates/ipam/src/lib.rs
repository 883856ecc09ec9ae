//! Landline's IPAM driver: pools of addresses for networks, whose addresses are from a subnet or from the LAN's
//! DHCP server.
//!
//! `pool` is the arithmetic, a value; `table` keeps all pools and stores them; `reservations` knows the leases that endpoints
//! are still to come for. Pools of one subnet know nothing of each other: two networks may have the same.

mod admission;
mod adopt;
mod pool;
mod record;
mod reservations;
mod table;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use landline_engine::{CreateEndpointError, Engine, LeaseAheadError, Starting};
use landline_leases::addressing::book::AddressBook;
use landline_leases::addressing::permit::{Asker, Lan};
use landline_leases::{OsRandom, Shared};
use landline_model::NetworkRecord;
use landline_options::{Addressing, IpamOptions, NetworkId, PoolSource};
use landline_store::StoreError;
use tokio_util::sync::CancellationToken;

pub use admission::PoolRefusal;
pub use adopt::AdoptPool;
pub(crate) use pool::Pool;
pub use pool::{PoolError, TakeError};
pub use record::{PoolId, PoolRecord};
use reservations::Reservations;
pub use table::Pools;

/// A request for a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPool {
    /// The subnet the user gave.
    pub subnet: Option<IpNet>,
    /// The part of it that addresses nobody names are from.
    pub range: Option<IpNet>,
    /// Whether it is for IPv6.
    pub v6: bool,
    /// The user's options.
    pub options: IpamOptions,
}

/// Why there is no pool. The text goes to the user as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestPoolError {
    /// There is nothing to take addresses from.
    #[error("addressing=pool takes addresses from a subnet: give --subnet, or use addressing=dhcp")]
    NoSubnet,
    /// The server chooses.
    #[error(
        "with addressing=dhcp the LAN's DHCP server chooses among its own addresses; leave out --ip-range, or use \
         addressing=pool"
    )]
    RangeWithDhcp,
    /// IPv6 from the LAN does not come through an IPAM driver.
    #[error(
        "IPv6 addresses from the LAN do not come through an IPAM driver; leave out --ipv6, or give an IPv6 --subnet \
         with -o addressing=pool"
    )]
    Ipv6WithDhcp,
    /// The range and the subnet do not go together.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// It could not be stored.
    #[error("cannot store the pool")]
    Store(#[from] StoreError),
}

/// A request for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAddress {
    /// The pool it is from.
    pub pool: PoolId,
    /// The address the user named.
    pub named: Option<IpAddr>,
    /// The container it is for.
    pub container: Starting,
}

/// Why there is no address. The text is what `docker run` prints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestAddressError {
    /// The pool is not ours.
    #[error(
        "Landline does not know the pool {0}: its state was lost, and either Docker has not been seen since or several \
         networks have this subnet; try again, or remove the network and create it again"
    )]
    UnknownPool(PoolId),
    /// It cannot be had.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// Only networks of this driver are on a LAN we know.
    #[error(
        "addressing=dhcp asks the DHCP server on the LAN of a network of driver landline; give this network a \
         --subnet and the IPAM driver landline"
    )]
    NoNetwork,
    /// Nobody chooses an address.
    #[error(
        "this network takes addresses without asking anybody (-o addressing=static), so every container names its own \
         with --ip; to have them taken from the subnet, create the network with -o addressing=pool"
    )]
    Unnamed,
    /// There is no subnet to take a gateway from.
    #[error("which gateway the network has was not said; create it again with --subnet, or with --gateway")]
    NoGateway,
    /// An address that no prefix goes with.
    #[error("which subnet {0} is in was not said; create the network again with --subnet")]
    NoSubnet(IpAddr),
    /// There is no lease.
    #[error(transparent)]
    Lease(#[from] LeaseAheadError),
    /// It cannot be told who starts.
    #[error(transparent)]
    Unsure(#[from] CreateEndpointError),
    /// It could not be stored.
    #[error("cannot store the address")]
    Store(#[from] StoreError),
}

/// The IPAM driver.
pub struct Ipam {
    engine: Arc<Engine>,
    pools: Arc<Pools>,
    /// Which addresses a network's containers may have.
    book: AddressBook,
    ahead: Reservations,
}

impl Ipam {
    /// One that gives addresses from these pools, to the engine's networks and to others.
    pub fn new(shared: &Shared, engine: Arc<Engine>, pools: Arc<Pools>) -> Self {
        Self { engine, pools, book: shared.services.book.clone(), ahead: Reservations::default() }
    }

    /// Makes a pool and returns its id and subnet.
    ///
    /// # Errors
    /// See [`RequestPoolError`].
    pub async fn request_pool(&self, request: RequestPool) -> Result<(PoolId, IpNet), RequestPoolError> {
        let RequestPool { subnet, range, v6, options } = request;
        let subnet = subnet.filter(|subnet| subnet.prefix_len() > 0);
        // A subnet alone says what the LAN is as well as where to take addresses from: the network's options decide.
        let source = options.addressing.or(match subnet {
            None => Some(PoolSource::Dhcp),
            Some(_) if v6 || range.is_some() => Some(PoolSource::Pool),
            Some(_) => None,
        });
        let subnet = match (source, subnet) {
            (Some(PoolSource::Dhcp), _) if v6 => return Err(RequestPoolError::Ipv6WithDhcp),
            (Some(PoolSource::Dhcp), _) if range.is_some() => return Err(RequestPoolError::RangeWithDhcp),
            (_, Some(subnet)) => subnet,
            (Some(PoolSource::Pool), None) => return Err(RequestPoolError::NoSubnet),
            // Any other that overlaps a route of the host Docker would refuse, and ask again for ever.
            (_, None) => IpNet::default(),
        };
        let pool = Pool::new(subnet, range)?;
        let (id, subnet) = (PoolId::random(&mut OsRandom, source, &pool), pool.subnet());
        self.pools
            .add(PoolRecord { id: id.clone(), source, network: None, pool, adopted: false, guessed: false })
            .await?;
        let source = source.map_or("as its network says", PoolSource::as_str);
        tracing::info!(pool = %id, %subnet, source, "pool created");
        Ok((id, subnet))
    }

    /// Forgets a pool. One that is not known is fine.
    ///
    /// # Errors
    /// It could not be removed from the store.
    pub async fn release_pool(&self, id: &PoolId) -> Result<(), StoreError> {
        self.pools.recognise(id).await?;
        self.pools.remove(id).await
    }

    /// Where the addresses of a network of ours come from that has, or is about to be created with, this subnet.
    pub fn source(&self, network: &NetworkId, subnet: IpNet) -> Option<PoolSource> {
        self.pools.look(&self.pools.find(network, subnet)?, |record| record.source)?
    }

    /// The network that is about to be created with this subnet says where the addresses of its pool come from.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn decide(
        &self,
        network: &NetworkId,
        subnet: IpNet,
        source: PoolSource,
    ) -> Result<(), StoreError> {
        // Without a pool the network is refused, and why is said then.
        let Some(pool) = self.pools.find(network, subnet) else { return Ok(()) };
        let decided = self.pools.change(&pool, |record| {
            record.source = Some(source);
            Ok::<_, StoreError>(())
        });
        decided.await.map(drop)
    }

    /// Whether the network's addresses come through this driver.
    pub fn serves(&self, network: &NetworkId) -> bool {
        !self.pools.of_network(network).is_empty()
    }

    /// The network of a pool.
    pub fn network_of_pool(&self, id: &PoolId) -> Option<NetworkId> {
        self.pools.look(id, |record| record.network.clone())?
    }

    /// Makes sure that a pool that Docker names is known if it was lost with the state and can be found again.
    pub async fn recognise_pool(&self, id: &PoolId) {
        if let Err(error) = self.pools.recognise(id).await {
            tracing::warn!(error = %landline_types::chain(&error), "a pool could not be stored");
        }
        let guessed_wrong = |record: &PoolRecord| record.guessed && record.source == Some(PoolSource::Pool);
        let network = self.pools.look(id, |record| record.network.clone().filter(|_| guessed_wrong(record)));
        let Some(Some(network)) = network else { return };
        self.engine.addresses_are_given(&network).await;
        let settled = self.pools.change(id, |record| {
            record.guessed = false;
            Ok::<_, StoreError>(())
        });
        if let Err(error) = settled.await {
            tracing::warn!(error = %landline_types::chain(&error), "a pool could not be stored");
        }
    }

    /// Names the gateway of the network that a pool is for, and returns it with its prefix. Docker asks for one that nobody has
    /// named only for a network that must have one: that is the first address of the subnet.
    ///
    /// # Errors
    /// The address is not in the subnet, or there is no subnet.
    pub async fn request_gateway(
        &self,
        id: &PoolId,
        gateway: Option<IpAddr>,
    ) -> Result<IpNet, RequestAddressError> {
        let named = self.pools.change(id, |record| {
            let first = || record.pool.first().filter(|_| record.pool.subnet().prefix_len() > 0);
            let gateway = gateway.or_else(first).ok_or(RequestAddressError::NoGateway)?;
            record.pool.set_gateway(gateway)?;
            within(gateway, record.pool.subnet())
        });
        named.await?.ok_or_else(|| RequestAddressError::UnknownPool(id.clone()))
    }

    /// Gives an address, with its prefix.
    ///
    /// # Errors
    /// See [`RequestAddressError`]; nothing was changed then.
    pub async fn request_address(
        &self,
        request: RequestAddress,
        cancel: CancellationToken,
    ) -> Result<IpNet, RequestAddressError> {
        let known = self.pools.look(&request.pool, |record| (record.source, record.network.clone()));
        let unknown = || RequestAddressError::UnknownPool(request.pool.clone());
        let (source, network) = known.ok_or_else(unknown)?;
        // Only a network of another driver has not said it by now, and there is no LAN that is known to be its.
        let source = source.unwrap_or(PoolSource::Pool);
        let network = network.and_then(|id| self.engine.networks().get(&id).cloned());
        match (source, network) {
            (PoolSource::Dhcp, None) if request.named.is_none() => Err(RequestAddressError::NoNetwork),
            (PoolSource::Dhcp, Some(network)) if network.options.addressing == Addressing::Dhcp => {
                self.lease_ahead(&network, &request, &cancel).await
            }
            (PoolSource::Dhcp, _) if request.named.is_none() => Err(RequestAddressError::Unnamed),
            (_, network) => {
                let lan = network.as_ref().map(|network| Lan::of(&network.options));
                let around = self.around(&request, network.as_ref()).await;
                let owner = match &network {
                    Some(network) => {
                        let for_good = request.named.is_none();
                        self.engine.owner_to_be(network, &request.container, for_good).await?
                    }
                    None => request.container.called().map(|called| called.to_string()),
                };
                self.take(&request, owner.as_deref(), lan.as_ref(), around).await
            }
        }
    }

    async fn take(
        &self,
        request: &RequestAddress,
        owner: Option<&str>,
        lan: Option<&Lan>,
        around: Option<IpNet>,
    ) -> Result<IpNet, RequestAddressError> {
        // Which LAN it is for is not known before there is a network. What is named (`--aux-address` among it) is
        // judged once an endpoint is to have it.
        let usable = |address: IpAddr| {
            let asker = lan.map(|lan| Asker { lan, endpoint: None, interface: None, routed: false });
            asker.is_none_or(|asker| self.book.permit(address.into(), &asker).is_ok())
        };
        let taken = self.pools.change(&request.pool, |record| {
            let address = match request.named {
                Some(address) => record.pool.take_named(address, owner).map(|()| address),
                None => record.pool.take_any(owner, usable),
            };
            within(address?, around.unwrap_or(record.pool.subnet()))
        });
        taken.await?.ok_or_else(|| RequestAddressError::UnknownPool(request.pool.clone()))
    }

    /// The subnet that the network's parent has an address of, if the address that is named is in it and its user gave no subnet.
    async fn around(&self, request: &RequestAddress, network: Option<&NetworkRecord>) -> Option<IpNet> {
        let (named, network) = (request.named?, network?);
        let any = self.pools.look(&request.pool, |record| record.pool.subnet().prefix_len() == 0)?;
        if !any {
            return None;
        }
        let subnets = self.engine.parent_addresses(&network.options.parent).await;
        subnets.iter().find(|subnet| subnet.contains(&named)).map(IpNet::trunc)
    }

    /// Takes an address back. One that is not in use is fine.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn release_address(&self, id: &PoolId, address: IpAddr) -> Result<(), StoreError> {
        self.pools.recognise(id).await?;
        let released = self.pools.change(id, |record| {
            record.pool.release(address);
            Ok::<_, StoreError>(record.network.clone())
        });
        if let (Some(Some(network)), IpAddr::V4(address)) = (released.await?, address) {
            self.lease_not_used(&network, address);
        }
        Ok(())
    }
}

fn within(address: IpAddr, subnet: IpNet) -> Result<IpNet, RequestAddressError> {
    if subnet.prefix_len() == 0 {
        return Err(RequestAddressError::NoSubnet(address));
    }
    IpNet::new(address, subnet.prefix_len()).map_err(|_| RequestAddressError::NoSubnet(address))
}

#[cfg(test)]
mod tests;
