//! What routers said of the link, and until when.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::state::{Dns, OnLink, Origin, Route, Router, Search, State6};
use super::table::Table;
use crate::time::Instant;
use crate::wire::ra::{Preference, RouterAdvertisement};

/// The least MTU of IPv6 (RFC 8200 section 5); less is never taken from a router.
const MIN_MTU: u32 = 1280;

/// The memory for all that routers say is bounded by these.
const MAX_ROUTERS: usize = 8;
const MAX_PREFIXES: usize = 16;
const MAX_ROUTES: usize = 32;
const MAX_DNS: usize = 8;
const MAX_SEARCH: usize = 16;

/// What holds now.
#[derive(Debug, Clone)]
pub(super) struct Advertised {
    routers: Table<Ipv6Addr, Preference>,
    on_link: Table<Ipv6Net, ()>,
    routes: Table<(Ipv6Net, Ipv6Addr), Preference>,
    dns: Table<Ipv6Addr, ()>,
    search: Table<String, ()>,
    mtu: Option<u16>,
}

impl Advertised {
    pub(super) const fn new() -> Self {
        Self {
            routers: Table::new(MAX_ROUTERS),
            on_link: Table::new(MAX_PREFIXES),
            routes: Table::new(MAX_ROUTES),
            dns: Table::new(MAX_DNS),
            search: Table::new(MAX_SEARCH),
            mtu: None,
        }
    }

    /// What was known before; `heard`: on this network.
    pub(super) fn remembered(state: &State6, heard: bool) -> Self {
        let mut this = Self::new();
        for router in &state.routers {
            this.routers.remember(router.address, router.preference, router.until, heard);
        }
        for on_link in &state.on_link {
            this.on_link.remember(on_link.prefix, (), on_link.until, heard);
        }
        for route in &state.routes {
            this.routes.remember((route.destination, route.gateway), route.preference, route.until, heard);
        }
        for dns in state.dns.iter().filter(|dns| dns.origin == Origin::Router) {
            this.dns.remember(dns.address, (), dns.until, heard);
        }
        for search in state.search.iter().filter(|search| search.origin == Origin::Router) {
            this.search.remember(search.domain.clone(), (), search.until, heard);
        }
        this.mtu = state.mtu;
        this
    }

    /// A router's advertisement.
    pub(super) fn hear(&mut self, now: Instant, router: Ipv6Addr, said: &RouterAdvertisement) {
        self.routers.hear(now, router, said.preference, u32::from(said.lifetime));
        for prefix in said.prefixes.iter().filter(|prefix| prefix.on_link && is_usable(prefix.prefix)) {
            self.on_link.hear(now, prefix.prefix, (), prefix.valid);
        }
        for route in &said.routes {
            if route.destination.prefix_len() == 0 {
                // Of the default route this option is the last word (RFC 4191 section 3.1).
                self.routers.hear(now, router, route.preference, route.lifetime);
            } else if is_usable(route.destination) {
                self.routes.hear(now, (route.destination, router), route.preference, route.lifetime);
            }
        }
        for dns in &said.dns {
            for &server in dns.servers.iter().filter(|&&server| is_host(server)) {
                self.dns.hear(now, server, (), dns.lifetime);
            }
        }
        for search in &said.search {
            for domain in &search.domains {
                self.search.hear(now, domain.clone(), (), search.lifetime);
            }
        }
        let mtu = said.mtu.filter(|&mtu| mtu >= MIN_MTU).and_then(|mtu| u16::try_from(mtu).ok());
        self.mtu = mtu.or(self.mtu);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.routers.expire(now);
        self.on_link.expire(now);
        self.routes.expire(now);
        self.dns.expire(now);
        self.search.expire(now);
    }

    /// The link may be on another network now.
    pub(super) fn doubt(&mut self) {
        self.routers.doubt();
        self.on_link.doubt();
        self.routes.doubt();
        self.dns.doubt();
        self.search.doubt();
    }

    /// Whether there is anything that was not said since.
    pub(super) fn is_doubted(&self) -> bool {
        self.routers.is_doubted()
            || self.on_link.is_doubted()
            || self.routes.is_doubted()
            || self.dns.is_doubted()
            || self.search.is_doubted()
    }

    /// Forgets what was not said since.
    pub(super) fn drop_doubted(&mut self) {
        self.routers.drop_doubted();
        self.on_link.drop_doubted();
        self.routes.drop_doubted();
        self.dns.drop_doubted();
        self.search.drop_doubted();
    }

    /// When things end.
    pub(super) fn ends(&self) -> impl Iterator<Item = Instant> {
        self.routers
            .ends()
            .chain(self.on_link.ends())
            .chain(self.routes.ends())
            .chain(self.dns.ends())
            .chain(self.search.ends())
    }

    /// The longest prefix on the link with this address in it.
    pub(super) fn prefix_len(&self, address: Ipv6Addr) -> Option<u8> {
        let around = self.on_link.iter().map(|row| row.key).filter(|prefix| prefix.contains(&address));
        around.map(|prefix| prefix.prefix_len()).max()
    }

    /// Puts what holds into a state, behind what is there.
    pub(super) fn describe(&self, state: &mut State6) {
        state.routers = self
            .routers
            .iter()
            .map(|row| Router { address: row.key, preference: row.value, until: row.until })
            .collect();
        state.routers.sort_by_key(|router| std::cmp::Reverse(router.preference));
        state.on_link = self.on_link.iter().map(|row| OnLink { prefix: row.key, until: row.until }).collect();
        state.routes = self
            .routes
            .iter()
            .map(|row| {
                let (destination, gateway) = row.key;
                Route { destination, gateway, preference: row.value, until: row.until }
            })
            .collect();
        for row in self.dns.iter() {
            if state.dns.iter().all(|dns| dns.address != row.key) {
                state.dns.push(Dns { address: row.key, origin: Origin::Router, until: row.until });
            }
        }
        for row in self.search.iter() {
            if state.search.iter().all(|search| search.domain != row.key) {
                let domain = row.key.clone();
                state.search.push(Search { domain, origin: Origin::Router, until: row.until });
            }
        }
        state.mtu = self.mtu;
    }
}

/// Whether a prefix may be on the link or behind a router: link-local and groups are not for routers to tell, and
/// everything is no prefix.
pub(super) fn is_usable(prefix: Ipv6Net) -> bool {
    let address = prefix.network();
    prefix.prefix_len() > 0 && is_host(address) && !address.is_unicast_link_local()
}

/// Whether a host can have this address.
pub(super) fn is_host(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}
