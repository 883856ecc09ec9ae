//! Addresses from the LAN's DHCP server: what the client is told to ask for, and what a lease means for the
//! container's addresses and routes.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landline_dhcp::v4::{ClientId, Config, ConflictCheck, Lease};
use landline_spec::NetworkOptions;
use landline_types::Mac;

use super::Routing;
use crate::records::DhcpRecord;
use crate::sandbox::Wanted;

/// The machine's configuration for an endpoint.
pub(crate) fn config(
    options: &NetworkOptions,
    mac: Mac,
    dhcp: &DhcpRecord,
    requested: Option<Ipv4Addr>,
) -> Config {
    let mut config = Config::new(mac);
    config.client_id = dhcp.client_id.clone().and_then(|bytes| ClientId::new(bytes).ok());
    config.hostname.clone_from(&dhcp.hostname);
    config.vendor_class.clone_from(&options.vendor_class);
    config.user_class.clone_from(&options.user_class);
    config.requested = requested;
    config.servers.clone_from(&options.dhcp_servers);
    config.conflict_check = match options.conflict_check {
        landline_spec::ConflictCheck::Fast => ConflictCheck::Fast,
        landline_spec::ConflictCheck::Wait => ConflictCheck::Wait,
        landline_spec::ConflictCheck::Off => ConflictCheck::Off,
    };
    config
}

/// The leased address with its prefix.
pub(crate) fn address(lease: &Lease) -> Ipv4Net {
    Ipv4Net::new(lease.address, lease.prefix_len.min(32)).unwrap_or_else(|_| lease.address.into())
}

/// Gateway and routes of a lease, as the network's options have it.
///
/// Option 121 replaces option 3 (RFC 3442); `gateway` replaces both. `skip_routes` leaves out all but the
/// default route. `copied` are the static routes of the host's bridge.
pub(crate) fn routing(
    lease: &Lease,
    options: &NetworkOptions,
    copied: &[(Ipv4Net, Option<Ipv4Addr>)],
) -> Routing {
    let gateway = options.gateway.or_else(|| lease.options.gateway());
    let mut routes = Vec::new();
    if !options.skip_routes {
        routes.extend(lease.options.routes().map(|route| (route.destination.trunc(), route.via())));
        routes.extend(copied.iter().filter(|(destination, _)| !destination.contains(&lease.address)));
    }
    Routing { gateway, routes }.on(address(lease))
}

/// What the sandbox should carry for a lease.
pub(crate) fn wanted(
    lease: &Lease,
    options: &NetworkOptions,
    copied: &[(Ipv4Net, Option<Ipv4Addr>)],
) -> Wanted {
    let Routing { gateway, routes } = routing(lease, options, copied);
    Wanted { address: address(lease), gateway, routes }
}
