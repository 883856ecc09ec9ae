//! Which network has which pool, and what becomes of its pools and their addresses.

use ipnet::IpNet;
use landline_engine::{AddressNews, Admission, Done, NetworkRequest, Refusal, Verdict, Withdrawn};
use landline_options::NetworkId;
use landline_store::StoreError;

use super::Pools;

/// Why a network is not given the pool that Docker speaks of.
#[derive(Debug, thiserror::Error)]
pub enum PoolRefusal {
    /// Landline did not make it, or has forgotten it.
    #[error("Landline's IPAM driver knows no pool {0} that waits for a network; try again")]
    Unknown(IpNet),
    /// It could not be stored whose it is.
    #[error("cannot store the network")]
    Store(#[source] StoreError),
    /// It could not be stored that its addresses are free.
    #[error("cannot store that the network's addresses are free")]
    Free(#[source] StoreError),
}

impl Admission for Pools {
    fn proposed<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        let unknown = network.pools.iter().find(|subnet| self.find(&network.record.id, **subnet).is_none());
        let refused = unknown.map(|subnet| Refusal::new(PoolRefusal::Unknown(*subnet)));
        Box::pin(std::future::ready(refused.map_or(Ok(()), Err)))
    }

    fn network<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            for subnet in network.pools {
                let pool = self.find(&network.record.id, *subnet);
                let pool = pool.ok_or_else(|| Refusal::new(PoolRefusal::Unknown(*subnet)))?;
                let bound = self.bind(&pool, &network.record.id).await;
                bound.map_err(|error| Refusal::new(PoolRefusal::Store(error)))?;
            }
            Ok(())
        })
    }

    /// Docker lets go of pools by name, but not of those that it did not name since they were adopted.
    fn withdrawn<'a>(&'a self, what: Withdrawn<'a>) -> Verdict<'a> {
        Box::pin(async move {
            let Withdrawn::Network { id, forgotten, .. } = what else { return Ok(()) };
            for pool in self.of_network(id) {
                if forgotten || self.look(&pool, |record| record.adopted) == Some(true) {
                    let removed = self.remove(&pool).await;
                    removed.map_err(|error| Refusal::new(PoolRefusal::Free(error)))?;
                }
            }
            Ok(())
        })
    }

    fn address<'a>(&'a self, network: &'a NetworkId, news: AddressNews<'a>) -> Done<'a> {
        Box::pin(async move {
            let noted = self.change_all_of(network, |record| match news {
                AddressNews::Contested(address) => record.pool.contested(address),
                AddressNews::Of(address, name) => record.pool.belongs_to(address, name),
            });
            if let Err(error) = noted.await {
                tracing::warn!(error = %landline_types::chain(&error), "whose an address is could not be stored");
            }
        })
    }
}
