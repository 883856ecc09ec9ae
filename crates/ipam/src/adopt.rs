//! Pools that were lost with the state: Docker still has their networks, and shows everything about them but what it calls
//! their pools.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use landline_leases::OsRandom;
use landline_options::{NetworkId, PoolSource};

use super::{Ipam, Pool, PoolId, PoolRecord};

/// What Docker shows of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptPool {
    /// Its network, which may be another driver's.
    pub network: NetworkId,
    /// Where its addresses come from.
    pub source: PoolSource,
    /// Whether that is a guess: its user gave a subnet and said nothing more.
    pub guessed: bool,
    /// Its subnet.
    pub subnet: IpNet,
    /// The part of it that addresses nobody names are from.
    pub range: Option<IpNet>,
    /// The gateway.
    pub gateway: Option<IpAddr>,
    /// The network's addresses that are in use or set aside, of whatever subnet.
    pub in_use: BTreeSet<IpAddr>,
}

impl Ipam {
    /// Takes up a pool that Docker has and the state does not, with the addresses that are in use. One that is known
    /// stays as it is.
    pub async fn adopt_pool(&self, lost: AdoptPool) {
        let AdoptPool { network, source, guessed, subnet, range, gateway, in_use } = lost;
        let mut pool = match Pool::new(subnet, range) {
            Ok(pool) => pool,
            Err(error) => {
                tracing::warn!(network = %network.short(), %error, "its pool cannot be taken up");
                return;
            }
        };
        let gateway = gateway.map(|gateway| pool.set_gateway(gateway));
        let taken = in_use.iter().filter(|address| subnet.contains(*address));
        // With DHCP the server knows what is in use.
        let taken =
            taken.filter(|_| source == PoolSource::Pool).map(|address| pool.take_named(*address, None));
        for error in gateway.into_iter().chain(taken).filter_map(Result::err) {
            tracing::warn!(network = %network.short(), %error, "an address of a lost pool");
        }
        let source = Some(source);
        let id = PoolId::random(&mut OsRandom, source, &pool);
        let record = PoolRecord { id, source, network: Some(network.clone()), pool, adopted: true, guessed };
        match self.pools.adopt(record).await {
            Ok(true) => {
                tracing::warn!(network = %network.short(), %subnet, "Docker has a pool the state does not; taken up");
                if guessed {
                    tracing::warn!(
                        network = %network.short(), %subnet,
                        "nothing shows where this network's addresses come from: they are taken from the LAN's DHCP server. If \
                         Landline is to give them, create the network again with -o addressing=pool"
                    );
                }
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = %landline_types::chain(&error), "a pool could not be stored");
            }
        }
    }
}
