//! What comes with a lease.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::wire::dhcpv4::{Options, code};
use crate::wire::names;

/// The least MTU an option may have (RFC 2132 section 5.1).
const MIN_MTU: u16 = 68;

/// The parameters of a lease. What a server sent that makes no sense is not here, other than in `raw`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Option 3. Ignored by [`gateway`](Self::gateway) if there are classless routes.
    pub routers: Vec<Ipv4Addr>,
    /// Option 121, else 249, which is the same under the number it had before RFC 3442.
    pub classless_routes: Option<Vec<ClasslessRoute>>,
    /// Option 33, with the destinations' classful masks.
    pub static_routes: Vec<ClasslessRoute>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// Option 15, in lower case.
    pub domain: Option<String>,
    /// Option 119, in lower case.
    pub search: Vec<String>,
    /// Option 26, from 68 on.
    pub mtu: Option<u16>,
    /// Option 42.
    pub ntp: Vec<Ipv4Addr>,
    /// Option 28.
    pub broadcast_address: Option<Ipv4Addr>,
    /// Every option of the message by code and octets, for inspection and to keep: [`LeaseOptions::from_raw`] makes
    /// the same value of it.
    pub raw: Vec<(u8, Vec<u8>)>,
}

/// A route a server gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClasslessRoute {
    /// Where to.
    pub destination: Ipv4Net,
    /// By way of which router; unspecified: the destination is on the link (RFC 3442).
    pub gateway: Ipv4Addr,
}

impl ClasslessRoute {
    /// The router, or `None` if the destination is on the link.
    pub fn via(&self) -> Option<Ipv4Addr> {
        (!self.gateway.is_unspecified()).then_some(self.gateway)
    }
}

impl LeaseOptions {
    /// The meaning of these options.
    pub fn from_raw(raw: Vec<(u8, Vec<u8>)>) -> Self {
        let options: Options = raw.into_iter().collect();
        let addresses = |code| {
            let mut list = options.ipv4_list(code).unwrap_or_default();
            list.retain(|&address| is_host(address));
            list
        };
        let classless = |code| options.get(code).and_then(classless_routes);
        Self {
            routers: addresses(code::ROUTERS),
            classless_routes: classless(code::CLASSLESS_ROUTES)
                .or_else(|| classless(code::MS_CLASSLESS_ROUTES)),
            static_routes: options.get(code::STATIC_ROUTES).map(static_routes).unwrap_or_default(),
            dns: addresses(code::DNS),
            domain: options.get(code::DOMAIN_NAME).and_then(names::from_text),
            search: options.get(code::DOMAIN_SEARCH).map(names::from_search_list).unwrap_or_default(),
            mtu: options.u16(code::MTU).filter(|&mtu| mtu >= MIN_MTU),
            ntp: addresses(code::NTP),
            broadcast_address: options.ipv4(code::BROADCAST),
            raw: options.into_vec(),
        }
    }

    /// The default router. Option 3 does not count if there are classless routes, even if none of them is a default
    /// route (RFC 3442).
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        match &self.classless_routes {
            Some(routes) => routes.iter().find(|route| is_default(route)).and_then(ClasslessRoute::via),
            None => self.routers.first().copied(),
        }
    }

    /// The next hops of all default routes, in the server's order; `None`: everything is on the link (RFC 3442).
    pub fn default_hops(&self) -> impl Iterator<Item = Option<Ipv4Addr>> {
        let classless = self.classless_routes.iter().flatten().filter(|route| is_default(route));
        let routers = self.routers.iter().filter(|_| self.classless_routes.is_none());
        classless.map(ClasslessRoute::via).chain(routers.copied().map(Some))
    }

    /// The routes that are not default routes: classless ones, or else those of option 33.
    pub fn routes(&self) -> impl Iterator<Item = &ClasslessRoute> {
        let routes = self.classless_routes.as_ref().unwrap_or(&self.static_routes);
        routes.iter().filter(|route| !is_default(route))
    }
}

