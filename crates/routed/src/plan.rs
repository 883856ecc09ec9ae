//! What the host needs for the containers that it routes for, as a value: a route to each address, and a proxy entry for it on the
//! parent (`ip neigh add proxy`), so that the host answers ARP requests for it there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use landline_kernel::{Address, Link, Neighbour, Route};
use landline_leases::Inventory;
use landline_links::mark::{End, PROTOCOL};
use landline_links::{facts_of, mark_of};
use landline_model::{EndpointRecord, NetworkRecord};
use landline_options::EndpointId;
use landline_types::{IfName, Mac};

/// An address that the host routes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Want {
    /// The container's address.
    pub(crate) address: Ipv4Addr,
    /// The interface to the LAN.
    pub(crate) parent: IfName,
}

/// The addresses of endpoints; an endpoint without one has no entry.
pub(crate) type Wants = BTreeMap<EndpointId, Want>;

/// What an endpoint needs; `None`: it has no address, or its network's containers are not routed.
pub(crate) fn want(record: &EndpointRecord, network: &NetworkRecord) -> Option<Want> {
    let options = &network.options;
    let address = record.addresses().find_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let address = address.filter(|_| facts_of(options.mode).host_routes())?;
    Some(Want { address, parent: options.parent.clone() })
}

/// What all endpoints need.
pub(crate) fn wants(inventory: &Inventory) -> Wants {
    let endpoints = inventory.endpoints.values().map(|present| &present.record);
    let want = |record: &EndpointRecord| want(record, inventory.networks.get(&record.network)?);
    endpoints.filter_map(|record| Some((record.id.clone(), want(record)?))).collect()
}

/// What there is on the host.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) links: Vec<Link>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) routes: Vec<Route>,
    /// Proxy entries only.
    pub(crate) proxies: Vec<Neighbour>,
}

/// An address that the LAN is to learn of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// The parent's index.
    pub(crate) index: u32,
    /// The parent's hardware address.
    pub(crate) mac: Mac,
    /// The container's address.
    pub(crate) address: Ipv4Addr,
}

/// What is to be changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Routes of ours that lead to nothing any more.
    pub(crate) stale_routes: Vec<Route>,
    /// Proxy entries of ours that stand for nothing any more.
    pub(crate) stale_proxies: Vec<Neighbour>,
    /// Routes that are missing; nothing is there that they would replace.
    pub(crate) routes: Vec<Route>,
    /// Routes that take the place of one of ours.
    pub(crate) replaced_routes: Vec<Route>,
    /// Proxy entries that are missing, and what is then announced.
    pub(crate) proxies: Vec<(Neighbour, Option<Announcement>)>,
    /// Who has neither route nor proxy entry, and why.
    pub(crate) obstacles: BTreeMap<EndpointId, Obstacle>,
}

/// What keeps the host from routing to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Another program's route to exactly this address. In its place, ours would take it away, and nothing would put it back.
    Route,
    /// The address is another container's, on another interface to the LAN.
    Endpoint,
}

