//! Addresses from the LAN's DHCP server: what the client is told to ask for, and what a lease means for the
//! container's addresses and routes.

use std::net::Ipv4Addr;

use landline_dhcp::Random;
use landline_dhcp::v4::{ClientId, Config, ConflictCheck, Fqdn, Lease};
use landline_dhcp::v6::Duid;
use landline_links::{Wanted, routes};
use landline_model::{DhcpRecord, EndpointRecord, drawn_uuid};
use landline_options::{Ipv6Mode, LinkMtu, MtuSource, NetworkOptions};
use landline_types::Mac;

/// The machine's configuration for an endpoint.
pub fn config(options: &NetworkOptions, mac: Mac, dhcp: &DhcpRecord, requested: Option<Ipv4Addr>) -> Config {
    let mut config = Config::new(mac);
    config.client_id = dhcp.client_id.clone().and_then(|bytes| ClientId::new(bytes).ok());
    config.hostname.clone_from(&dhcp.hostname);
    config.fqdn = match &options.fqdn {
        landline_options::Fqdn::Off => None,
        landline_options::Fqdn::Name => Some(Fqdn::default()),
        landline_options::Fqdn::Domain(domain) => Some(Fqdn { domain: Some(domain.to_string()) }),
    };
    config.rapid_commit = options.rapid_commit;
    config.vendor_class.clone_from(&options.vendor_class);
    config.user_class.clone_from(&options.user_class);
    config.requested = requested;
    config.servers.clone_from(&options.dhcp_servers);
    config.denied_servers.clone_from(&options.dhcp_deny_servers);
    config.conflict_check = conflict_check(options);
    config
}

/// The machines' word for how addresses are checked.
pub(crate) fn conflict_check(options: &NetworkOptions) -> ConflictCheck {
    match options.conflict_check {
        landline_options::ConflictCheck::Fast => ConflictCheck::Fast,
        landline_options::ConflictCheck::Wait => ConflictCheck::Wait,
        landline_options::ConflictCheck::Off => ConflictCheck::Off,
    }
}

/// An identifier for a client that shares its hardware address with others (ipvlan): drawn once, it is the only thing
/// a server can tell it by. In the form that is the same for `DHCPv6` (RFC 4361 section 6.1), with a DUID-UUID (RFC 6355).
pub fn drawn_client_id(random: &mut impl Random) -> Vec<u8> {
    /// The interface is the only one of a client that was made for it.
    const IAID: [u8; 4] = [0, 0, 0, 1];
    const RFC4361: u8 = 255;
    [&[RFC4361][..], &IAID, Duid::from_uuid(drawn_uuid(random)).as_bytes()].concat()
}

/// What the sandbox should carry for a lease.
pub fn wanted(lease: &Lease, options: &NetworkOptions, record: &EndpointRecord) -> Wanted {
    let routing = routes::of_lease(lease, options, &record.copied_routes);
    Wanted { address: routes::address(lease), routing, mtu: mtu(lease, options, record.parent_mtu) }
}

/// The MTU that a lease asks for (`mtu=dhcp`): the server's, as far as the parent can carry it; the parent's if the
/// server says none. `None`: it is not for the lease to say.
fn mtu(lease: &Lease, options: &NetworkOptions, parent: Option<u32>) -> Option<u32> {
    /// With less the kernel takes IPv6 away (RFC 8200 section 5).
    const LEAST_WITH_IPV6: u32 = 1280;
    if options.mtu != Some(LinkMtu::From(MtuSource::Dhcp)) {
        return None;
    }
    let Some(mtu) = lease.options.mtu.map(u32::from) else { return parent };
    let mtu = if options.ipv6 == Ipv6Mode::Off { mtu } else { mtu.max(LEAST_WITH_IPV6) };
    Some(parent.map_or(mtu, |most| mtu.min(most)))
}

#[cfg(test)]
mod tests {
    use landline_dhcp::v4::LeaseOptions;

    use super::*;

    struct Ones;

    impl Random for Ones {
        fn next_u32(&mut self) -> u32 {
            u32::MAX
        }
    }

    #[test]
    fn the_servers_mtu_counts_when_asked_for_and_up_to_the_parents() {
        let lease = |mtu: Option<u16>| Lease {
            address: Ipv4Addr::new(192, 0, 2, 9),
            prefix_len: 24,
            server: Ipv4Addr::new(192, 0, 2, 1),
            obtained: landline_dhcp::Instant::from_boot(std::time::Duration::ZERO),
            t1: None,
            t2: None,
            expires: None,
            options: LeaseOptions { mtu, ..LeaseOptions::default() },
        };
        let mut options = NetworkOptions::new("br0".parse().unwrap());
        assert_eq!(mtu(&lease(Some(1400)), &options, Some(1500)), None);
        options.mtu = Some(LinkMtu::From(MtuSource::Dhcp));
        for (server, parent, wanted) in [
            (Some(1400), Some(1500), Some(1400)),
            (Some(9000), Some(1500), Some(1500)),
            (Some(68), Some(1500), Some(68)),
            (None, Some(1500), Some(1500)),
            (Some(1400), None, Some(1400)),
            (None, None, None),
        ] {
            assert_eq!(mtu(&lease(server), &options, parent), wanted, "{server:?} on {parent:?}");
        }
    }

    #[test]
    fn a_drawn_identifier_is_an_iaid_and_a_duid_of_a_random_uuid() {
        let id = drawn_client_id(&mut Ones);
        assert_eq!(id[..7], [255, 0, 0, 0, 1, 0, 4]);
        assert_eq!((id.len(), id[7 + 6], id[7 + 8]), (23, 0x4f, 0xbf));
        assert!(ClientId::new(id).is_ok());
    }
}
