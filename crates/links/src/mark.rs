//! How Landline marks what it makes, so that only its own objects are ever changed or removed.
//!
//! A link carries its owner in `ifalias` (ip-link(8)), which survives a move to another namespace; its name
//! only has to be unique and recognisable to people. Routes and addresses carry a protocol number.

use std::fmt;

use landline_options::{EndpointId, Mode, NetworkId};
use landline_types::{IfName, Mac};

use crate::facts_of;

/// `rtm_protocol` of routes and `IFA_PROTO` of addresses that Landline adds: 'L'.
/// Above `RTPROT_STATIC` (4) and not among iproute2's `rt_protos`.
pub const PROTOCOL: u8 = b'L';

/// The first letters of every host-side link name.
const NAME_PREFIX: &str = "ll";

/// The names of all host ends of endpoints' links that were given none by a user, as iptables(8) matches interfaces.
pub const HOST_ENDS: &str = "llh+";

/// The first letters of every mark.
const MARK_PREFIX: &str = "landline:";

/// The first letters of the mark of a network card that is in a sandbox or on its way.
const CARD_PREFIX: &str = "landline-card:";

/// The first letters of the ids of the networks behind attachments.
pub const ATTACHMENT_PREFIX: &str = "attach-";

/// What marks a bridge that was made because an attachment named it. It is no endpoint's.
pub const MADE: &str = "landline:made";

/// Which end of an endpoint's link a mark is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The end that stays in the host's namespace (a veth's).
    Host,
    /// The end that moves into the sandbox.
    Container,
    /// A network card that moves into the sandbox itself. Its mark is never read as one, because nothing that was there
    /// before may be removed.
    Card,
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Container => "container",
            Self::Card => "card",
        }
    }
}

/// What is written into a link's `ifalias`: `landline:<endpoint id>:<end>`; into that of a card `landline-card:<endpoint id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Whose link it is.
    pub endpoint: EndpointId,
    /// Which of the endpoint's links it is.
    pub end: End,
}

impl Mark {
    /// The mark of this end of an endpoint's link.
    pub fn new(endpoint: &EndpointId, end: End) -> Self {
        Self { endpoint: endpoint.clone(), end }
    }

    /// The mark of what an endpoint has in its sandbox.
    pub fn inside(endpoint: &EndpointId, mode: Mode) -> Self {
        Self::new(endpoint, if facts_of(mode).moves_parent() { End::Card } else { End::Container })
    }

    /// Whether a link with this alias is a card that is in a sandbox or on its way.
    pub fn is_cards(alias: &str) -> bool {
        alias.starts_with(CARD_PREFIX)
    }

    /// The mark in this alias, if it is one of ours.
    pub(crate) fn read(alias: &str) -> Option<Self> {
        let (id, end) = alias.strip_prefix(MARK_PREFIX)?.rsplit_once(':')?;
        let end = [End::Host, End::Container].into_iter().find(|e| e.word() == end)?;
        Some(Self { endpoint: id.parse().ok()?, end })
    }

    /// The link's name on the host: prefix, `h` or `c`, and the first 12 characters of the endpoint's id.
    pub fn link_name(&self) -> IfName {
        let end = match self.end {
            End::Host => 'h',
            End::Container => 'c',
            End::Card => 'n',
        };
        let id: String =
            self.endpoint.as_str().chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        // At most 2 + 1 + 12 letters and digits: always a name.
        format!("{NAME_PREFIX}{end}{id}").parse().unwrap_or_else(|_| unreachable!("a short clean name"))
    }
}

/// What a link that belongs to a network, and to no endpoint, is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The bridge of containers that Landline's own VDE switch is uplinked to.
    Switch,
    /// The bridge of containers that have one port of another's VDE switch together.
    Shared,
    /// The bridge that stands for a network whose containers each have a cable to another's VDE switch.
    Cables,
    /// The tap between a bridge and a VDE switch.
    Uplink,
    /// The private bridge of containers whose addresses are translated.
    Nat,
}

impl Role {
    const ALL: [Self; 5] = [Self::Switch, Self::Shared, Self::Cables, Self::Uplink, Self::Nat];

