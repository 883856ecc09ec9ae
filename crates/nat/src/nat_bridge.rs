//! The addresses on the LAN of networks whose containers' addresses are translated (`mode=nat`).

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net};
use landline_links::{Host, HostError, blocking, facts_of};
use landline_model::{NatOwner, NetworkRecord};
use landline_options::LanIp;
use landline_types::IfName;

use super::{Nat, NatBridge, NatError, NatRecord, address};

/// Why a network with translated addresses is not admitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatBridgeRefusal {
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
    /// The host's links.
    #[error("the network's bridge cannot be made")]
    Host(#[from] HostError),
}

/// The bridge of a network, if it is one of these; beside what their users say, these bridges are let through the host's
/// firewall.
fn nat_bridge(network: &NetworkRecord, exceptions: &BTreeSet<IfName>) -> Option<NatBridge> {
    let (nic, address) = (network.nic.clone()?, network.bridge_address?);
    let nat_bridge = NatBridge {
        bridge: network.options.parent.clone(),
        subnet: address.trunc(),
        nic,
        open: network.options.open_firewall || exceptions.contains(&network.options.parent),
    };
    Some(nat_bridge).filter(|_| facts_of(network.options.mode).is_translated())
}

/// Those of all networks.
pub(crate) fn nat_bridges_of<'a>(
    networks: impl Iterator<Item = &'a NetworkRecord>,
    exceptions: &BTreeSet<IfName>,
) -> BTreeSet<NatBridge> {
    networks.filter_map(|network| nat_bridge(network, exceptions)).collect()
}

impl Nat {
    /// Whether there may be such a network: nothing is made for it yet.
    pub(super) async fn propose_nat_bridge(&self, network: &NetworkRecord) -> Result<(), NatBridgeRefusal> {
        let Some(own) = nat_bridge(network, &self.exceptions.all()) else { return Ok(()) };
        address::check_nic(&self.prober, &own.nic).await?;
        if !own.open && !self.forwarding.is_on() {
            return Err(NatBridgeRefusal::NoForwarding);
        }
        let (host, bridge, subnet) = (self.host.clone(), own.bridge.clone(), own.subnet);
        match blocking(move || overlap(&*host, &bridge, subnet)).await? {
            Some((taken, interface)) => Err(NatBridgeRefusal::Overlap { subnet, taken, interface }),
            None => Ok(()),
        }
    }

    /// Has what goes over a network's bridge translated, and its address on the LAN if it has one. `again`: that may be
    /// there.
    pub(super) async fn open_nat_bridge(&self, network: &NetworkRecord, again: bool) -> Result<(), NatError> {
        let exceptions = self.exceptions.all();
        let Some(own) = nat_bridge(network, &exceptions) else { return Ok(()) };
        let mut all = nat_bridges_of(self.others(network).iter(), &exceptions);
        all.insert(own.clone());
        self.nat_bridges(all).await?;
        if let LanIp::Static(_) = network.options.nat.lan_ip {
            let owner = NatOwner::Network(network.id.clone());
            let record = NatRecord::new(owner, network.options.nat.lan_ip, own.nic);
            let opened = own.open && !network.options.open_firewall;
            let record = NatRecord { open_firewall: own.open, opened, ..record };
            if again {
                self.adopt(record).await?;
            } else {
                self.add(record).await?;
            }
        }
        Ok(())
    }

    /// Takes a network's addresses back.
    pub(super) async fn close_nat_bridge(&self, network: &NetworkRecord) {
        if !facts_of(network.options.mode).is_translated() {
            return;
        }
        let said = |what: &str, error: String| {
            tracing::warn!(network = network.id.short(), error, "{what}");
        };
        if let Err(error) = self.remove_network(&network.id).await {
            said("its addresses on the LAN are still there", landline_types::chain(&error));
        }
        let others = nat_bridges_of(self.others(network).iter(), &self.exceptions.all());
        if let Err(error) = self.nat_bridges(others).await {
            said("its rules are still loaded", landline_types::chain(&error));
        }
    }

    /// All networks but this one.
    pub(super) fn others(&self, network: &NetworkRecord) -> Vec<NetworkRecord> {
        let inventory = self.inventory.borrow();
        inventory.networks.values().filter(|other| other.id != network.id).cloned().collect()
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
