//! What a lease from the LAN's DHCP server means for a container's address and routes.

use ipnet::Ipv4Net;
use landline_dhcp::v4::Lease;
use landline_options::NetworkOptions;

use super::{Offer, Route4, Routing, plan};

/// The leased address with its prefix.
pub fn address(lease: &Lease) -> Ipv4Net {
    Ipv4Net::new(lease.address, lease.prefix_len.min(32)).unwrap_or_else(|_| lease.address.into())
}

/// Gateway and routes of a lease, as the network's options have it.
///
/// Option 121 replaces option 3 (RFC 3442); `gateway` replaces both. `skip_routes` leaves out all but the
/// default route. `copied` are the static routes of the host's bridge.
pub fn of_lease(lease: &Lease, options: &NetworkOptions, copied: &[Route4]) -> Routing {
    let mut routes = Vec::new();
    if !options.skip_routes {
        routes.extend(lease.options.routes().map(|route| (route.destination, route.via())));
        routes.extend(copied.iter().filter(|(destination, _)| !destination.contains(&lease.address)));
    }
    let defaults = lease.options.default_hops().collect();
    plan(address(lease), &Offer { gateway: options.gateway, defaults, routes })
}
