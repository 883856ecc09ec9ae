//! Where addresses come from: one file per kind.

pub(crate) mod dhcp;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// What Docker is told about an endpoint's place in the network when it joins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Routing {
    /// The next hop of the default route.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// Other routes: destination and next hop (none: directly on the link).
    pub(crate) routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
}

impl Routing {
    /// Adds what makes an off-subnet gateway reachable, and drops what would clash: duplicates, default routes,
    /// and the connected network itself (the kernel adds that).
    pub(crate) fn on(mut self, address: Ipv4Net) -> Self {
        if let Some(gateway) = self.gateway
            && !address.contains(&gateway)
        {
            self.routes.insert(0, (Ipv4Net::from(gateway), None));
        }
        let mut seen = vec![address.trunc()];
        self.routes.retain(|(destination, _)| {
            let fresh = destination.prefix_len() != 0 && !seen.contains(destination);
            seen.push(*destination);
            fresh
        });
        self
    }
}
