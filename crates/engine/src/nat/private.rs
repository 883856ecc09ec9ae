//! The private bridges of `mode=nat` networks: what is translated for them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use landline_model::NatOwner;
use landline_spec::{LanIp, NetworkId};
use landline_types::IfName;

use super::follow::forwards;
use super::{NatError, NatRecord, Private, address};
use crate::blocking;
use crate::engine::Engine;
use crate::host::{Host, HostError};
use crate::links::facts_of;
use crate::mark::{NetworkMark, Role};
use crate::records::NetworkRecord;

/// Why a network with translated addresses cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateError {
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
    /// The host would not find its own way any more.
    #[error(
        "the host has {taken} already, on {interface}; give the containers another --subnet than {subnet}"
    )]
    Overlap {
        /// What was asked for.
        subnet: Ipv4Net,
        /// What is there.
        taken: IpNet,
        /// Where.
        interface: String,
    },
    /// Nothing would be passed on.
    #[error(
        "net.ipv4.ip_forward is 0, so the host passes nothing on to containers; add -o firewall=open, which sets it as \
         long as it is needed, or set it: sysctl -w net.ipv4.ip_forward=1"
    )]
    NoForwarding,
    /// The NIC, the address or the rules.
    #[error(transparent)]
    Nat(#[from] NatError),
    /// The bridge.
    #[error("the network's bridge cannot be made")]
    Host(#[from] HostError),
}

/// The bridge of a network, if it is one of these; beside what their users say, these bridges are let through the host's
/// firewall.
fn private(network: &NetworkRecord, openings: &BTreeSet<IfName>) -> Option<Private> {
    let (nic, address) = (network.nic.clone()?, network.bridge_address?);
    let private = Private {
        bridge: network.options.parent.clone(),
        subnet: address.trunc(),
        nic,
        open: network.options.open_firewall || openings.contains(&network.options.parent),
    };
    Some(private).filter(|_| facts_of(network.options.mode).is_translated())
}

/// Those of all networks.
pub(crate) fn private_bridges<'a>(
    networks: impl Iterator<Item = &'a NetworkRecord>,
    openings: &BTreeSet<IfName>,
) -> BTreeSet<Private> {
    networks.filter_map(|network| private(network, openings)).collect()
}

impl Engine {
    /// Refuses a new network whose containers' addresses cannot be translated.
    pub(crate) async fn check_private(&self, network: &NetworkRecord) -> Result<(), PrivateError> {
        let Some(own) = private(network, &self.openings.all()) else { return Ok(()) };
        address::check_nic(&own.nic).await?;
        if !own.open && !forwards() {
            return Err(PrivateError::NoForwarding);
        }
        let (host, bridge, subnet) = (self.host.clone(), own.bridge, own.subnet);
        match blocking(move || overlap(&*host, &bridge, subnet)).await? {
            Some((taken, interface)) => Err(PrivateError::Overlap { subnet, taken, interface }),
            None => Ok(()),
        }
    }

    /// Has the addresses of a new network's containers translated, and its own on the LAN if it has one. If that fails
    /// nothing is left of it.
    pub(crate) async fn open_private(&self, network: &NetworkRecord) -> Result<(), PrivateError> {
        let Some(own) = private(network, &self.openings.all()) else { return Ok(()) };
        let mut all = private_bridges(self.networks().values(), &self.openings.all());
        all.insert(own.clone());
        let opened = async {
            self.nat.privates(all).await?;
            self.add_static(network, own, false).await
        };
        let opened: Result<(), NatError> = opened.await;
        if opened.is_err() {
            self.close_private(network).await;
        }
        Ok(opened?)
    }

    /// As [`Self::open_private`] for a network that exists: what cannot be made now is told.
    pub(crate) async fn adopt_private(&self, network: &NetworkRecord) {
        let Some(own) = private(network, &self.openings.all()) else { return };
        let adopted = async {
            let all = private_bridges(self.networks().values(), &self.openings.all());
            self.nat.privates(all).await?;
            self.add_static(network, own, true).await
        };
        let adopted: Result<(), NatError> = adopted.await;
        if let Err(error) = adopted {
            tracing::warn!(network = network.id.short(), error = %crate::chain(&error), "a network has no way to the LAN for now");
        }
    }

    /// The host's address among a network's containers, which Docker tells only of networks whose user has named it: that
    /// on the network's bridge, or else the one that Docker takes.
    pub(crate) async fn router_of(&self, id: &NetworkId, subnet: Ipv4Net) -> Option<Ipv4Addr> {
        let (host, bridge) = (self.host.clone(), NetworkMark::new(id, Role::Nat).link_name());
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

    /// Has the network's own address on the LAN, if it has one. `again`: it may be there.
    async fn add_static(&self, network: &NetworkRecord, own: Private, again: bool) -> Result<(), NatError> {
        if let LanIp::Static(_) = network.options.nat.lan_ip {
            let owner = NatOwner::Network(network.id.clone());
            let record = NatRecord::new(owner, network.options.nat.lan_ip, own.nic);
            let opened = own.open && !network.options.open_firewall;
            let record = NatRecord { open_firewall: own.open, opened, ..record };
            if again {
                self.nat.adopt(record).await?;
            } else {
                self.nat.add(record).await?;
            }
        }
        Ok(())
    }

    /// Takes a network's addresses on the LAN back. The network is not among the others any more.
    pub(crate) async fn close_private(&self, network: &NetworkRecord) {
        if !facts_of(network.options.mode).is_translated() {
            return;
        }
        let said = |what: &str, error: String| {
            tracing::warn!(network = network.id.short(), error, "{what}");
        };
        if let Err(error) = self.nat.remove_network(&network.id).await {
            said("its addresses on the LAN are still there", crate::chain(&error));
        }
        let others = {
            let networks = self.networks();
            let others = networks.values().filter(|other| other.id != network.id);
            private_bridges(others, &self.openings.all())
        };
        if let Err(error) = self.nat.privates(others).await {
            said("its rules are still loaded", crate::chain(&error));
        }
    }
}

/// A network of the host's that has addresses in common with the subnet, and the interface it is on.
fn overlap(host: &dyn Host, bridge: &IfName, subnet: Ipv4Net) -> Result<Option<(IpNet, String)>, HostError> {
    for link in host.links()?.iter().filter(|link| link.name != *bridge) {
        let clash = host.addresses(link.index)?.into_iter().find(|net| match net {
            IpNet::V4(net) => net.contains(&subnet.network()) || subnet.contains(&net.network()),
            IpNet::V6(_) => false,
        });
        if let Some(taken) = clash {
            return Ok(Some((taken, link.name.to_string())));
        }
    }
    Ok(None)
}
