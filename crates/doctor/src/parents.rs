//! The parents of networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use landline_kernel::{Link, Route};
use landline_links::{Host, ParentIs, check_vlan, facts_of, find_parent, spanning_tree};
use landline_model::NetworkRecord;
use landline_nat as nat;
use landline_options::LanIp;
use landline_types::IfName;

use super::{Finding, label};

/// What is wrong with them. Blocks.
pub(super) fn look(host: &dyn Host, networks: &[NetworkRecord]) -> Vec<Finding> {
    let links = match host.links() {
        Ok(links) => links,
        Err(error) => {
            let says = format!("the host's interfaces cannot be listed: {}", landline_types::chain(&error));
            return vec![Finding::new("parent", says)];
        }
    };
    let routes = host.routes().unwrap_or_default();
    // Those with one parent and one mode have the same troubles.
    let mut troubles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for network in networks {
        if let Some(trouble) = trouble(network, &links, &routes) {
            troubles.entry(trouble).or_default().push(label(network));
        }
    }
    let finding = |(trouble, mut whose): (String, Vec<String>)| {
        whose.dedup();
        Finding::new("parent", format!("{}: {trouble}", whose.join(", ")))
    };
    troubles.into_iter().map(finding).collect()
}

fn trouble(network: &NetworkRecord, links: &[Link], routes: &[Route]) -> Option<String> {
    let options = &network.options;
    let facts = facts_of(options.mode);
    if facts.moves_parent() {
        // It is in the container.
        return None;
    }
    let checked = find_parent(&options.parent, options.mode, links);
    let parent = match checked.and_then(|parent| check_vlan(options, parent).map(|()| parent)) {
        Ok(parent) => parent,
        Err(error) => return Some(landline_types::chain(&error)),
    };
    match facts.parent {
        // A bridge has no carrier while all of its ports are held back.
        ParentIs::Nic => spanning_tree::cut_off(parent, links).or_else(|| no_carrier(parent)),
        ParentIs::OwnBridge if facts.is_translated() => {
            let name = network.nic.as_ref()?;
            match links.iter().find(|link| link.name == *name) {
                None => Some(gone(name)),
                Some(nic) if !nic.up => Some(format!("{name} is down; bring it up: ip link set {name} up")),
                Some(nic) => spanning_tree::cut_off(nic, links)
                    .or_else(|| no_carrier(nic))
                    .or_else(|| elsewhere(network, name, links, routes)),
            }
        }
        ParentIs::LanBridge if facts.is_lan_bridge() => spanning_tree::trouble(parent, links),
        _ => None,
    }
}

/// Where the containers' LAN address is on one interface and the host's route to that LAN leads through another.
fn elsewhere(network: &NetworkRecord, nic: &IfName, links: &[Link], routes: &[Route]) -> Option<String> {
    let LanIp::Static(address) = network.options.nat.lan_ip else { return None };
    let way = routes
        .iter()
        .filter(|route| route.table == Route::MAIN_TABLE && route.destination.contains(&IpAddr::V4(address)))
        .max_by_key(|route| (route.destination.prefix_len(), std::cmp::Reverse(route.priority)))?;
    let (place, oif) = (nat::place(nic, links), way.oif.filter(|_| !way.multipath)?);
    let out = links.iter().find(|link| link.index == oif).filter(|link| link.name != place)?;
    let out = &out.name;
    Some(format!(
        "the host's route to {address} leads through {out}, not {place}: containers are reached at {address}, but the \
         connections that they open leave through {out}, with the host's address there, if the firewall lets them; create \
         the network with -o parent={out}, or give {place} an address and a route of that LAN"
    ))
}

fn gone(name: &IfName) -> String {
    format!("there is no interface {name}, which leads to the LAN; make it again, or remove the network")
}

fn no_carrier(nic: &Link) -> Option<String> {
    let cut_off =
        || format!("{} has no carrier; check its cable and the port that it is plugged into", nic.name);
    (!nic.lower_up).then(cut_off)
}

#[cfg(test)]
mod tests {
    use landline_kernel::LinkKind;
    use landline_links::fake::link;

    use super::*;
    use crate::tests::network;
    use landline_options::Mode;

    #[test]
    fn a_parent_is_there_up_fit_and_plugged_in() {
        let nic = Link { up: true, lower_up: true, ..link(2, "eth0", LinkKind::Physical) };
        let says = |mode, links: &[Link]| trouble(&network(mode, "eth0"), links, &[]).unwrap_or_default();
        assert_eq!(says(Mode::Macvlan, std::slice::from_ref(&nic)), "");
        assert!(says(Mode::Macvlan, &[]).contains("there is no interface eth0"));
        assert_eq!(says(Mode::Nic, &[]), "", "it is in the container");
        let down = Link { up: false, ..nic.clone() };
        assert!(says(Mode::Macvlan, &[down]).contains("ip link set eth0 up"));
        let unplugged = Link { lower_up: false, ..nic.clone() };
        assert!(says(Mode::Macvlan, &[unplugged]).contains("eth0 has no carrier"));
        let wireless = Link { wireless: true, ..nic.clone() };
        assert!(says(Mode::Macvlan, &[wireless]).contains("Wi-Fi"));
        let bridge = link(3, "br0", LinkKind::Bridge { vlan_filtering: false });
        let port = Link { controller: Some(3), ..nic };
        assert!(says(Mode::Macvlan, &[port, bridge]).contains("-o mode=bridge -o bridge=br0"));
    }

    #[test]
    fn the_hosts_route_to_the_lan_leads_through_the_nic() {
        let links = [link(2, "eth0", LinkKind::Physical), link(3, "eth1", LinkKind::Physical)];
        let on_link = |net: &str, oif| Route::on_link(net.parse().unwrap(), oif);
        let mut network = network(Mode::Nat, "llb0");
        let says = |network: &NetworkRecord, nic: &str, routes: &[Route]| {
            elsewhere(network, &nic.parse().unwrap(), &links, routes).unwrap_or_default()
        };
        let (lan, default) = (on_link("192.0.2.0/24", 2), on_link("0.0.0.0/0", 3));
        assert_eq!(says(&network, "eth1", std::slice::from_ref(&lan)), "", "its addresses are leased");
        network.options.nat.lan_ip = LanIp::Static("192.0.2.117".parse().unwrap());
        let routes = [default.clone(), lan.clone()];
        assert_eq!(says(&network, "eth0", &routes), "");
        assert!(says(&network, "eth1", &routes).contains("leads through eth0, not eth1"));
        assert!(says(&network, "eth0", &[default]).contains("leads through eth1, not eth0"));
        let metric = |oif, priority| Route { priority: Some(priority), ..on_link("192.0.2.0/24", oif) };
        assert_eq!(says(&network, "eth1", &[metric(2, 9), metric(3, 5)]), "", "the lowest metric wins");
        assert_eq!(says(&network, "eth1", &[]), "", "nothing is certain");
    }
}
