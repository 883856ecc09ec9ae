//! The engine's own networks, as host access sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;
use landline_spec::{MacvlanMode, Mode, NetworkId};

use super::seen::{Member, SeenNetwork, Wire};
use crate::engine::Engine;
use crate::records::{AddressRecord, EndpointRecord, LeaseRecord, NetworkRecord};

/// One of the engine's networks.
pub(super) struct Own {
    pub(super) network: SeenNetwork,
    /// Whether host access is among its options.
    pub(super) wanted: bool,
}

impl Engine {
    /// All networks with their endpoints.
    pub(super) async fn access_networks(&self) -> BTreeMap<NetworkId, Own> {
        let mut networks: BTreeMap<NetworkId, Own> =
            self.networks().values().map(|network| (network.id.clone(), own(network))).collect();
        for endpoint in self.endpoints() {
            let record = endpoint.cell.read().await;
            if let Some(own) = networks.get_mut(&record.network) {
                own.network.members.push(member(record));
            }
        }
        networks
    }
}

fn own(network: &NetworkRecord) -> Own {
    let options = &network.options;
    let wire = match options.mode {
        Mode::Macvlan => Wire::macvlan(match options.macvlan_mode {
            MacvlanMode::Bridge => "bridge",
            MacvlanMode::Private => "private",
            MacvlanMode::Vepa => "vepa",
            MacvlanMode::Passthru => "passthru",
        }),
        Mode::Ipvlan => Wire::ipvlan("l2", ""),
        mode @ (Mode::Bridge | Mode::Ovs | Mode::Vde | Mode::Nat | Mode::Nic) => {
            Wire::other(&mode.to_string())
        }
    };
    Own {
        network: SeenNetwork {
            name: crate::endpoints::network_name(network),
            driver: "landline".into(),
            wire,
            parent: Some(options.parent.clone()),
            subnets: Vec::new(),
            members: Vec::new(),
        },
        wanted: options.host_access,
    }
}

fn member(record: EndpointRecord) -> Member {
    let address = match &record.address {
        AddressRecord::None => None,
        AddressRecord::Static { address } => Some(address.addr()),
        AddressRecord::Dhcp(dhcp) => dhcp.lease.as_ref().map(LeaseRecord::net).map(|net| net.addr()),
    };
    let v6: BTreeSet<Ipv6Addr> =
        record.ipv6.iter().flat_map(|v6| v6.told.iter().chain(&v6.applied)).map(Ipv6Net::addr).collect();
    let v6 = v6.into_iter().filter(|address| !address.is_unicast_link_local());
    Member {
        endpoint: record.id,
        container: record.container.map(|container| container.name),
        mac: Some(record.mac),
        addresses: address.map(IpAddr::from).into_iter().chain(v6.map(IpAddr::from)).collect(),
        sandbox: record.sandbox,
    }
}
