//! From what is offered to what a kernel takes whole.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landline_dhcp::v4::is_host;
use landline_model::{DroppedRoute, WhyDropped};

use super::{NextHop, Offer, Route4, Routing};

const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

/// The routes of a link with this address, of all that is offered for it.
///
/// The kernel takes a next hop only if an on-link route leads to it (`fib_check_nh()` looks for routes with a scope of
/// link or narrower). So on-link routes come first, and a next hop that is itself reached through a router is replaced by
/// that router. A default route's next hop that is in no known network is taken to be on the link, as with addresses of a
/// network of one (/32): servers that give those mean it.
pub fn plan(address: Ipv4Net, offer: &Offer) -> Routing {
    let mut dropped = Vec::new();
    let default = default_hop(address, offer, &mut dropped);
    let mut wanted = sensible(address, &offer.routes, &mut dropped);

    let own = kernels_network(address);
    if own.is_none() && address.prefix_len() < 32 {
        wanted.insert(0, (address.trunc(), None));
    }
    let mut links = own.into_iter().collect::<Vec<_>>();
    links.extend(wanted.iter().filter(|(_, hop)| hop.is_none()).map(|(destination, _)| *destination));
    let default = default.map(|hop| {
        let NextHop::Router(router) = hop else { return hop };
        let near = resolve(router, None, &wanted, &links);
        let router = near.unwrap_or(router);
        // Docker looks the router up and wants to find it on the link, and a route through another router would hide that.
        let hidden = wanted.iter().any(|(to, hop)| hop.is_some() && to.contains(&router));
        if near.is_none() || hidden {
            let itself = Ipv4Net::from(router);
            let others = wanted.extract_if(.., |(to, _)| *to == itself).filter(|(_, hop)| hop.is_some());
            dropped.extend(others.map(|(to, hop)| DroppedRoute::new(to, hop, WhyDropped::Duplicate)));
            wanted.insert(0, (itself, None));
            links.push(itself);
        }
        NextHop::Router(router)
    });

    let mut routes: Vec<Route4> = wanted.iter().filter(|(_, hop)| hop.is_none()).copied().collect();
    for (at, &(destination, hop)) in wanted.iter().enumerate() {
        let Some(hop) = hop else { continue };
        if let Some(hop) = resolve(hop, Some(at), &wanted, &links) {
            routes.push((destination, Some(hop)));
            continue;
        }
        let itself = destination.contains(&hop);
        let why = if itself { WhyDropped::ThroughItself } else { WhyDropped::Unreachable };
        dropped.push(DroppedRoute::new(destination, Some(hop), why));
    }
    Routing { default, routes, dropped }
}

/// The network to which the kernel sets a route because of the address (`fib_add_ifaddr()`): none with a network of one, nor
/// where a short prefix makes the network begin with zero.
pub(super) fn kernels_network(address: Ipv4Net) -> Option<Ipv4Net> {
    let network = address.trunc();
    (network.prefix_len() < 32 && network.addr().octets()[0] != 0).then_some(network)
}

/// The first next hop that can be used; the link itself if a server means that and names no better one.
fn default_hop(address: Ipv4Net, offer: &Offer, dropped: &mut Vec<DroppedRoute>) -> Option<NextHop> {
    // Whoever has the address of the network's gateway goes out some other way.
    let chosen = offer.gateway.filter(|gateway| *gateway != address.addr());
    let among_routes = offer.routes.iter().filter(|(to, _)| to.prefix_len() == 0).map(|(_, hop)| *hop);
    let mut on_link = false;
    for hop in chosen.map(Some).into_iter().chain(offer.defaults.iter().copied()).chain(among_routes) {
        match hop.filter(|hop| !hop.is_unspecified() && *hop != address.addr()) {
            None => on_link = true,
            Some(hop) if is_router(address, hop) => return Some(NextHop::Router(hop)),
            Some(hop) => {
                dropped.push(DroppedRoute::new(Ipv4Net::default(), Some(hop), WhyDropped::NotAHost));
            }
        }
    }
    on_link.then_some(NextHop::Link)
}

