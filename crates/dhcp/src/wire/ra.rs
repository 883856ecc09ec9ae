//! Router advertisements (RFC 4861 section 4.2), with preferences and routes (RFC 4191) and DNS (RFC 8106).

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use landline_types::Mac;

use super::icmpv6::{Options, put};
use super::{field, labels, names};

/// A lifetime of an option with this value: for ever.
pub const INFINITE: u32 = u32::MAX;

const SOURCE_LINK: u8 = 1;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const ROUTE: u8 = 24;
const DNS: u8 = 25;
const SEARCH: u8 = 31;

const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// Where options begin.
const FIXED: usize = 16;

/// How much better a router is than another (RFC 4191 section 2.1), the least first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Preference {
    /// Only if there is no other.
    Low,
    /// As any.
    #[default]
    Medium,
    /// Before others.
    High,
}

impl Preference {
    /// From the two bits at their place in a flags octet. `None`: reserved.
    fn from_flags(flags: u8) -> Option<Self> {
        match (flags >> 3) & 3 {
            0 => Some(Self::Medium),
            1 => Some(Self::High),
            3 => Some(Self::Low),
            _ => None,
        }
    }

    fn flags(self) -> u8 {
        match self {
            Self::Medium => 0,
            Self::High => 1 << 3,
            Self::Low => 3 << 3,
        }
    }
}

/// What a router tells. Lifetimes are in seconds from now; in options [`INFINITE`] is for ever.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouterAdvertisement {
    /// The hop limit hosts should begin with; 0: not told.
    pub hop_limit: u8,
    /// Addresses are to be had by DHCPv6 (flag M).
    pub managed: bool,
    /// Other parameters are to be had by DHCPv6 (flag O).
    pub other: bool,
    /// How good a default router this is. The reserved value is read as medium.
    pub preference: Preference,
    /// How long it is a default router; 0: it is none.
    pub lifetime: u16,
    /// How long a neighbour counts as reachable, in milliseconds; 0: not told.
    pub reachable_time: u32,
    /// Between solicitations of neighbours, in milliseconds; 0: not told.
    pub retrans_timer: u32,
    /// The router's hardware address.
    pub source_mac: Option<Mac>,
    /// The link's MTU, whatever the router said.
    pub mtu: Option<u32>,
    /// Prefixes of the link.
    pub prefixes: Vec<Prefix>,
    /// Routes by way of this router.
    pub routes: Vec<Route>,
    /// DNS servers, one entry for each option.
    pub dns: Vec<Dns>,
    /// Search domains, one entry for each option.
    pub search: Vec<Search>,
}

/// A prefix of the link (RFC 4861 section 4.6.2). Bits beyond its length are cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The prefix.
    pub prefix: Ipv6Net,
    /// Its addresses are on this link (flag L).
    pub on_link: bool,
    /// Hosts may make addresses of it (flag A).
    pub autonomous: bool,
    /// How long it is on the link, and how long its addresses are valid.
    pub valid: u32,
    /// How long its addresses are to be used for anything new.
    pub preferred: u32,
}

/// A route (RFC 4191 section 2.3). Bits beyond the prefix's length are cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// Where to.
    pub destination: Ipv6Net,
    /// How good this router is for that. Options with the reserved value are left out.
    pub preference: Preference,
    /// How long the route is good; 0: it is none any more.
    pub lifetime: u32,
}

/// DNS servers (RFC 8106 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dns {
    /// How long they may be used; 0: not any more.
    pub lifetime: u32,
    /// Their addresses.
    pub servers: Vec<Ipv6Addr>,
}

/// Search domains (RFC 8106 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Search {
    /// How long they may be used; 0: not any more.
    pub lifetime: u32,
    /// The domains, in lower case; what is no name is left out.
    pub domains: Vec<String>,
}

