//! The whole of what a link is to be set up with.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::lease::{Information, Lease};
use crate::time::Instant;
use crate::wire::ra::Preference;

/// What a link is to be set up with now, and until when: enough to bring a link in line with it, and to go on from
/// after a restart ([`Client::resume`](super::Client::resume)). Times are the machine's business: it tells in time
/// when something is over, so nothing of this needs a lifetime in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State6 {
    /// The link-local address (a /64).
    pub link_local: Option<Ipv6Addr>,
    /// The other addresses, those of DHCPv6 first.
    pub addresses: Vec<Address>,
    /// Default routers, the best first. Their addresses are link-local.
    pub routers: Vec<Router>,
    /// Prefixes whose addresses are on this link. Those of which an address is there with its prefix need no route
    /// of their own.
    pub on_link: Vec<OnLink>,
    /// Other routes (RFC 4191).
    pub routes: Vec<Route>,
    /// DNS servers, those of DHCPv6 first. Some may be link-local.
    pub dns: Vec<Dns>,
    /// Search domains, those of DHCPv6 first.
    pub search: Vec<Search>,
    /// The link's MTU as routers say, from 1280 on. The link's own may be less.
    pub mtu: Option<u16>,
    /// The lease behind the addresses of DHCPv6, from when one of them may be used.
    pub lease: Option<Lease>,
    /// What a server said without a lease.
    pub information: Option<Information>,
}

/// Where something comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A DHCPv6 server.
    Dhcp,
    /// A router's advertisement.
    Router,
}

/// An address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The address, with the length of the on-link prefix it was in when it came into use, else 128. The length
    /// stays for as long as the address does.
    pub net: Ipv6Net,
    /// Where it comes from.
    pub origin: Origin,
    /// It is not to be used for anything new (its preferred lifetime is over).
    pub deprecated: bool,
    /// Until when it is to be used for anything new; `None`: for ever.
    pub preferred_until: Option<Instant>,
    /// Until when it may be used; `None`: for ever.
    pub valid_until: Option<Instant>,
}

/// A default router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Router {
    /// Its link-local address.
    pub address: Ipv6Addr,
    /// How good it is.
    pub preference: Preference,
    /// Until when it is one; `None`: for ever.
    pub until: Option<Instant>,
}

/// A prefix on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OnLink {
    /// The prefix.
    pub prefix: Ipv6Net,
    /// Until when it is there; `None`: for ever.
    pub until: Option<Instant>,
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub destination: Ipv6Net,
    /// By way of which router's link-local address.
    pub gateway: Ipv6Addr,
    /// How good that router is for it.
    pub preference: Preference,
    /// Until when; `None`: for ever.
    pub until: Option<Instant>,
}

/// A DNS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dns {
    /// Its address.
    pub address: Ipv6Addr,
    /// Who said so.
    pub origin: Origin,
    /// Until when it may be asked; `None`: for as long as there is nothing newer.
    pub until: Option<Instant>,
}

/// A search domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Search {
    /// The domain, in lower case.
    pub domain: String,
    /// Who said so.
    pub origin: Origin,
    /// Until when it may be used; `None`: for as long as there is nothing newer.
    pub until: Option<Instant>,
}

/// Ends that moved to and fro by less than this are where they were: routers count in seconds, and late.
const SLACK: Duration = Duration::from_secs(2);

impl State6 {
    /// Whether a link would be set up the same way: all but times.
    pub(super) fn is_same_setup(&self, other: &Self) -> bool {
        fn timeless(state: &State6) -> State6 {
            let mut state = State6 { lease: None, information: None, ..state.clone() };
            for address in &mut state.addresses {
                (address.preferred_until, address.valid_until) = (None, None);
            }
            state.routers.iter_mut().for_each(|router| router.until = None);
            state.on_link.iter_mut().for_each(|on_link| on_link.until = None);
            state.routes.iter_mut().for_each(|route| route.until = None);
            state.dns.iter_mut().for_each(|dns| dns.until = None);
            state.search.iter_mut().for_each(|search| search.until = None);
            state
        }
        timeless(self) == timeless(other)
    }

