//! The part of a container's routes that Docker sets.
//!
//! Docker sets what it is told before the container's first process runs, but fails the start with the first route that it
//! cannot set. Of the engines from 20.10 on libnetwork looks a next hop up in the container's routes
//! (`osl/route_linux.go`): a static route goes out where that leads, and a gateway needs an answer without a next hop of its
//! own. A destination that another network of the container has a route to is refused ("file exists"). So Docker gets what
//! is certain, and Landline sets the rest once the link has arrived.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::plan::kernels_network;
use super::{NextHop, Route4, Routing};

/// The gateway and the routes that Docker can set with this address. `taken`: what the container's other networks have
/// routes to. A default route without a router is not among them: engines know none.
pub fn for_docker(address: Ipv4Net, routing: &Routing, taken: &[Ipv4Net]) -> (Option<Ipv4Addr>, Vec<Route4>) {
    let free = |destination: &Ipv4Net| !taken.contains(destination);
    let on_link: Vec<Ipv4Net> = routing
        .routes
        .iter()
        .filter(|(destination, hop)| hop.is_none() && free(destination))
        .map(|(destination, _)| *destination)
        .collect();
    let is_near =
        |hop: &Ipv4Addr| kernels_network(address).iter().chain(&on_link).any(|net| net.contains(hop));
    let hops =
        || routing.routes.iter().filter_map(|(_, hop)| *hop).chain(routing.default.and_then(NextHop::router));
    let is_easy = |(destination, hop): &&Route4| match hop {
        None => free(destination),
        // Where a route leads to a next hop through another, looking that up has another result.
        Some(hop) => free(destination) && is_near(hop) && !hops().any(|hop| destination.contains(&hop)),
    };
    let is_hidden =
        |gateway: &Ipv4Addr| routing.routes.iter().any(|(to, hop)| hop.is_some() && to.contains(gateway));
    let is_direct = |gateway: &Ipv4Addr| on_link.contains(&Ipv4Net::from(*gateway)) || !is_hidden(gateway);
    let gateway = routing.default.and_then(NextHop::router).filter(|hop| is_near(hop) && is_direct(hop));
    (gateway, routing.routes.iter().filter(is_easy).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn told(address: &str, default: Option<&str>, routes: &[(&str, Option<&str>)], taken: &[&str]) -> String {
        let hop = |hop: &str| hop.parse::<Ipv4Addr>().unwrap();
        let routing = Routing {
            default: default.map(|gateway| Some(hop(gateway)).filter(|hop| !hop.is_unspecified()).into()),
            routes: routes.iter().map(|(to, by)| (net(to), by.map(hop))).collect(),
            dropped: Vec::new(),
        };
        let taken: Vec<_> = taken.iter().map(|to| net(to)).collect();
        let (gateway, routes) = for_docker(net(address), &routing, &taken);
        let gateway = gateway.map_or_else(|| "none".to_owned(), |gateway| gateway.to_string());
        routes.iter().fold(gateway, |text, (to, _)| format!("{text} {to}"))
    }

    #[test]
    fn docker_gets_what_it_can_set() {
        const OWN: &str = "192.0.2.10/24";
        let by = Some("192.0.2.1");
        assert_eq!(told(OWN, by, &[("10.0.0.0/8", by)], &[]), "192.0.2.1 10.0.0.0/8");
        assert_eq!(told(OWN, by, &[("10.0.0.0/8", by)], &["10.0.0.0/8"]), "192.0.2.1");
        // The lookup of the router would end at the router, unless something says that it is on the link.
        assert_eq!(told(OWN, by, &[("192.0.2.0/28", by)], &[]), "none");
        let both = [("192.0.2.1/32", None), ("192.0.2.0/28", by)];
        assert_eq!(told(OWN, by, &both, &[]), "192.0.2.1 192.0.2.1/32");
        // No default route that it knows.
        assert_eq!(told(OWN, Some("0.0.0.0"), &[("10.0.0.0/8", by)], &[]), "none 10.0.0.0/8");
        assert_eq!(told(OWN, None, &[("10.0.0.0/8", None)], &[]), "none 10.0.0.0/8");
        // A router outside the network, with a route of its own.
        let far = Some("198.51.100.1");
        assert_eq!(told(OWN, far, &[("198.51.100.1/32", None)], &[]), "198.51.100.1 198.51.100.1/32");
        assert_eq!(told(OWN, far, &[("198.51.100.1/32", None)], &["198.51.100.1/32"]), "none");
        assert_eq!(told("192.0.2.10/32", by, &[("192.0.2.1/32", None)], &[]), "192.0.2.1 192.0.2.1/32");
        assert_eq!(told("192.0.2.10/32", by, &[], &[]), "none");
    }
}