impl RouterAdvertisement {
    /// Reads a message from its `ICMPv6` header on. `None` if it is not well formed; an option that makes no sense
    /// is left out alone.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let flags = *bytes.get(5)?;
        let mut this = Self {
            hop_limit: *bytes.get(4)?,
            managed: flags & MANAGED != 0,
            other: flags & OTHER != 0,
            preference: Preference::from_flags(flags).unwrap_or_default(),
            lifetime: field::u16(bytes, 6)?,
            reachable_time: field::u32(bytes, 8)?,
            retrans_timer: field::u32(bytes, 12)?,
            ..Self::default()
        };
        for (kind, value) in Options::read(bytes.get(FIXED..)?)?.iter() {
            match kind {
                SOURCE_LINK => this.source_mac = value.try_into().ok().map(Mac::new).or(this.source_mac),
                MTU if value.len() == 6 => this.mtu = field::u32(value, 2).or(this.mtu),
                PREFIX => this.prefixes.extend(Prefix::parse(value)),
                ROUTE => this.routes.extend(Route::parse(value)),
                DNS => this.dns.extend(Dns::parse(value)),
                SEARCH => this.search.extend(Search::parse(value)),
                _ => {}
            }
        }
        Some(this)
    }

    /// The first four octets after the checksum.
    pub(super) fn fixed(&self) -> [u8; 4] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.managed, MANAGED) | flag(self.other, OTHER) | self.preference.flags();
        let [high, low] = self.lifetime.to_be_bytes();
        [self.hop_limit, flags, high, low]
    }

    /// Everything after those.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.reachable_time.to_be_bytes());
        out.extend(self.retrans_timer.to_be_bytes());
        if let Some(mac) = self.source_mac {
            put(out, SOURCE_LINK, &mac.octets());
        }
        if let Some(mtu) = self.mtu {
            put(out, MTU, &[&[0, 0][..], &mtu.to_be_bytes()].concat());
        }
        for prefix in &self.prefixes {
            put(out, PREFIX, &prefix.value());
        }
        for route in &self.routes {
            put(out, ROUTE, &route.value());
        }
        for dns in &self.dns {
            let servers = dns.servers.iter().flat_map(Ipv6Addr::octets);
            put(out, DNS, &lifetime_then(dns.lifetime, servers));
        }
        for search in &self.search {
            let domains = search.domains.iter().flat_map(|domain| labels::encode(domain));
            put(out, SEARCH, &lifetime_then(search.lifetime, domains));
        }
    }
}

/// Two reserved octets, a lifetime, and the rest.
fn lifetime_then(lifetime: u32, rest: impl Iterator<Item = u8>) -> Vec<u8> {
    [0, 0].into_iter().chain(lifetime.to_be_bytes()).chain(rest).collect()
}

impl Prefix {
    fn parse(value: &[u8]) -> Option<Self> {
        let value: &[u8; 30] = value.try_into().ok()?;
        Some(Self {
            prefix: Ipv6Net::new(field::octets::<16>(value, 14)?.into(), value[0]).ok()?.trunc(),
            on_link: value[1] & ON_LINK != 0,
            autonomous: value[1] & AUTONOMOUS != 0,
            valid: field::u32(value, 2)?,
            preferred: field::u32(value, 6)?,
        })
    }

    fn value(&self) -> Vec<u8> {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.on_link, ON_LINK) | flag(self.autonomous, AUTONOMOUS);
        let mut value = vec![self.prefix.prefix_len(), flags];
        value.extend(self.valid.to_be_bytes());
        value.extend(self.preferred.to_be_bytes());
        value.extend([0; 4]);
        value.extend(self.prefix.trunc().addr().octets());
        value
    }
}

impl Route {
    /// The prefix takes 0, 8 or 16 octets, of which the prefix length must not need more.
    fn parse(value: &[u8]) -> Option<Self> {
        let (fixed, prefix) = value.split_first_chunk::<6>()?;
        let mut octets = [0; 16];
        octets.get_mut(..prefix.len())?.copy_from_slice(prefix);
        let len = fixed[0];
        if usize::from(len.div_ceil(8)) > prefix.len() {
            return None;
        }
        Some(Self {
            destination: Ipv6Net::new(octets.into(), len).ok()?.trunc(),
            preference: Preference::from_flags(fixed[1])?,
            lifetime: field::u32(fixed, 2)?,
        })
    }

