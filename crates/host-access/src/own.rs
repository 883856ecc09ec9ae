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

#[cfg(test)]
mod tests {
    use landline_leases::Present;
    use landline_options::{Mode, NetworkOptions};

    use super::*;

    fn network_id(n: u8) -> NetworkId {
        format!("{n:064}").parse().unwrap()
    }

    fn network(n: u8, mode: Mode, host_access: bool) -> NetworkRecord {
        let options = NetworkOptions { mode, host_access, ..NetworkOptions::new("eth0".parse().unwrap()) };
        NetworkRecord { name: Some(format!("lan{n}")), ..NetworkRecord::new(network_id(n), options) }
    }

    /// An endpoint on a network, with this address.
    fn record(n: u8, network: u8, address: &serde_json::Value) -> EndpointRecord {
        serde_json::from_value(serde_json::json!({
            "id": format!("{n:064}"), "network": network_id(network), "mac": "02:00:00:00:00:01",
            "link": "llc0", "prefix": "eth", "address": address, "sandbox": "/sandbox/1",
        }))
        .unwrap()
    }

    fn inventory(networks: Vec<NetworkRecord>, endpoints: &[EndpointRecord]) -> Inventory {
        Inventory::of(networks, endpoints.iter().map(Present::new))
    }

    #[test]
    fn networks_are_seen_with_their_parents_and_what_they_are_wanted_for() {
        let modes = [(1, Mode::Macvlan, true), (2, Mode::Ipvlan, false), (3, Mode::Bridge, true)];
        let networks = modes.map(|(n, mode, wanted)| network(n, mode, wanted));
        let seen = own_networks(&inventory(networks.into(), &[]));
        let wires: Vec<(&str, bool, &Wire)> =
            seen.values().map(|own| (own.network.name.as_str(), own.wanted, &own.network.wire)).collect();
        assert_eq!(wires[..2], [("lan1", true, &Wire::Macvlan), ("lan2", false, &Wire::Ipvlan)]);
        assert!(matches!(wires[2], ("lan3", true, Wire::Unsuitable(_))), "{wires:?}");
        assert!(
            seen.values().all(|own| own.network.parent.as_ref().is_some_and(|name| name.as_str() == "eth0"))
        );
    }

    #[test]
    fn containers_are_seen_on_their_network_with_all_their_addresses() {
        let fixed = record(1, 1, &serde_json::json!({ "static": { "address": "198.51.100.65/24" } }));
        let unleased = record(2, 1, &serde_json::json!({ "dhcp": {} }));
        let elsewhere = record(3, 9, &serde_json::json!("none"));
        let networks = vec![network(1, Mode::Macvlan, true), network(2, Mode::Macvlan, true)];
        let seen = own_networks(&inventory(networks, &[fixed.clone(), unleased, elsewhere]));
        let members: Vec<(String, usize)> = seen[&network_id(1)]
            .network
            .members
            .iter()
            .map(|member| (member.endpoint.to_string(), member.addresses.len()))
            .collect();
        assert_eq!(members, [(format!("{:064}", 1), 1), (format!("{:064}", 2), 0)]);
        let member = &seen[&network_id(1)].network.members[0];
        assert_eq!(member.addresses, ["198.51.100.65".parse::<IpAddr>().unwrap()]);
        assert_eq!((member.mac, member.sandbox.clone()), (Some(fixed.mac), fixed.sandbox));
        assert!(seen[&network_id(2)].network.members.is_empty());
    }

    #[test]
    fn ipv6_addresses_count_once_and_link_local_ones_do_not() {
        let draw = landline_model::Ipv6Identity::draw(
            "02:00:00:00:00:01".parse().unwrap(),
            false,
            None,
            &mut landline_leases::OsRandom,
        );
        let mut record = record(1, 1, &serde_json::json!("none"));
        record.ipv6 = serde_json::from_value(serde_json::json!({
            "identity": draw, "told": "2001:db8::65/64",
            "applied": ["2001:db8::65/64", "fe80::65/64", "2001:db8:1::65/64"],
        }))
        .unwrap();
        let seen = own_networks(&inventory(vec![network(1, Mode::Macvlan, true)], &[record]));
        let addresses: Vec<String> =
            seen[&network_id(1)].network.members[0].addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["2001:db8::65", "2001:db8:1::65"]);
    }

    #[test]
    fn a_link_that_was_set_up_makes_a_difference_and_other_news_do_not() {
        let record = record(1, 1, &serde_json::json!({ "static": { "address": "198.51.100.65/24" } }));
        let mut all = inventory(vec![network(1, Mode::Macvlan, true)], &[record]);
        let before = own_networks(&all);
        let mut change = |change: fn(&mut Present)| {
            all.endpoints.values_mut().for_each(change);
            own_networks(&all) != before
        };
        assert!(!change(|present| (present.names, present.lost, present.remade) = (1, 1, 1)));
        assert!(change(|present| present.set_up += 1), "it can be told now");
    }
}