impl Plan {
    /// What makes the host as it is wanted. An endpoint whose link or parent is not there is left for later.
    pub(crate) fn new(wants: &Wants, host: &Host) -> Self {
        let mut plan = Self::default();
        let (mut kept_routes, mut kept_proxies) = (BTreeSet::new(), BTreeSet::new());
        let holders = holders(wants, host);
        for (endpoint, want) in wants {
            if holders.get(&want.address).is_some_and(|holder| *holder != endpoint) {
                plan.obstacles.insert(endpoint.clone(), Obstacle::Endpoint);
                continue;
            }
            let end = host.links.iter().find(|link| is_end_of(link, endpoint));
            let parent = host.links.iter().find(|link| link.name == want.parent);
            let (Some(end), Some(parent)) = (end.filter(|end| end.up), parent.filter(|link| link.up)) else {
                continue;
            };
            let route = route(want.address, end, parent, &host.addresses);
            let there = || host.routes.iter().filter(|there| is_to(there, &route));
            let ours = |there: &&Route| there.protocol == PROTOCOL;
            if there().any(|there| !ours(&there)) && !there().filter(ours).any(|own| own.oif == route.oif) {
                plan.obstacles.insert(endpoint.clone(), Obstacle::Route);
                continue;
            }
            kept_routes.insert((route.destination, end.index));
            if !there().any(|there| ours(&there)) {
                plan.routes.push(route);
            } else if !there().any(|there| is_same(there, &route)) {
                plan.replaced_routes.push(route);
            }
            kept_proxies.insert((parent.index, IpAddr::V4(want.address)));
            let there =
                |proxy: &&Neighbour| (proxy.index, proxy.address) == (parent.index, IpAddr::V4(want.address));
            // Without a carrier nobody would hear of it, and the kernel may remove the entry. Both are done when it is back.
            if parent.running && !host.proxies.iter().any(|proxy| there(&proxy)) {
                let proxy = Neighbour::proxy(parent.index, want.address.into()).protocol(PROTOCOL);
                let announced = |mac| Announcement { index: parent.index, mac, address: want.address };
                plan.proxies.push((proxy, parent.mac.map(announced)));
            }
        }
        // Also those of endpoints that want nothing any more: a link outlives its endpoint's lease.
        let ends: BTreeSet<u32> =
            host.links.iter().filter(|link| is_end(link)).map(|link| link.index).collect();
        let stale = |route: &&Route| {
            let oif = route.oif.filter(|oif| route.protocol == PROTOCOL && ends.contains(oif));
            oif.is_some_and(|oif| !kept_routes.contains(&(route.destination, oif)))
        };
        plan.stale_routes = host.routes.iter().filter(stale).cloned().collect();
        let stale = |proxy: &&Neighbour| {
            proxy.protocol == PROTOCOL && !kept_proxies.contains(&(proxy.index, proxy.address))
        };
        plan.stale_proxies = host.proxies.iter().filter(stale).cloned().collect();
        plan
    }
}

/// Who has each address, as the host has one route to it: of several that want it the one that is routed to already.
fn holders<'a>(wants: &'a Wants, host: &Host) -> BTreeMap<Ipv4Addr, &'a EndpointId> {
    let mut holders = BTreeMap::new();
    for (endpoint, want) in wants {
        let is_routed = || {
            let end = host.links.iter().find(|link| is_end_of(link, endpoint));
            let destination = IpNet::V4(Ipv4Net::from(want.address));
            let leads = |route: &Route| route.protocol == PROTOCOL && route.destination == destination;
            end.is_some_and(|end| {
                host.routes.iter().any(|route| leads(route) && route.oif == Some(end.index))
            })
        };
        if !holders.contains_key(&want.address) || is_routed() {
            holders.insert(want.address, endpoint);
        }
    }
    holders
}

/// The host's ends of the links of those who want something.
pub(crate) fn ends_of<'a>(wants: &Wants, host: &'a Host) -> impl Iterator<Item = &'a Link> {
    let is_wanted = |link: &&Link| {
        mark_of(link).is_some_and(|mark| mark.end == End::Host && wants.contains_key(&mark.endpoint))
    };
    host.links.iter().filter(is_wanted)
}

fn is_end(link: &Link) -> bool {
    mark_of(link).is_some_and(|mark| mark.end == End::Host)
}

fn is_end_of(link: &Link, endpoint: &EndpointId) -> bool {
    mark_of(link).is_some_and(|mark| mark.endpoint == *endpoint && mark.end == End::Host)
}

/// The route to a container. Packets of the host's own leave with its address on the container's LAN, since the link has none.
fn route(address: Ipv4Addr, end: &Link, parent: &Link, addresses: &[Address]) -> Route {
    let route = Route::on_link(IpNet::V4(Ipv4Net::from(address)), end.index).protocol(PROTOCOL);
    match source(address, parent, addresses) {
        Some(source) => route.source(source.into()),
        None => route,
    }
}

