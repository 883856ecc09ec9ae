//! What an endpoint's LAN says about names.

use std::net::IpAddr;

use landline_dhcp::v4::Lease;
use landline_dhcp::v6::State6;

/// The DNS servers and the search domains that both families name: the one place where they meet.
pub fn names_of(lease: Option<&Lease>, ipv6: Option<&State6>) -> (Vec<IpAddr>, Vec<String>) {
    let servers4 = lease.into_iter().flat_map(|lease| &lease.options.dns).map(|&server| server.into());
    let servers6 = ipv6.into_iter().flat_map(|ipv6| &ipv6.dns).map(|dns| dns.address.into());
    let domains4 = lease.into_iter().flat_map(|lease| {
        // Who has the list should search the list (RFC 3397); it mostly has the domain in it.
        let own = lease.options.domain.iter().filter(|_| lease.options.search.is_empty());
        own.chain(&lease.options.search)
    });
    let domains6 = ipv6.into_iter().flat_map(|ipv6| &ipv6.search).map(|search| &search.domain);
    (servers4.chain(servers6).collect(), domains4.chain(domains6).cloned().collect())
}