fn is_default(route: &ClasslessRoute) -> bool {
    route.destination.prefix_len() == 0
}

/// Whether another host can have this address: no group, not this network's or this host's.
pub fn is_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && !address.is_loopback() && !address.is_multicast() && !address.is_broadcast()
}

/// The prefix length an address had before there were masks (RFC 791), for servers that send no usable mask.
pub(super) fn classful_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        192.. => 24,
    }
}

/// The destination descriptors and routers of RFC 3442; `None` if they do not come out even, because then there is
/// no telling what was meant.
pub(super) fn classless_routes(value: &[u8]) -> Option<Vec<ClasslessRoute>> {
    let mut routes = Vec::new();
    let mut rest = value;
    while let Some((&prefix_len, tail)) = rest.split_first() {
        let (significant, tail) = tail.split_at_checked(usize::from(prefix_len.div_ceil(8)))?;
        let (router, tail) = tail.split_first_chunk::<4>()?;
        let mut octets = [0; 4];
        octets.get_mut(..significant.len())?.copy_from_slice(significant);
        let gateway = Ipv4Addr::from(*router);
        // Bits beyond the prefix are masked (RFC 3442); a route by way of nobody is left out.
        let destination = Ipv4Net::new(octets.into(), prefix_len).ok()?.trunc();
        if gateway.is_unspecified() || is_host(gateway) {
            routes.push(ClasslessRoute { destination, gateway });
        }
        rest = tail;
    }
    (!value.is_empty()).then_some(routes)
}