/// The host's address on the parent: the one in the container's subnet, else the first.
fn source(address: Ipv4Addr, parent: &Link, addresses: &[Address]) -> Option<Ipv4Addr> {
    let own = || {
        addresses.iter().filter(|own| own.index == parent.index).filter_map(|own| match own.net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        })
    };
    own().find(|net| net.contains(&address)).or_else(|| own().next()).map(|net| net.addr())
}

fn is_same(there: &Route, wanted: &Route) -> bool {
    let key = |route: &Route| (route.oif, route.protocol, route.source);
    is_to(there, wanted) && key(there) == key(wanted)
}

/// Whether a route is to the same destination, whoever made it.
fn is_to(there: &Route, wanted: &Route) -> bool {
    (there.destination, there.table) == (wanted.destination, wanted.table)
}

#[cfg(test)]
mod tests {
    use landline_kernel::LinkKind;
    use landline_leases::Present;
    use landline_links::fake::link;
    use landline_links::mark::Mark;
    use landline_options::{Mode, NetworkId, NetworkOptions};

    use super::*;

    fn id(n: u8) -> EndpointId {
        format!("{n:064}").parse().unwrap()
    }

    fn address(text: &str, index: u32) -> Address {
        Address::new(index, text.parse().unwrap())
    }

    /// A NIC with an address, and the host's end of the first container's link.
    fn host() -> Host {
        let nic =
            Link { mac: "02:11:22:33:44:55".parse().ok(), up: true, ..link(2, "wlan0", LinkKind::Physical) };
        Host { links: vec![nic, end(1, 7)], addresses: vec![address("192.0.2.1/24", 2)], ..Host::default() }
    }

    fn end(n: u8, index: u32) -> Link {
        let mark = Mark::new(&id(n), End::Host);
        Link {
            alias: Some(mark.to_string()),
            up: true,
            ..link(index, mark.link_name().as_str(), LinkKind::Veth)
        }
    }

    fn wanted(all: &[(u8, &str)]) -> Wants {
        let want =
            |address: &str| Want { address: address.parse().unwrap(), parent: "wlan0".parse().unwrap() };
        all.iter().map(|(n, address)| (id(*n), want(address))).collect()
    }

    /// Carries it out.
    fn apply(host: &mut Host, plan: Plan) {
        host.routes.retain(|route| !plan.stale_routes.contains(route));
        host.proxies.retain(|proxy| !plan.stale_proxies.contains(proxy));
        for route in &plan.replaced_routes {
            host.routes.retain(|other| other.destination != route.destination);
        }
        host.routes.extend(plan.routes.into_iter().chain(plan.replaced_routes));
        host.proxies.extend(plan.proxies.into_iter().map(|(proxy, _)| proxy));
    }

    #[test]
    fn an_address_has_a_route_and_an_answer_and_is_announced_once() {
        let (mut host, wants) = (host(), wanted(&[(1, "192.0.2.50")]));
        let plan = Plan::new(&wants, &host);
        let route = &plan.routes[0];
        assert_eq!((route.destination.to_string().as_str(), route.oif), ("192.0.2.50/32", Some(7)));
        assert_eq!(route.source, "192.0.2.1".parse().ok(), "the host is reached at its own address");
        let (proxy, announced) = &plan.proxies[0];
        assert!(proxy.proxy && proxy.index == 2 && proxy.protocol == PROTOCOL);
        let mac = "02:11:22:33:44:55".parse().unwrap();
        let said = Announcement { index: 2, mac, address: "192.0.2.50".parse().unwrap() };
        assert_eq!(*announced, Some(said));
        apply(&mut host, plan);
        assert_eq!(Plan::new(&wants, &host), Plan::default(), "a second look changes nothing");
        // The kernel forgets proxy entries when the parent goes down.
        host.proxies.clear();
        assert_eq!(Plan::new(&wants, &host).proxies.len(), 1);
    }

