//! Time, and what follows from anything that happened.

use std::net::Ipv6Addr;

use super::{Client, Event, LINK_LOCAL};
use crate::random::Random;
use crate::time::Instant;
use crate::v4::ConflictCheck;
use crate::v6::config::Mode;
use crate::v6::dhcp::Dhcp;

/// How often another link-local address is made after a conflict (RFC 7217: `IDGEN_RETRIES`).
const MAX_CONFLICTS: u8 = 3;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// Something that was told is over.
    End,
    /// What was not repeated is of another network.
    Doubt,
    /// No router so far.
    Patience,
    /// Probing and announcing.
    Watch,
    /// Asking routers.
    Solicit,
    /// The end of waiting for their answers.
    Listen,
    /// The servers'.
    Dhcp,
    /// The link has come up.
    Link,
}

impl<R: Random> Client<R> {
    /// Does everything that is due and everything that follows, and tells what is different then.
    pub(super) fn settle(&mut self, now: Instant) {
        self.clock = self.clock.max(now);
        loop {
            self.expire(now);
            self.resolve_conflicts(now);
            if !self.sync_watch(now) {
                continue;
            }
            match self.next_timer() {
                Some((at, timer)) if at <= now => self.run(now, timer),
                _ => break,
            }
        }
        self.publish(now);
    }

    pub(super) fn next_timer(&self) -> Option<(Instant, Timer)> {
        // Without an address to send from, servers are not asked.
        let dhcp = self.dhcp.poll_timeout().filter(|_| self.watch.is_clear(self.link_local.address));
        if self.stopped {
            return dhcp.map(|at| (at, Timer::Dhcp));
        }
        let ends = self.advertised.ends().chain(self.slaac.ends()).chain(self.dhcp.ends());
        let end = ends.filter(|&end| end > self.clock).min();
        let solicit = self.solicit_from().map(|_| self.solicitor.due());
        [
            (end, Timer::End),
            (self.doubt_until, Timer::Doubt),
            (self.patience, Timer::Patience),
            (self.watch.poll_timeout(), Timer::Watch),
            (solicit, Timer::Solicit),
            (self.solicitor.listen_until(), Timer::Listen),
            (dhcp, Timer::Dhcp),
            (self.link_up, Timer::Link),
        ]
        .into_iter()
        .filter_map(|(at, timer)| Some((at?, timer)))
        .min_by_key(|(at, _)| *at)
    }

    fn run(&mut self, now: Instant, timer: Timer) {
        match timer {
            // `expire` did it.
            Timer::End => {}
            Timer::Doubt => {
                self.doubt_until = None;
                self.advertised.drop_doubted();
                self.slaac.drop_doubted();
            }
            Timer::Patience => {
                self.patience = None;
                if self.config.mode == Mode::Auto {
                    self.dhcp.want_addresses(now);
                }
            }
            Timer::Watch => {
                if let Some(out) = self.watch.handle_timeout(now, &mut self.rng) {
                    self.send_watch(&out);
                }
            }
            Timer::Solicit => {
                if let Some(src) = self.solicit_from() {
                    self.solicitor.asked(now, &mut self.rng);
                    self.send_router_solicitation(src);
                }
            }
            Timer::Listen => self.solicitor.stop_listening(now),
            Timer::Dhcp => self.with_dhcp(now, Dhcp::handle_timeout),
            Timer::Link => self.ask_over(now),
        }
    }

    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Instant) {
        self.advertised.expire(now);
        self.slaac.expire(now);
        self.dhcp.expire(now);
    }

    /// From where routers are asked; `None`: not now. A fast check of the link-local address is worth waiting for:
    /// asked from an address, a router can answer to it alone and need not wait for the next round of advertisements.
    fn solicit_from(&self) -> Option<Ipv6Addr> {
        let own = self.link_local.address;
        if self.watch.is_clear(own) {
            Some(own)
        } else {
            let short = self.config.conflict_check == ConflictCheck::Fast && !self.watch.is_contested(own);
            (!short).then_some(Ipv6Addr::UNSPECIFIED)
        }
    }

    /// Does without the addresses that others have.
    fn resolve_conflicts(&mut self, now: Instant) {
        let own = self.link_local;
        if self.watch.is_contested(own.address)
            && self.config.interface_id.has_next()
            && own.conflicts < MAX_CONFLICTS
        {
            self.link_local.conflicts += 1;
            self.link_local.address =
                self.config.interface_id.address(self.config.mac, LINK_LOCAL, self.link_local.conflicts);
        }
        let contested: Vec<_> =
            self.wanted().into_iter().filter(|&address| self.watch.is_contested(address)).collect();
        for address in contested {
            self.slaac.replace(&self.config, address);
            self.with_dhcp(now, |dhcp, io| dhcp.decline(io, address));
        }
    }

    /// Watches the addresses that are used or about to be, and no others. `false`: a new one is taken.
    pub(super) fn sync_watch(&mut self, now: Instant) -> bool {
        if self.stopped {
            return true;
        }
        let wanted = self.wanted();
        self.watch.retain(&wanted);
        let mut free = true;
        for address in wanted {
            if !self.watch.want(now, address, &mut self.rng) {
                self.events.push_back(Event::Refused { address });
                free = false;
            }
        }
        free
    }
}
