//! Who a client is and what it wants.

use std::net::Ipv4Addr;

use landline_types::Mac;

use super::client_id::ClientId;
use crate::taken::Taken;

/// What a client is told before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The link's hardware address: `chaddr`, and the sender of ARP packets.
    pub mac: Mac,
    /// Option 61, in every message. `None`: servers go by the hardware address.
    pub client_id: Option<ClientId>,
    /// Option 12. Sent only if it is a host name (letters, digits, hyphens and dots): servers put it into DNS zones
    /// and files.
    pub hostname: Option<String>,
    /// The name goes as a Client FQDN (option 81) in the place of option 12.
    pub fqdn: Option<Fqdn>,
    /// Option 60, at most 255 octets of it.
    pub vendor_class: Option<String>,
    /// Option 77 with one class (RFC 3004), at most 254 octets of it.
    pub user_class: Option<String>,
    /// The address to ask for when none is remembered (option 50 in DISCOVER); the server may give another.
    pub requested: Option<Ipv4Addr>,
    /// Ask servers to broadcast their answers while there is no address. Needed where a unicast answer would not
    /// arrive, as on ipvlan; harmless elsewhere.
    pub broadcast: bool,
    /// Only servers with these identifiers (option 54) are listened to; empty: any.
    pub servers: Vec<Ipv4Addr>,
    /// Servers with these identifiers are not listened to, whatever [`servers`](Self::servers) says.
    pub denied_servers: Vec<Ipv4Addr>,
    /// Take a lease in two messages from servers that can (RFC 4039).
    pub rapid_commit: bool,
    /// How sure to be that nobody else uses an address before using it.
    pub conflict_check: ConflictCheck,
    /// Other clients on this host have the same hardware address (ipvlan). A server that goes by it alone may hold what
    /// one client declines for the lease of another, so an address that is [`taken`](Self::taken) is not declined.
    pub shares_mac: bool,
    /// Addresses that are declined when a server grants them, without any check on the link.
    pub taken: Taken,
}

/// That the server is asked to put the client's name into DNS (RFC 4702).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fqdn {
    /// Goes behind a host name without a dot. `None`: the server completes it.
    pub domain: Option<String>,
}

/// How sure to be that nobody else uses an address before using it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ConflictCheck {
    /// No ARP at all: conflicts are neither looked for nor noticed.
    Off,
    /// Probes go out while the server is being asked, and a short window (25 ms) without an answer is enough to
    /// begin; a squatter on a local network answers in well under a millisecond. Probing, announcing and defending
    /// go on afterwards.
    #[default]
    Fast,
    /// The times of RFC 5227: 4 to 7 seconds before the address is used.
    Wait,
}

impl Config {
    /// A client of this hardware address: identified by it, answers broadcast, any server, fast conflict check.
    pub fn new(mac: Mac) -> Self {
        Self {
            mac,
            client_id: Some(ClientId::from_mac(mac)),
            hostname: None,
            fqdn: None,
            vendor_class: None,
            user_class: None,
            requested: None,
            broadcast: true,
            servers: Vec::new(),
            denied_servers: Vec::new(),
            rapid_commit: false,
            conflict_check: ConflictCheck::default(),
            shares_mac: false,
            taken: Taken::default(),
        }
    }

    /// Whether this server is listened to.
    pub(super) fn allows(&self, server: Ipv4Addr) -> bool {
        let listed = self.servers.is_empty() || self.servers.contains(&server);
        listed && !self.denied_servers.contains(&server)
    }
}
