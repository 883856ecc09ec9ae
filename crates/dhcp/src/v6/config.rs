//! Who a client is and what it wants.

use landline_types::Mac;

use super::interface_id::InterfaceId;
use crate::taken::Taken;
use crate::v4::ConflictCheck;
use crate::wire::dhcpv6::Duid;

/// What a client is told before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The link's hardware address.
    pub mac: Mac,
    /// Where addresses come from.
    pub mode: Mode,
    /// Who the client is, in every DHCPv6 message. Must stay the same for an address to stay the same.
    pub duid: Duid,
    /// The number of the client's one identity association. Must stay the same as well.
    pub iaid: [u8; 4],
    /// How the lower halves of link-local and autoconfigured addresses are made.
    pub interface_id: InterfaceId,
    /// Option 39. Sent only if it is a host name (letters, digits, hyphens and dots): servers put it into DNS zones
    /// and files.
    pub hostname: Option<String>,
    /// Option 15 with one class.
    pub user_class: Option<String>,
    /// Take a lease in two messages from servers that can. On, unlike in DHCPv4, because without it every client of a
    /// server with a preference below 255 would wait to see whether there is a better one.
    pub rapid_commit: bool,
    /// How sure to be that nobody else uses an address before using it. `Fast`: two neighbour solicitations and
    /// 25 ms, listening on for two seconds; `Wait`: RFC 4862, one to two seconds; `Off`: not at all.
    pub conflict_check: ConflictCheck,
    /// Addresses that are not used, and declined where a server granted them, without any check on the link.
    pub taken: Taken,
    /// Hear every router advertisement: [`wants_socket`](super::Client::wants_socket) stays true.
    pub listen: bool,
}

/// Where addresses come from. Routers, routes, on-link prefixes and DNS servers come from router advertisements in
/// all of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// As the routers say: autoconfiguration from prefixes with flag A, DHCPv6 with flag M, its parameters with flag
    /// O. Without a router DHCPv6 is tried after a moment.
    #[default]
    Auto,
    /// DHCPv6, whatever the routers say; no autoconfiguration.
    Dhcp,
    /// Autoconfiguration; DHCPv6 only for parameters (flags M and O).
    Slaac,
}

impl Config {
    /// A client of this hardware address: identified by it (DUID-LL, IAID of its last four octets), addresses as
    /// routers say and of EUI-64 form, fast conflict check.
    pub fn new(mac: Mac) -> Self {
        let [.., a, b, c, d] = mac.octets();
        Self {
            mac,
            mode: Mode::default(),
            duid: Duid::from_mac(mac),
            iaid: [a, b, c, d],
            interface_id: InterfaceId::Eui64,
            hostname: None,
            user_class: None,
            rapid_commit: true,
            conflict_check: ConflictCheck::default(),
            taken: Taken::default(),
            listen: false,
        }
    }
}