/// Pairs of destination and router (RFC 2132 section 5.8). The default route is not allowed here. A destination
/// with bits beyond its class's mask is taken for a host.
pub(super) fn static_routes(value: &[u8]) -> Vec<ClasslessRoute> {
    let (pairs, rest) = value.as_chunks::<8>();
    if !rest.is_empty() {
        return Vec::new();
    }
    let route = |pair: &[u8; 8]| {
        let [a, b, c, d, gateway @ ..] = *pair;
        let (to, gateway) = (Ipv4Addr::new(a, b, c, d), Ipv4Addr::from(gateway));
        let network = Ipv4Net::new(to, classful_prefix(to)).ok()?;
        let destination = if network.trunc().addr() == to { network } else { Ipv4Net::from(to) };
        (is_host(to) && is_host(gateway)).then_some(ClasslessRoute { destination, gateway })
    };
    pairs.iter().filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(raw: &[(u8, &[u8])]) -> LeaseOptions {
        LeaseOptions::from_raw(raw.iter().map(|(code, value)| (*code, value.to_vec())).collect())
    }

    fn route(destination: &str, gateway: [u8; 4]) -> ClasslessRoute {
        ClasslessRoute { destination: destination.parse().expect("a network"), gateway: gateway.into() }
    }

    #[test]
    fn the_examples_of_rfc_3442() {
        let value = [
            &[0, 10, 0, 0, 1][..],
            &[8, 10, 10, 0, 0, 1],
            &[24, 10, 0, 0, 10, 0, 0, 1],
            &[16, 10, 17, 10, 0, 0, 1],
            &[24, 10, 27, 129, 10, 0, 0, 1],
            &[25, 10, 229, 0, 128, 10, 0, 0, 1],
            &[32, 10, 198, 122, 47, 10, 0, 0, 1],
        ]
        .concat();
        let names = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.0.0.0/24",
            "10.17.0.0/16",
            "10.27.129.0/24",
            "10.229.0.128/25",
            "10.198.122.47/32",
        ];
        let expected: Vec<_> = names.iter().map(|name| route(name, [10, 0, 0, 1])).collect();
        let got = options(&[(121, &value), (3, &[10, 0, 0, 254]), (33, &[10, 9, 8, 7, 10, 0, 0, 1])]);
        assert_eq!(got.classless_routes.as_ref(), Some(&expected));
        assert_eq!(got.gateway(), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(got.routes().copied().collect::<Vec<_>>(), expected[1..]);
    }

    #[test]
    fn classless_routes_silence_option_3_even_without_a_default() {
        let got = options(&[(3, &[192, 0, 2, 1]), (121, &[24, 198, 51, 100, 192, 0, 2, 2])]);
        assert_eq!(got.gateway(), None);
        assert_eq!(got.routers, [Ipv4Addr::new(192, 0, 2, 1)]);
    }

    #[test]
    fn broken_classless_routes_are_as_none() {
        for value in [&[][..], &[33, 1, 2, 3, 4, 5, 192, 0, 2, 1], &[24, 198, 51, 100, 192, 0, 2], &[255]] {
            let got = options(&[(3, &[192, 0, 2, 1]), (121, value)]);
            assert_eq!(got.classless_routes, None, "{value:?}");
            assert_eq!(got.gateway(), Some(Ipv4Addr::new(192, 0, 2, 1)));
        }
    }

    #[test]
    fn old_number_and_on_link_routes() {
        let got = options(&[(249, &[23, 198, 51, 101, 0, 0, 0, 0, 0, 224, 0, 0, 1])]);
        assert_eq!(
            got.classless_routes,
            Some(vec![route("198.51.100.0/23", [0; 4])]),
            "masked; multicast router dropped"
        );
        assert_eq!(got.routes().next().and_then(ClasslessRoute::via), None);
        let on_link = options(&[(121, &[0, 0, 0, 0, 0])]);
        assert_eq!((on_link.gateway(), on_link.routes().count()), (None, 0));
        assert_eq!(on_link.default_hops().collect::<Vec<_>>(), [None]);
        let routers = options(&[(3, &[192, 0, 2, 1, 192, 0, 2, 2])]);
        let hops: Vec<_> = routers.default_hops().flatten().map(|hop| hop.octets()[3]).collect();
        assert_eq!(hops, [1, 2]);
    }

    #[test]
    fn static_routes_are_classful_or_hosts() {
        let value =
            [[10, 0, 0, 0, 192, 0, 2, 1], [198, 51, 100, 7, 192, 0, 2, 1], [0, 0, 0, 0, 192, 0, 2, 9]]
                .concat();
        let got = options(&[(33, &value)]);
        assert_eq!(
            got.static_routes,
            [route("10.0.0.0/8", [192, 0, 2, 1]), route("198.51.100.7/32", [192, 0, 2, 1])]
        );
        assert_eq!(got.routes().count(), 2);
        assert!(options(&[(33, &value[..15])]).static_routes.is_empty());
    }

    #[test]
    fn nonsense_stays_out() {
        let got = options(&[
            (3, &[0, 0, 0, 0]),
            (6, &[127, 0, 0, 1, 192, 0, 2, 53, 224, 0, 0, 251, 255, 255, 255, 255]),
            (26, &[0, 67]),
            (15, b"lan\nnameserver 192.0.2.66"),
            (42, &[192, 0, 2]),
        ]);
        assert_eq!(got.gateway(), None);
        assert_eq!(got.dns, [Ipv4Addr::new(192, 0, 2, 53)]);
        assert_eq!((got.mtu, got.domain.as_deref(), got.ntp.len()), (None, None, 0));
        assert_eq!(got.raw.len(), 5, "and can still be looked at");
    }

    #[test]
    fn one_bad_option_does_not_hide_the_others() {
        let got = options(&[(15, b"caf\xe9"), (26, &[5, 220]), (119, b"\x03lan\x00")]);
        assert_eq!((got.domain, got.mtu, got.search), (None, Some(1500), vec!["lan".to_owned()]));
    }

    proptest! {
        #[test]
        fn raw_tells_everything(raw in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12)) {
            let first = LeaseOptions::from_raw(raw);
            let again = LeaseOptions::from_raw(first.raw.clone());
            prop_assert!(first.routes().all(|r| r.destination == r.destination.trunc()));
            prop_assert_eq!(first, again);
        }
    }
}