    #[test]
    fn what_nobody_has_any_more_is_taken_back_and_what_others_made_stays() {
        let mut host = host();
        let plan = Plan::new(&wanted(&[(1, "192.0.2.50")]), &host);
        apply(&mut host, plan);
        let foreign = Neighbour::proxy(2, "192.0.2.99".parse().unwrap());
        host.proxies.push(foreign.clone());
        // Another address: the server took the first one back.
        let plan = Plan::new(&wanted(&[(1, "192.0.2.51")]), &host);
        assert_eq!((plan.stale_routes.len(), plan.stale_proxies.len()), (1, 1));
        apply(&mut host, plan);
        let routes: Vec<String> = host.routes.iter().map(|route| route.destination.to_string()).collect();
        assert_eq!(routes, ["192.0.2.51/32"]);
        // The container ends, and its link with it.
        host.links.pop();
        host.routes.clear();
        let plan = Plan::new(&Wants::new(), &host);
        apply(&mut host, plan);
        assert_eq!(host.proxies, [foreign]);
    }

    #[test]
    fn a_route_ends_with_the_lease_while_its_link_is_there() {
        let mut host = host();
        let plan = Plan::new(&wanted(&[(1, "192.0.2.50")]), &host);
        apply(&mut host, plan);
        let plan = Plan::new(&Wants::new(), &host);
        assert_eq!((plan.stale_routes.len(), plan.stale_proxies.len()), (1, 1));
        apply(&mut host, plan);
        assert_eq!((host.routes.len(), host.proxies.len()), (0, 0));
    }

    #[test]
    fn routes_of_others_with_our_number_are_none_of_its_business() {
        let mut host = host();
        host.routes.push(Route::on_link("192.0.2.77/32".parse().unwrap(), 9).protocol(PROTOCOL));
        assert_eq!(
            Plan::new(&wanted(&[(1, "192.0.2.50")]), &host).stale_routes,
            [],
            "on a shim of host access"
        );
    }

    #[test]
    fn a_route_of_another_program_to_the_same_address_stays() {
        let (mut host, wants) = (host(), wanted(&[(1, "192.0.2.50"), (2, "192.0.2.51")]));
        host.links.push(end(2, 8));
        let vpn = Route::on_link("192.0.2.50/32".parse().unwrap(), 9);
        host.routes.push(vpn.clone());
        let plan = Plan::new(&wants, &host);
        assert_eq!(plan.obstacles, BTreeMap::from([(id(1), Obstacle::Route)]));
        let routes: Vec<Option<u32>> = plan.routes.iter().map(|route| route.oif).collect();
        assert_eq!((routes, plan.proxies.len()), (vec![Some(8)], 1), "the other container has its own");
        assert_eq!((&plan.replaced_routes[..], &plan.stale_routes[..]), (&[][..], &[][..]));
        apply(&mut host, plan);
        assert!(host.routes.contains(&vpn));
        // Once it is gone, the container is routed to; a later one beside it takes nothing away.
        host.routes.retain(|route| *route != vpn);
        let plan = Plan::new(&wants, &host);
        assert!(plan.obstacles.is_empty() && plan.routes.len() == 1, "{plan:?}");
        apply(&mut host, plan);
        host.routes.push(Route { priority: Some(50), ..vpn });
        assert_eq!(Plan::new(&wants, &host), Plan::default());
    }