    fn value(&self) -> Vec<u8> {
        let mut value = vec![self.destination.prefix_len(), self.preference.flags()];
        value.extend(self.lifetime.to_be_bytes());
        let octets = self.destination.trunc().addr().octets();
        value.extend(&octets[..usize::from(self.destination.prefix_len().div_ceil(64)) * 8]);
        value
    }
}

impl Dns {
    fn parse(value: &[u8]) -> Option<Self> {
        let (servers, rest) = value.get(6..)?.as_chunks::<16>();
        let servers: Vec<_> = servers.iter().copied().map(Ipv6Addr::from).collect();
        (rest.is_empty() && !servers.is_empty()).then_some(Self { lifetime: field::u32(value, 2)?, servers })
    }
}

impl Search {
    fn parse(value: &[u8]) -> Option<Self> {
        // The padding behind the last name reads as empty names, which are none.
        let domains = names::from_search_list(value.get(6..)?);
        (!domains.is_empty()).then_some(Self { lifetime: field::u32(value, 2)?, domains })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::icmpv6::Message;
    use super::super::udp::Check;
    use super::*;

    const SRC: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const DST: Ipv6Addr = super::super::ipv6::ALL_NODES;

    fn emit(advertisement: &RouterAdvertisement) -> Vec<u8> {
        Message::RouterAdvertisement(advertisement.clone()).emit(SRC, DST)
    }

    fn parse(bytes: &[u8]) -> Option<RouterAdvertisement> {
        match Message::parse(SRC, DST, bytes, Check::Skip)? {
            Message::RouterAdvertisement(advertisement) => Some(advertisement),
            _ => None,
        }
    }

    fn net(text: &str) -> Ipv6Net {
        text.parse().expect("a prefix")
    }

    /// As a router with everything sends it, octet by octet.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![134, 0, 0, 0, 64, 0xc8, 7, 8, 0, 0, 0x75, 0x30, 0, 0, 3, 0xe8];
        bytes.extend([1, 1, 2, 0, 0, 0, 0, 1]);
        bytes.extend([5, 1, 0, 0, 0, 0, 5, 0xdc]);
        bytes.extend([3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0]);
        bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([24, 2, 48, 0x18, 0, 0, 7, 8, 0x20, 1, 0xd, 0xb8, 0, 2, 0, 0]);
        bytes.extend([25, 3, 0, 0, 0, 0, 4, 0xb0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53]);
        bytes.extend([31, 2, 0, 0, 0, 0, 4, 0xb0]);
        bytes.extend(b"\x03lan\x00\x00\x00\x00");
        bytes
    }

    #[test]
    fn everything_a_router_says() {
        let expected = RouterAdvertisement {
            hop_limit: 64,
            managed: true,
            other: true,
            preference: Preference::High,
            lifetime: 1800,
            reachable_time: 30_000,
            retrans_timer: 1000,
            source_mac: Some(Mac::new([2, 0, 0, 0, 0, 1])),
            mtu: Some(1500),
            prefixes: vec![Prefix {
                prefix: net("2001:db8:0:1::/64"),
                on_link: true,
                autonomous: true,
                valid: 86_400,
                preferred: 14_400,
            }],
            routes: vec![Route {
                destination: net("2001:db8:2::/48"),
                preference: Preference::Low,
                lifetime: 1800,
            }],
            dns: vec![Dns { lifetime: 1200, servers: vec!["2001:db8::53".parse().expect("an address")] }],
            search: vec![Search { lifetime: 1200, domains: vec!["lan".to_owned()] }],
        };
        assert_eq!(parse(&sample()).as_ref(), Some(&expected));
        assert_eq!(emit(&expected)[4..], sample()[4..]);
    }