    /// Whether times differ enough to be worth keeping: something ends earlier, or later by an eighth of what was
    /// left. Both must be the same setup.
    pub(super) fn has_news(&self, old: &Self, now: Instant) -> bool {
        let asked = |state: &Self| {
            let lease = state.lease.as_ref().map(|lease| (lease.server.clone(), lease.t1, lease.t2));
            (lease, state.information.clone())
        };
        let moved = |(new, old): (Option<Instant>, Option<Instant>)| match (new, old) {
            (Some(new), Some(old)) => new + SLACK < old || new > old + old.saturating_since(now) / 8 + SLACK,
            (new, old) => new != old,
        };
        asked(self) != asked(old) || self.ends().zip(old.ends()).any(moved)
    }

    /// Moves every time: to the clock of another boot.
    pub fn map_times(&mut self, change: impl Fn(Instant) -> Instant) {
        let own = self.addresses.iter_mut().flat_map(|a| [&mut a.preferred_until, &mut a.valid_until]);
        let told = own
            .chain(self.routers.iter_mut().map(|router| &mut router.until))
            .chain(self.on_link.iter_mut().map(|on_link| &mut on_link.until))
            .chain(self.routes.iter_mut().map(|route| &mut route.until))
            .chain(self.dns.iter_mut().map(|dns| &mut dns.until))
            .chain(self.search.iter_mut().map(|search| &mut search.until))
            .chain(self.information.iter_mut().map(|information| &mut information.refresh));
        let lease = self.lease.iter_mut().flat_map(|lease| {
            lease.obtained = change(lease.obtained);
            let leased =
                lease.addresses.iter_mut().flat_map(|a| [&mut a.preferred_until, &mut a.valid_until]);
            [&mut lease.t1, &mut lease.t2].into_iter().chain(leased)
        });
        for time in told.chain(lease) {
            *time = time.map(&change);
        }
    }

    fn ends(&self) -> impl Iterator<Item = Option<Instant>> {
        let addresses = self.addresses.iter().flat_map(|a| [a.preferred_until, a.valid_until]);
        addresses
            .chain(self.routers.iter().map(|router| router.until))
            .chain(self.on_link.iter().map(|on_link| on_link.until))
            .chain(self.routes.iter().map(|route| route.until))
            .chain(self.dns.iter().map(|dns| dns.until))
            .chain(self.search.iter().map(|search| search.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v6::LeasedAddress;
    use crate::wire::dhcpv6::Duid;

    fn at(seconds: u64) -> Instant {
        Instant::from_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn every_time_moves() {
        let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let prefix: Ipv6Net = "2001:db8::/64".parse().unwrap();
        let state = |n: u64| State6 {
            link_local: None,
            addresses: vec![Address {
                net: address.into(),
                origin: Origin::Dhcp,
                deprecated: false,
                preferred_until: Some(at(n)),
                valid_until: Some(at(n + 1)),
            }],
            routers: vec![Router { address, preference: Preference::High, until: Some(at(n + 2)) }],
            on_link: vec![OnLink { prefix, until: Some(at(n + 3)) }],
            routes: vec![Route {
                destination: prefix,
                gateway: address,
                preference: Preference::Low,
                until: None,
            }],
            dns: vec![Dns { address, origin: Origin::Router, until: Some(at(n + 4)) }],
            search: vec![Search {
                domain: "lab.test".into(),
                origin: Origin::Router,
                until: Some(at(n + 5)),
            }],
            mtu: Some(1400),
            lease: Some(Lease {
                server: Duid::from_uuid([1; 16]),
                obtained: at(n + 6),
                t1: Some(at(n + 7)),
                t2: Some(at(n + 8)),
                addresses: vec![LeasedAddress {
                    address,
                    preferred_until: Some(at(n + 9)),
                    valid_until: None,
                }],
                dns: vec![],
                search: vec![],
            }),
            information: Some(Information { dns: vec![], search: vec![], refresh: Some(at(n + 10)) }),
        };
        let mut moved = state(100);
        moved.map_times(|time| time + Duration::from_secs(50));
        assert_eq!(moved, state(150));
    }
}
