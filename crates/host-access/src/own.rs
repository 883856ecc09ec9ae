//! The engine's own networks, as host access sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;
use landline_leases::Inventory;
use landline_links::{Shim, facts_of, macvlan_word};
use landline_model::{AddressRecord, EndpointRecord, LeaseRecord, NetworkRecord};
use landline_options::NetworkId;

use super::seen::{Member, SeenNetwork, Wire};

/// One of the engine's networks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) network: SeenNetwork,
    /// Whether host access is among its options.
    pub(super) wanted: bool,
    /// How often a link was set up in the sandbox of one of its containers.
    arrivals: u64,
}

/// All networks with their endpoints.
pub(super) fn own_networks(inventory: &Inventory) -> BTreeMap<NetworkId, Own> {
    let mut networks: BTreeMap<NetworkId, Own> =
        inventory.networks.values().map(|network| (network.id.clone(), own(network))).collect();
    for present in inventory.endpoints.values() {
        if let Some(own) = networks.get_mut(&present.record.network) {
            own.network.members.push(member(&present.record));
            own.arrivals += present.set_up;
        }
    }
    networks
}

fn own(network: &NetworkRecord) -> Own {
    let options = &network.options;
    let wire = match facts_of(options.mode).shim {
        Some(Shim::Macvlan) => Wire::macvlan(macvlan_word(options.macvlan_mode)),
        Some(Shim::Ipvlan) => Wire::ipvlan("l2", ""),
        None => Wire::other(options.mode.as_str()),
    };
    Own {
        network: SeenNetwork {
            name: landline_engine::network_name(network),
            driver: "landline".into(),
            wire,
            parent: Some(options.parent.clone()),
            subnets: Vec::new(),
            members: Vec::new(),
        },
        wanted: options.host_access,
        arrivals: 0,
    }
}

fn member(record: &EndpointRecord) -> Member {
    let address = match &record.address {
        AddressRecord::None => None,
        AddressRecord::Static { address } => Some(address.addr()),
        AddressRecord::Dhcp(dhcp) => dhcp.lease.as_ref().map(LeaseRecord::net).map(|net| net.addr()),
    };
    let v6: BTreeSet<Ipv6Addr> =
        record.ipv6.iter().flat_map(|v6| v6.told.iter().chain(&v6.applied)).map(Ipv6Net::addr).collect();
    let v6 = v6.into_iter().filter(|address| !address.is_unicast_link_local());
    Member {
        endpoint: record.id.clone(),
        container: record.container.as_ref().map(|container| container.name.clone()),
        mac: Some(record.mac),
        addresses: address.map(IpAddr::from).into_iter().chain(v6.map(IpAddr::from)).collect(),
        sandbox: record.sandbox.clone(),
    }
}