    #[test]
    fn an_address_is_one_containers_whoever_else_wants_it() {
        let mut host = host();
        host.links.extend([end(2, 8), Link { up: true, ..link(3, "eth1", LinkKind::Physical) }]);
        let mut wants = wanted(&[(2, "192.0.2.50")]);
        let plan = Plan::new(&wants, &host);
        apply(&mut host, plan);
        let before = (host.routes.clone(), host.proxies.clone());
        // Another network has the same subnet on another LAN.
        let address = "192.0.2.50".parse().unwrap();
        wants.insert(id(1), Want { address, parent: "eth1".parse().unwrap() });
        let plan = Plan::new(&wants, &host);
        assert_eq!(plan.obstacles, BTreeMap::from([(id(1), Obstacle::Endpoint)]));
        apply(&mut host, plan);
        assert_eq!((&host.routes, &host.proxies), (&before.0, &before.1));
        // The one that had it ends.
        wants.remove(&id(2));
        let plan = Plan::new(&wants, &host);
        assert!(plan.obstacles.is_empty());
        apply(&mut host, plan);
        let ends: Vec<Option<u32>> = host.routes.iter().map(|route| route.oif).collect();
        assert_eq!((ends, host.proxies[0].index, host.proxies.len()), (vec![Some(7)], 3, 1));
        assert_eq!(Plan::new(&wants, &host), Plan::default());
    }

    #[test]
    fn a_route_of_ours_is_changed_in_place() {
        let (mut host, wants) = (host(), wanted(&[(1, "192.0.2.50")]));
        let plan = Plan::new(&wants, &host);
        apply(&mut host, plan);
        host.addresses = vec![address("192.0.2.2/24", 2)];
        let plan = Plan::new(&wants, &host);
        assert_eq!((plan.routes.len(), plan.replaced_routes.len()), (0, 1));
        assert_eq!(plan.replaced_routes[0].source, "192.0.2.2".parse().ok());
    }

    #[test]
    fn what_is_not_there_is_left_for_later() {
        let missing = |change: fn(&mut Host)| {
            let mut host = host();
            change(&mut host);
            Plan::new(&wanted(&[(1, "192.0.2.50")]), &host)
        };
        assert_eq!(missing(|host| drop(host.links.remove(0))), Plan::default());
        assert_eq!(missing(|host| host.links[0].up = false), Plan::default());
        assert_eq!(missing(|host| host.links[1].up = false), Plan::default());
        let unknown = missing(|host| host.addresses.clear());
        assert_eq!(unknown.routes[0].source, None, "the kernel chooses");
    }

    #[test]
    fn the_lan_is_answered_and_told_once_the_parent_has_a_carrier() {
        let (mut host, wants) = (host(), wanted(&[(1, "192.0.2.50")]));
        host.links[0].running = false;
        let plan = Plan::new(&wants, &host);
        assert_eq!((plan.routes.len(), plan.proxies.len()), (1, 0), "the host itself reaches it");
        apply(&mut host, plan);
        host.links[0].running = true;
        let plan = Plan::new(&wants, &host);
        assert_eq!((plan.routes.len(), plan.proxies.len()), (0, 1));
        assert!(plan.proxies[0].1.is_some(), "it is announced");
        apply(&mut host, plan);
        // What is left of it without a carrier stays.
        host.links[0].running = false;
        assert_eq!(Plan::new(&wants, &host), Plan::default());
    }

    #[test]
    fn only_endpoints_of_routed_networks_with_an_address_count() {
        let network = |n: u8, mode| {
            let id: NetworkId = format!("{n:064}").parse().unwrap();
            NetworkRecord::new(id, NetworkOptions { mode, ..NetworkOptions::new("wlan0".parse().unwrap()) })
        };
        let endpoint = |n: u8, network: u8, address: serde_json::Value| {
            let record: EndpointRecord = serde_json::from_value(serde_json::json!({
                "id": id(n), "network": format!("{network:064}"), "mac": "02:00:00:00:00:01", "link": "llc0",
                "prefix": "eth", "address": address,
            }))
            .unwrap();
            Present::new(&record)
        };
        let fixed = || serde_json::json!({ "static": { "address": "192.0.2.50/24" } });
        let networks = [network(1, Mode::Routed), network(2, Mode::Macvlan)];
        let endpoints =
            [endpoint(1, 1, fixed()), endpoint(2, 1, serde_json::json!("none")), endpoint(3, 2, fixed())];
        assert_eq!(wants(&Inventory::of(networks, endpoints)), wanted(&[(1, "192.0.2.50")]));
    }
}