    const fn word(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Shared => "shared",
            Self::Cables => "cables",
            Self::Uplink => "uplink",
            Self::Nat => "nat",
        }
    }
}

/// What is written into the `ifalias` of a network's link: `landline:<network id>:<role>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NetworkMark {
    pub(crate) network: NetworkId,
    pub(crate) role: Role,
}

impl NetworkMark {
    /// The mark of what does this for a network.
    pub fn new(network: &NetworkId, role: Role) -> Self {
        Self { network: network.clone(), role }
    }

    /// The mark in this alias, if it is one of ours.
    pub(crate) fn read(alias: &str) -> Option<Self> {
        let (id, word) = alias.strip_prefix(MARK_PREFIX)?.rsplit_once(':')?;
        let role = Role::ALL.into_iter().find(|role| role.word() == word)?;
        Some(Self { network: id.parse().ok()?, role })
    }

    /// The link's name: prefix, `b` or `u`, and the first 12 characters of the network's id.
    pub fn link_name(&self) -> IfName {
        let kind = if self.role == Role::Uplink { 'u' } else { 'b' };
        let id = distinct(&self.network);
        let id: String = id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        // At most 2 + 1 + 12 letters and digits: always a name.
        format!("{NAME_PREFIX}{kind}{id}").parse().unwrap_or_else(|_| unreachable!("a short clean name"))
    }

    /// The link's hardware address: the same whenever it is made. High, as a [`host_end_mac`] is.
    pub(crate) fn mac(&self) -> Mac {
        stable_mac(&self.to_string())
    }
}

impl fmt::Display for NetworkMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK_PREFIX}{}:{}", self.network, self.role.word())
    }
}

/// Whether a link has such a name.
pub(crate) fn is_link_name(name: &IfName) -> bool {
    let rest = name.as_str().strip_prefix(NAME_PREFIX).and_then(|rest| rest.strip_prefix(['h', 'c']));
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    // A lease is given back over a link whose endpoint's id says so.
    rest.is_some_and(|id| id.len() == 12 && id.strip_prefix("release").unwrap_or(id).bytes().all(hex))
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            End::Card => write!(f, "{CARD_PREFIX}{}", self.endpoint),
            end => write!(f, "{MARK_PREFIX}{}:{}", self.endpoint, end.word()),
        }
    }
}

/// A locally administered address that a network's link has for as long as the network is there.
pub(crate) fn stable_mac(text: &str) -> Mac {
    // FNV-1a: spread, not secret.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    Mac::new([0xfe, a, b, c, d, e])
}

/// Whether a network is the one behind an attachment.
pub fn is_implicit(network: &NetworkId) -> bool {
    network.as_str().starts_with(ATTACHMENT_PREFIX)
}

/// The part of a network's id in which networks differ.
fn distinct(network: &NetworkId) -> &str {
    network.as_str().strip_prefix(ATTACHMENT_PREFIX).unwrap_or(network.as_str())
}

/// The highest hardware addresses an interface can have: `fe:ff:ff:` and three octets. Of ff:… all are group addresses.
const HIGHEST: std::ops::RangeInclusive<u64> = 0xfeff_ff00_0000..=0xfeff_ffff_ffff;

/// The hardware address of a veth's host end: `fe:ff:ff:` and the last octets of `other`, the other end's. A bridge takes
/// the lowest address among its ports unless one was set, so a port with one of the highest changes nothing. Where the
/// bridge's own is as high, it is above that.
pub(crate) fn host_end_mac(other: Mac, bridge: Option<Mac>) -> Mac {
    let (first, last) = (*HIGHEST.start(), *HIGHEST.end());
    let own = bridge.map(number).filter(|own| HIGHEST.contains(own));
    // Above the highest there is nothing. With the bridge's own address a port changes nothing either.
    let lowest = own.map_or(first, |own| (own + 1).min(last));
    let room = last - lowest + 1;
    let draw = |shift: u64| lowest + (number(other) % (last - first + 1) + shift) % room;
    // The two ends must differ.
    let drawn = if draw(0) == number(other) { draw(1) } else { draw(0) };
    let [.., a, b, c, d, e, f] = drawn.to_be_bytes();
    Mac::new([a, b, c, d, e, f])
}

