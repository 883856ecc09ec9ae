//! The private bridges of `mode=nat` networks.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use landline_kernel::Link;
use landline_model::NatOwner;
use landline_spec::{LanIp, LinkMtu, NetworkId};
use landline_types::IfName;

use super::follow::forwards;
use super::{NatError, NatRecord, Private, address};
use crate::blocking;
use crate::engine::Engine;
use crate::host::{Host, HostError};
use crate::links::facts_of;
use crate::mark::{NetworkMark, Role};
use crate::plan::{LinkEnd, LinkType, Plan, Step};
use crate::records::NetworkRecord;

/// The MTU of a bridge whose NIC is not there.
const DEFAULT_MTU: u32 = 1500;

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

/// Hangs a network on a bridge of its own in the place of the NIC that was named.
pub(crate) fn hang(network: &mut NetworkRecord) {
    let bridge = NetworkMark::new(&network.id, Role::Nat).link_name();
    network.nic = Some(std::mem::replace(&mut network.options.parent, bridge));
}

impl Engine {
    /// Makes a new network's bridge, and has its address on the LAN if it has one. If that fails nothing is left.
    pub(crate) async fn open_private(&self, network: &NetworkRecord) -> Result<(), PrivateError> {
        let Some(own) = private(network, &self.openings.all()) else { return Ok(()) };
        address::check_nic(&own.nic).await?;
        if !own.open && !forwards() {
            return Err(PrivateError::NoForwarding);
        }
        let (host, bridge, subnet) = (self.host.clone(), own.bridge.clone(), own.subnet);
        if let Some((taken, interface)) = blocking(move || overlap(&*host, &bridge, subnet)).await? {
            return Err(PrivateError::Overlap { subnet, taken, interface });
        }
        self.make_private(network).await?;
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
            self.make_private(network).await?;
            let all = private_bridges(self.networks().values(), &self.openings.all());
            self.nat.privates(all).await?;
            self.add_static(network, own, true).await
        };
        if let Err(error) = adopted.await {
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

    /// Makes what is missing of a network's bridge.
    pub(crate) async fn make_private(&self, network: &NetworkRecord) -> Result<(), HostError> {
        let (Some(own), Some(net)) = (private(network, &self.openings.all()), network.bridge_address) else {
            return Ok(());
        };
        let (host, id, mtu) = (self.host.clone(), network.id.clone(), network.options.mtu);
        blocking(move || {
            let links = host.links()?;
            let nic = links.iter().find(|link| link.name == own.nic).map(|link| link.mtu);
            let mtu = mtu.and_then(LinkMtu::fixed).or(nic).unwrap_or(DEFAULT_MTU);
            plan(&id, net, mtu, &links).apply(&*host)
        })
        .await
    }

    /// Takes a network's addresses back and removes its bridge. The network is not among the others any more.
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
        let (host, id) = (self.host.clone(), network.id.clone());
        if let Err(error) = blocking(move || crate::links::vde::remove_links(&*host, &id)).await {
            said("its bridge could not be removed", crate::chain(&error));
        }
    }

    /// After a start, or when one was removed: every bridge is there again.
    pub(crate) async fn reopen_privates(&self) {
        let networks: Vec<NetworkRecord> = self.networks().values().cloned().collect();
        for network in &networks {
            if let Err(error) = self.make_private(network).await {
                tracing::warn!(network = network.id.short(), error = %crate::chain(&error), "a network has no bridge for now");
            }
        }
    }
}

fn plan(id: &NetworkId, address: Ipv4Net, mtu: u32, links: &[Link]) -> Plan {
    let mark = NetworkMark::new(id, Role::Nat);
    let name: IfName = mark.link_name();
    let mut steps = Vec::new();
    if !links.iter().any(|link| link.name == name) {
        // It is the host's own place in the network, so it answers.
        let (mac, alias) = (Some(mark.mac()), mark.to_string());
        steps
            .push(Step::AddLink { link: LinkEnd { name: name.clone(), mac, mtu, alias, silent: false }, kind: LinkType::Bridge });
    }
    steps.push(Step::AddAddress { link: name.clone(), address });
    steps.push(Step::Up { link: name });
    Plan { steps }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    #[test]
    fn a_bridge_is_made_once_and_what_is_there_is_brought_up() {
        let (id, address) = ("n".repeat(64).parse().unwrap(), "203.0.113.1/24".parse().unwrap());
        let host = FakeHost::with_bridge_and_nic();
        let made = plan(&id, address, 1500, &host.links().unwrap());
        made.apply(&host).unwrap();
        assert_eq!(host.names(), ["br0", "eth0", "llbnnnnnnnnnnnn"]);
        let script = made.to_string();
        assert!(
            script.contains("ip address add 203.0.113.1/24") && !script.contains("arp_ignore"),
            "{script}"
        );
        assert_eq!(plan(&id, address, 1500, &host.links().unwrap()).steps.len(), 2);
    }
}