/// Whether another host can have this address, as seen from this one.
fn is_router(address: Ipv4Net, hop: Ipv4Addr) -> bool {
    is_host(hop) && !is_special(address, hop)
}

/// Whether this is the address of the whole network, or of everybody in it.
fn is_special(address: Ipv4Net, other: Ipv4Addr) -> bool {
    // Networks of one or two addresses have neither (RFC 3021).
    address.prefix_len() < 31 && (other == address.network() || other == address.broadcast())
}

/// What is left once each route has been looked at by itself, default routes aside.
fn sensible(address: Ipv4Net, offered: &[Route4], dropped: &mut Vec<DroppedRoute>) -> Vec<Route4> {
    let mut wanted: Vec<Route4> = Vec::new();
    for &(destination, hop) in offered.iter().filter(|(to, _)| to.prefix_len() != 0) {
        let destination = destination.trunc();
        let hop = hop.filter(|hop| !hop.is_unspecified() && *hop != address.addr());
        let own = address.trunc() == destination && address.prefix_len() < 32;
        if own && hop.is_none() || wanted.contains(&(destination, hop)) {
            // It is there already.
            continue;
        }
        let to_one = (destination.prefix_len() == 32).then_some(destination.addr());
        let why = if own {
            WhyDropped::OwnNetwork
        } else if to_one == Some(address.addr()) {
            WhyDropped::OwnAddress
        } else if LOOPBACK.contains(&destination) || to_one.is_some_and(|to| is_special(address, to)) {
            WhyDropped::NotADestination
        } else if hop.is_some_and(|hop| !is_router(address, hop)) {
            WhyDropped::NotAHost
        } else if wanted.iter().any(|(known, _)| *known == destination) {
            WhyDropped::Duplicate
        } else {
            wanted.push((destination, hop));
            continue;
        };
        dropped.push(DroppedRoute::new(destination, hop, why));
    }
    wanted
}

/// Over how many routes a next hop may be reached. Each is looked for among all: servers decide how many there are.
const LONGEST_WAY: usize = 16;

