//! Networks whose containers have addresses that the LAN never sees (`mode=nat`): what is asked of them, and where the host
//! is among their containers.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use landline_links::blocking;
use landline_links::network::own_bridge;
use landline_options::NetworkId;

use crate::engine::Engine;

/// Why a network with translated addresses cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranslatedError {
    /// Its containers have no addresses of their own.
    #[error(
        "with mode=nat containers have private addresses of their own: leave out --ipam-driver null, and give \
         --subnet if they are to be of your choice"
    )]
    NoPool,
    /// There is no IPv6.
    #[error("mode=nat translates IPv4 only; leave out --ipv6 and its --subnet")]
    V6,
    /// The host has no address among its containers.
    #[error(
        "with mode=nat the host is the containers' router and needs an address of their subnet: add --gateway"
    )]
    NoGateway,
}

impl Engine {
    /// The host's address among a network's containers, which Docker tells only of networks whose user has named it: that
    /// on the network's bridge, or else the one that Docker takes.
    pub(crate) async fn router_of(&self, id: &NetworkId, subnet: Ipv4Net) -> Option<Ipv4Addr> {
        let (host, bridge) = (self.host.clone(), own_bridge(id));
        let addresses = blocking(move || {
            let bridge = host.links()?.into_iter().find(|link| link.name == bridge);
            bridge.map(|bridge| host.addresses(bridge.index)).transpose()
        });
        let addresses = addresses.await.ok().flatten().unwrap_or_default();
        let there = addresses.into_iter().find_map(|net| match net.addr() {
            IpAddr::V4(address) => Some(address).filter(|address| subnet.contains(address)),
            IpAddr::V6(_) => None,
        });
        there.or_else(|| subnet.hosts().next())
    }
}