/// Whether a port with this address can change its bridge's: it is not one of the highest.
pub(crate) fn is_low(mac: Mac) -> bool {
    !HIGHEST.contains(&number(mac))
}

fn number(mac: Mac) -> u64 {
    mac.octets().iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> EndpointId {
        "a".repeat(64).parse().unwrap()
    }

    #[test]
    fn host_ends_are_matched_by_their_names() {
        let matched = HOST_ENDS.trim_end_matches('+');
        assert!(Mark::new(&endpoint(), End::Host).link_name().as_str().starts_with(matched));
        assert!(!Mark::new(&endpoint(), End::Container).link_name().as_str().starts_with(matched));
    }

    #[test]
    fn marks_round_trip() {
        for end in [End::Host, End::Container] {
            let mark = Mark::new(&endpoint(), end);
            assert_eq!(Mark::read(&mark.to_string()), Some(mark));
        }
    }

    #[test]
    fn a_cards_mark_is_not_read_as_one_of_what_may_be_removed() {
        let mark = Mark::inside(&endpoint(), Mode::Nic);
        assert_eq!(mark.to_string(), format!("landline-card:{}", endpoint()));
        assert_eq!(Mark::read(&mark.to_string()), None);
        assert_eq!(NetworkMark::read(&mark.to_string()), None);
        assert!(!is_link_name(&mark.link_name()));
    }

    #[test]
    fn networks_marks_round_trip_and_are_no_endpoints() {
        let network: NetworkId = "b".repeat(64).parse().unwrap();
        for role in Role::ALL {
            let mark = NetworkMark::new(&network, role);
            assert_eq!(NetworkMark::read(&mark.to_string()).as_ref(), Some(&mark));
            assert_eq!(Mark::read(&mark.to_string()), None);
            assert!(!is_link_name(&mark.link_name()) && !mark.mac().is_multicast());
        }
        assert_eq!(NetworkMark::read(&Mark::new(&endpoint(), End::Host).to_string()), None);
    }

    #[test]
    fn other_aliases_are_not_ours() {
        for alias in ["", "uplink", "landline:", "landline:abc", "landline:abc:peer", "xlandline:abc:host"] {
            assert_eq!(Mark::read(alias), None, "{alias}");
        }
    }

    #[test]
    fn names_fit_and_differ() {
        let host = Mark::new(&endpoint(), End::Host).link_name();
        let container = Mark::new(&endpoint(), End::Container).link_name();
        assert_eq!(host.as_str(), "llhaaaaaaaaaaaa");
        assert_ne!(host, container);
        let release: EndpointId = "release-0123456789abcdef".parse().unwrap();
        for name in [host, container, Mark::new(&release, End::Container).link_name()] {
            assert!(is_link_name(&name), "{name}");
        }
        for name in ["eth0", "llh", "llx0123456789ab", "llh0123456789ag", "llh0123456789", "vlh0123456789ab"]
        {
            assert!(!is_link_name(&name.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn a_host_end_is_above_any_bridge_and_not_the_containers() {
        let bridges = [None, Some("52:54:00:00:00:01"), Some("fe:ff:ff:00:02:09"), Some("fe:ff:ff:ff:ff:f0")];
        for container in ["02:42:c0:00:02:0a", "fe:42:c0:00:02:0a", "fe:ff:ff:00:02:0a", "02:00:00:ff:ff:ff"]
        {
            for bridge in bridges {
                let container: Mac = container.parse().unwrap();
                let bridge: Option<Mac> = bridge.map(|mac| mac.parse().unwrap());
                let host = host_end_mac(container, bridge);
                assert!(!is_low(host) && !host.is_multicast(), "{host}");
                assert!(bridge.is_none_or(|bridge| bridge < host), "{host}");
                assert_ne!(host, container);
            }
        }
        // There is none above: the same changes nothing either.
        let highest = "fe:ff:ff:ff:ff:ff".parse().unwrap();
        assert_eq!(host_end_mac("02:42:c0:00:02:0a".parse().unwrap(), Some(highest)), highest);
    }
}
