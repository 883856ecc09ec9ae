//! The state, made of what the parts know.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::{Client, Event, LossReason};
use crate::random::Random;
use crate::time::Instant;
use crate::v6::lease::Lease;
use crate::v6::slaac::PREFIX_LEN;
use crate::v6::state::{Address, Dns, Origin, Search, State6};
use crate::v6::table::is_live;

impl<R: Random> Client<R> {
    /// Makes the state again, and tells what is different.
    pub(super) fn publish(&mut self, now: Instant) {
        let contested = std::mem::take(&mut self.contested);
        if self.stopped {
            return;
        }
        let before = std::mem::take(&mut self.current);
        self.current = self.describe(now, &before);
        for address in &self.told.addresses {
            let ip = address.net.addr();
            if self.current.addresses.iter().any(|present| present.net.addr() == ip) {
                continue;
            }
            let last = before.addresses.iter().find(|last| last.net.addr() == ip).unwrap_or(address);
            let reason = if contested.contains(&ip) {
                LossReason::Conflict
            } else if is_live(last.valid_until, now) {
                LossReason::Withdrawn
            } else {
                LossReason::Expired
            };
            self.events.push_back(Event::Lost { address: ip, reason });
        }
        let event = if !self.current.is_same_setup(&self.told) {
            Event::Changed
        } else if self.current.has_news(&self.told, now) {
            Event::Renewed
        } else {
            return;
        };
        self.told = self.current.clone();
        self.events.push_back(event(self.current.clone()));
    }

    fn describe(&self, now: Instant, before: &State6) -> State6 {
        let link_local = self.link_local.address;
        // A lease counts as soon as one of its addresses does.
        let clear = |lease: &&Lease| lease.addresses.iter().any(|own| self.watch.is_clear(own.address));
        let lease = self.dhcp.lease.as_ref().filter(clear);
        let mut state = State6 {
            link_local: self.watch.is_clear(link_local).then_some(link_local),
            lease: lease.cloned(),
            information: self.dhcp.information.clone(),
            ..State6::default()
        };
        for leased in lease.iter().flat_map(|lease| &lease.addresses) {
            let len = self.advertised.prefix_len(leased.address);
            let times = (leased.preferred_until, leased.valid_until);
            self.push_address(now, before, &mut state, leased.address, len, Origin::Dhcp, times);
        }
        for own in self.slaac.iter() {
            let len = self.advertised.prefix_len(own.address).map(|_| PREFIX_LEN);
            let times = (own.preferred_until, own.valid_until);
            self.push_address(now, before, &mut state, own.address, len, Origin::Router, times);
        }
        let lease = lease.map(|lease| (&lease.dns, &lease.search));
        let information = self.dhcp.information.as_ref().map(|info| (&info.dns, &info.search));
        if let Some((dns, search)) = lease.or(information) {
            let (origin, until) = (Origin::Dhcp, None);
            state.dns = dns.iter().map(|&address| Dns { address, origin, until }).collect();
            state.search =
                search.iter().map(|domain| Search { domain: domain.clone(), origin, until }).collect();
        }
        self.advertised.describe(&mut state);
        state
    }

    #[expect(clippy::too_many_arguments, reason = "one place, private, and a struct for it would be longer")]
    fn push_address(
        &self,
        now: Instant,
        before: &State6,
        state: &mut State6,
        address: Ipv6Addr,
        len: Option<u8>,
        origin: Origin,
        (preferred_until, valid_until): (Option<Instant>, Option<Instant>),
    ) {
        let there = state.addresses.iter().any(|present| present.net.addr() == address);
        if there || !self.watch.is_clear(address) {
            return;
        }
        let last = before.addresses.iter().find(|last| last.net.addr() == address).map(|last| last.net);
        let net = last.or_else(|| Ipv6Net::new(address, len?).ok()).unwrap_or_else(|| Ipv6Net::from(address));
        let deprecated = !is_live(preferred_until, now);
        state.addresses.push(Address { net, origin, deprecated, preferred_until, valid_until });
    }
}