/// The router on the link by which this next hop is reached: itself, or the next hop on the way to it. `but` is the route
/// that is being looked at, which cannot lead to its own next hop. `None` as well if the way is longer than any real one.
fn resolve(hop: Ipv4Addr, but: Option<usize>, wanted: &[Route4], links: &[Ipv4Net]) -> Option<Ipv4Addr> {
    let mut used: Vec<usize> = but.into_iter().collect();
    let mut hop = hop;
    while !links.iter().any(|link| link.contains(&hop)) {
        if used.len() > LONGEST_WAY {
            return None;
        }
        let ways = wanted.iter().enumerate().filter(|(at, (to, _))| !used.contains(at) && to.contains(&hop));
        let (at, (_, next)) = ways.max_by_key(|(_, (to, _))| to.prefix_len())?;
        used.push(at);
        hop = (*next)?;
    }
    Some(hop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn route((to, by): &(&str, &str)) -> Route4 {
        (net(to), Some(ip(by)))
    }

    /// What becomes of the routers and routes: default, routes, what is left out.
    fn planned(
        address: &str,
        routers: &[&str],
        routes: &[(&str, &str)],
    ) -> (String, Vec<String>, Vec<String>) {
        let offer = Offer {
            gateway: None,
            defaults: routers.iter().map(|router| Some(ip(router))).collect(),
            routes: routes.iter().map(route).collect(),
        };
        shown(&plan(net(address), &offer))
    }

    #[test]
    fn a_long_way_is_followed_and_an_endless_one_is_not() {
        // Each over the next, the last over the router on the link.
        let chain = |length: u8| {
            let hop = |n: u8| if n == length { "192.0.2.1".to_owned() } else { format!("{}.0.0.1", 19 + n) };
            let routes = (0..length).map(|n| (net(&format!("{}.0.0.0/8", 19 + n)), Some(ip(&hop(n + 1)))));
            let offer = Offer { gateway: None, defaults: Vec::new(), routes: routes.collect() };
            plan(net("192.0.2.10/24"), &offer)
        };
        assert_eq!(chain(16).dropped, []);
        let long = chain(100);
        assert_eq!(long.routes.len() + long.dropped.len(), 100);
        assert!((16..20).contains(&long.routes.len()), "{}", long.routes.len());
    }

    fn shown(routing: &Routing) -> (String, Vec<String>, Vec<String>) {
        let hop = |hop: NextHop| hop.router().map_or_else(|| "link".to_owned(), |hop| hop.to_string());
        let routes = routing.routes.iter().map(|(to, by)| format!("{to} {}", hop((*by).into()))).collect();
        let dropped = routing.dropped.iter().map(|d| format!("{} {:?}", d.destination, d.why)).collect();
        (routing.default.map_or_else(String::new, hop), routes, dropped)
    }

    const OWN: &str = "192.0.2.10/24";

    #[test]
    fn the_default_route() {
        let default = |address, routers: &[&str]| planned(address, routers, &[]);
        for (routers, wanted) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["192.0.2.10"], "link"),
            (&["192.0.2.10", "192.0.2.1"], "192.0.2.1"),
            (&["0.0.0.0"], "link"),
            (&[], ""),
            (&["192.0.2.255"], ""),
            (&["192.0.2.0", "127.0.0.1", "224.0.0.1", "192.0.2.3"], "192.0.2.3"),
        ] {
            let (hop, routes, _) = default(OWN, routers);
            assert_eq!((hop.as_str(), routes.len()), (wanted, 0), "{routers:?}");
        }
        assert_eq!(default(OWN, &["192.0.2.255"]).2, ["0.0.0.0/0 NotAHost"]);
        // In no network of the link: it is taken to be on it.
        for (address, router) in [("192.0.2.10/32", "192.0.2.1"), (OWN, "198.51.100.1")] {
            let (hop, routes, dropped) = default(address, &[router]);
            assert_eq!((hop.as_str(), routes, dropped.len()), (router, vec![format!("{router}/32 link")], 0));
        }
        assert_eq!(default("192.0.2.10/1", &["192.0.2.1"]).0, "192.0.2.1");
        // To this one the kernel sets no route by itself.
        let (hop, routes, dropped) = default("10.0.0.10/1", &["10.0.0.1"]);
        assert_eq!((hop.as_str(), routes, dropped.len()), ("10.0.0.1", vec!["0.0.0.0/1 link".into()], 0));
    }

    #[test]
    fn the_administrators_gateway_goes_first_if_it_can_be_one() {
        let with = |gateway: &str| {
            let defaults = vec![Some(ip("192.0.2.1"))];
            shown(&plan(net(OWN), &Offer { gateway: Some(ip(gateway)), defaults, routes: Vec::new() }))
        };
        assert_eq!(with("192.0.2.9").0, "192.0.2.9");
        assert_eq!(with("192.0.2.255"), ("192.0.2.1".into(), vec![], vec!["0.0.0.0/0 NotAHost".into()]));
        assert_eq!(with("192.0.2.10"), ("192.0.2.1".into(), vec![], vec![]), "its own: it is the gateway");
    }

    #[test]
    fn next_hops() {
        let routes = |routes: &[(&str, &str)]| {
            let (_, routes, dropped) = planned(OWN, &[], routes);
            (routes.join(", "), dropped.join(", "))
        };
        for (offered, wanted, dropped) in [
            (&[("203.0.113.0/24", "192.0.2.2")][..], "203.0.113.0/24 192.0.2.2", ""),
            (&[("203.0.113.0/24", "192.0.2.10")], "203.0.113.0/24 link", ""),
            (&[("203.0.113.0/24", "0.0.0.0")], "203.0.113.0/24 link", ""),
            (&[("203.0.113.0/24", "198.51.100.1")], "", "203.0.113.0/24 Unreachable"),
            (&[("203.0.113.0/24", "192.0.2.255")], "", "203.0.113.0/24 NotAHost"),
            (&[("10.1.0.0/16", "10.1.1.1")], "", "10.1.0.0/16 ThroughItself"),
            (&[("192.0.2.0/28", "192.0.2.1")], "192.0.2.0/28 192.0.2.1", ""),
            (&[("127.0.0.11/32", "192.0.2.1")], "", "127.0.0.11/32 NotADestination"),
            (&[("192.0.2.255/32", "0.0.0.0")], "", "192.0.2.255/32 NotADestination"),
            (&[("192.0.2.10/32", "192.0.2.1")], "", "192.0.2.10/32 OwnAddress"),
            (&[("192.0.2.0/24", "192.0.2.1")], "", "192.0.2.0/24 OwnNetwork"),
            (&[("192.0.2.0/24", "0.0.0.0")], "", ""),
            (
                &[("10.0.0.0/8", "192.0.2.1"), ("10.0.0.0/8", "192.0.2.2"), ("10.0.0.0/8", "192.0.2.1")],
                "10.0.0.0/8 192.0.2.1",
                "10.0.0.0/8 Duplicate",
            ),
            // On-link routes first, whatever the server's order.
            (
                &[("203.0.113.0/24", "198.51.100.1"), ("198.51.100.0/24", "0.0.0.0")],
                "198.51.100.0/24 link, 203.0.113.0/24 198.51.100.1",
                "",
            ),
            // A next hop behind a next hop behind a router.
            (
                &[("10.0.0.0/8", "10.1.1.1"), ("10.1.1.1/32", "10.2.2.2"), ("10.2.2.2/32", "192.0.2.1")],
                "10.0.0.0/8 192.0.2.1, 10.1.1.1/32 192.0.2.1, 10.2.2.2/32 192.0.2.1",
                "",
            ),
            // In a circle.
            (
                &[("10.1.0.0/16", "10.2.0.1"), ("10.2.0.0/16", "10.1.0.1")],
                "",
                "10.1.0.0/16 Unreachable, 10.2.0.0/16 Unreachable",
            ),
        ] {
            assert_eq!(routes(offered), (wanted.to_owned(), dropped.to_owned()), "{offered:?}");
        }
    }

    #[test]
    fn default_routes_among_the_others() {
        let (hop, routes, dropped) =
            planned(OWN, &[], &[("0.0.0.0/0", "10.1.1.1"), ("10.1.1.1/32", "192.0.2.1")]);
        assert_eq!(
            (hop.as_str(), routes, dropped.len()),
            ("192.0.2.1", vec!["10.1.1.1/32 192.0.2.1".into()], 0)
        );
        assert_eq!(planned(OWN, &[], &[("0.0.0.0/0", "0.0.0.0")]).0, "link");
        // A router that is on the link makes what is behind it reachable.
        let (hop, routes, dropped) = planned(
            "192.0.2.10/32",
            &["192.0.2.1"],
            &[("203.0.113.0/24", "192.0.2.1"), ("192.0.2.1/32", "10.9.9.9")],
        );
        assert_eq!(hop, "192.0.2.1");
        assert_eq!(routes, ["192.0.2.1/32 link", "203.0.113.0/24 192.0.2.1"]);
        assert_eq!(dropped, ["192.0.2.1/32 Duplicate"]);
        // One through itself would hide that it is on the link.
        let (_, routes, dropped) =
            planned(OWN, &["192.0.2.1"], &[("192.0.2.1/32", "192.0.2.2"), ("192.0.2.0/28", "192.0.2.1")]);
        assert_eq!(routes, ["192.0.2.1/32 link", "192.0.2.0/28 192.0.2.1"]);
        assert_eq!(dropped, ["192.0.2.1/32 Duplicate"]);
    }
}