    #[test]
    fn bad_options_alone_are_left_out() {
        let good = parse(&sample()).expect("an advertisement");
        let with = |at: usize, value: u8| {
            let mut bytes = sample();
            bytes[at] = value;
            parse(&bytes)
        };
        assert_eq!(with(34, 129).map(|ra| ra.prefixes.len()), Some(0), "a prefix of 129 bits");
        assert_eq!(with(34, 128).map(|ra| ra.prefixes.len()), Some(1));
        assert_eq!(with(66, 65).map(|ra| ra.routes.len()), Some(0), "more bits than there are");
        assert_eq!(with(67, 0x10).map(|ra| ra.routes.len()), Some(0), "reserved preference");
        assert_eq!(with(5, 0xd0).map(|ra| ra.preference), Some(Preference::Medium), "reserved preference");
        assert_eq!(with(113, 0x0a).map(|ra| ra.search.len()), Some(0), "a search domain with a line feed");
        assert_eq!(with(63, 1).map(|ra| ra.prefixes), Some(good.prefixes.clone()), "bits beyond the prefix");
        assert_eq!(with(17, 0), None, "an option without length ends all trust");
        assert_eq!(with(105, 9), None, "an option beyond the end");
    }

    #[test]
    fn cut_anywhere() {
        let bytes = sample();
        let whole: Vec<_> = (0..=bytes.len()).filter(|&len| parse(&bytes[..len]).is_some()).collect();
        assert_eq!(whole, [16, 24, 32, 64, 80, 104, 120], "only between options");
    }

    fn any_net() -> impl Strategy<Value = Ipv6Net> {
        (any::<[u8; 16]>(), 0..=128_u8)
            .prop_map(|(octets, len)| Ipv6Net::new(octets.into(), len).expect("a length").trunc())
    }

    fn any_preference() -> impl Strategy<Value = Preference> {
        prop_oneof![Just(Preference::Low), Just(Preference::Medium), Just(Preference::High)]
    }

    pub(in super::super) fn any_advertisement() -> impl Strategy<Value = RouterAdvertisement> {
        let fixed = (any::<(u8, bool, bool, u16, u32, u32)>(), any_preference());
        let prefix = (any_net(), any::<(bool, bool, u32, u32)>()).prop_map(
            |(prefix, (on_link, autonomous, valid, preferred))| Prefix {
                prefix,
                on_link,
                autonomous,
                valid,
                preferred,
            },
        );
        let route = (any_net(), any_preference(), any::<u32>())
            .prop_map(|(destination, preference, lifetime)| Route { destination, preference, lifetime });
        let dns = (any::<u32>(), prop::collection::vec(any::<[u8; 16]>().prop_map(Ipv6Addr::from), 1..5))
            .prop_map(|(lifetime, servers)| Dns { lifetime, servers });
        let search = (any::<u32>(), prop::collection::btree_set("[a-z0-9]{1,20}(\\.[a-z]{1,9})?", 1..5))
            .prop_map(|(lifetime, domains)| Search { lifetime, domains: domains.into_iter().collect() });
        let options = (
            any::<Option<[u8; 6]>>(),
            any::<Option<u32>>(),
            prop::collection::vec(prefix, 0..4),
            prop::collection::vec(route, 0..4),
            prop::collection::vec(dns, 0..3),
            prop::collection::vec(search, 0..3),
        );
        (fixed, options).prop_map(
            |(
                ((hop_limit, managed, other, lifetime, reachable_time, retrans_timer), preference),
                options,
            )| {
                let (mac, mtu, prefixes, routes, dns, search) = options;
                RouterAdvertisement {
                    hop_limit,
                    managed,
                    other,
                    preference,
                    lifetime,
                    reachable_time,
                    retrans_timer,
                    source_mac: mac.map(Mac::new),
                    mtu,
                    prefixes,
                    routes,
                    dns,
                    search,
                }
            },
        )
    }
}
