//! What a client sends, and what it does about silence.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Client, LossReason, State, Transmit};
use crate::backoff::EARLY_TRIES;
use crate::random::Random;
use crate::time::Instant;
use crate::v4::exchange::Exchange;
use crate::v4::grant::Offer;
use crate::v4::guard::Guard;
use crate::v4::messages;
use crate::v4::timing::{self, REBOOT_WAITS, REQUEST_WAITS, SAME_XID_TRIES};
use crate::wire::dhcpv4::Repr;

impl<R: Random> Client<R> {
    /// INIT: looks for servers.
    pub(super) fn begin_discover(&mut self, now: Instant) {
        // A guard of an address that is still used stays; one that was only probing is over.
        let used = self.held.as_ref().map(|lease| lease.address);
        self.guard = self.guard.take().filter(|guard| Some(guard.address()) == used && guard.is_in_use());
        let exchange = Exchange::new(now, &mut self.rng);
        self.send_discover(now, exchange);
    }

    pub(super) fn discover_again(&mut self, now: Instant) {
        let State::Selecting(mut exchange) = self.state else { return };
        if exchange.tries < SAME_XID_TRIES {
            exchange.again(now);
        } else {
            exchange.again_anew(now, &mut self.rng);
        }
        self.send_discover(now, exchange);
    }

    fn send_discover(&mut self, now: Instant, mut exchange: Exchange) {
        exchange.wait(now, timing::discover_wait(&mut self.rng, exchange.tries));
        self.broadcast(Ipv4Addr::UNSPECIFIED, &messages::discover(&self.config, &exchange, self.requested));
        self.state = State::Selecting(exchange);
    }

    /// SELECTING: takes an offer, and asks the link about its address meanwhile.
    pub(super) fn begin_take(&mut self, now: Instant, mut exchange: Exchange, offer: Offer) {
        exchange.follow_up(now);
        self.renew_when_bound = false;
        self.send_take(now, exchange, offer);
        self.begin_probe(now, offer.address);
    }

    pub(super) fn take_again(&mut self, now: Instant) {
        let State::Requesting { mut exchange, offer } = self.state else { return };
        if usize::try_from(exchange.tries).is_ok_and(|tries| tries < REQUEST_WAITS.len()) {
            exchange.tries += 1; // `secs` stays that of the DISCOVER
            self.send_take(now, exchange, offer);
        } else {
            self.start_over_refused(now);
        }
    }

    fn send_take(&mut self, now: Instant, mut exchange: Exchange, offer: Offer) {
        exchange.wait(now, nth(&REQUEST_WAITS, exchange.tries));
        self.broadcast(
            Ipv4Addr::UNSPECIFIED,
            &messages::take(&self.config, &exchange, offer.address, offer.server),
        );
        self.state = State::Requesting { exchange, offer };
    }

    /// INIT-REBOOT: asks for a known address, and asks the link about it meanwhile.
    pub(super) fn begin_reboot(&mut self, now: Instant, address: Ipv4Addr, server: Option<Ipv4Addr>) {
        let exchange = Exchange::new(now, &mut self.rng);
        self.renew_when_bound = false;
        self.send_reboot(now, exchange, address, server);
        self.begin_probe(now, address);
    }

    pub(super) fn reboot_again(&mut self, now: Instant) {
        let State::Rebooting { mut exchange, address, server, .. } = self.state else { return };
        if usize::try_from(exchange.tries).is_ok_and(|tries| tries < REBOOT_WAITS.len()) {
            exchange.again(now);
            self.send_reboot(now, exchange, address, server);
        } else {
            self.handle_reboot_silence(now, address, server);
        }
    }

    fn send_reboot(
        &mut self,
        now: Instant,
        mut exchange: Exchange,
        address: Ipv4Addr,
        server: Option<Ipv4Addr>,
    ) {
        exchange.wait(now, nth(&REBOOT_WAITS, exchange.tries));
        self.broadcast(Ipv4Addr::UNSPECIFIED, &messages::reboot(&self.config, &exchange, address));
        self.state = State::Rebooting { exchange, address, server, refused: None };
    }

    /// Nobody knows the address. If its lease lives it stays in use while a server is looked for.
    fn handle_reboot_silence(&mut self, now: Instant, address: Ipv4Addr, server: Option<Ipv4Addr>) {
        if self.guard.as_ref().is_some_and(|guard| guard.contested().is_some()) {
            return self.decline(now, address, server, LossReason::Conflict);
        }
        if self.overdue {
            self.lose(LossReason::Expired);
        }
        self.requested = Some(address);
        self.begin_discover(now);
    }

    /// RENEWING, or whatever the clock says is right instead.
    pub(super) fn begin_renew(&mut self, now: Instant) {
        let Some(lease) = &self.held else { return self.begin_discover(now) };
        if lease.t2.is_some_and(|t2| t2 <= now) {
            return self.begin_rebind(now);
        }
        let early = lease.t1.is_none_or(|t1| now < t1);
        let exchange = Exchange::new(now, &mut self.rng);
        self.send_renew(now, exchange, early);
    }

    pub(super) fn renew_again(&mut self, now: Instant) {
        let State::Renewing { mut exchange, early } = self.state else { return };
        let Some(lease) = &self.held else { return self.begin_discover(now) };
        if lease.t2.is_some_and(|t2| t2 <= now) {
            return self.begin_rebind(now);
        }
        if early && lease.t1.is_some_and(|t1| t1 <= now) {
            return self.begin_renew(now);
        }
        if early && exchange.tries >= EARLY_TRIES {
            self.state = State::Bound;
            return;
        }
        exchange.again_anew(now, &mut self.rng);
        self.send_renew(now, exchange, early);
    }

    fn send_renew(&mut self, now: Instant, mut exchange: Exchange, early: bool) {
        let Some(lease) = &self.held else { return };
        let wait = match (early, lease.t2) {
            (false, Some(t2)) => timing::renewal_wait(now, t2, lease_time(lease.obtained, lease.expires)),
            _ => timing::discover_wait(&mut self.rng, exchange.tries.saturating_add(1)),
        };
        exchange.wait(now, wait);
        let (address, server) = (lease.address, lease.server);
        let payload = messages::extend(&self.config, &exchange, address).emit();
        self.transmits.push_back(Transmit::Dhcp { src: address, dst: server, payload });
        self.state = State::Renewing { exchange, early };
    }

    /// REBINDING.
    pub(super) fn begin_rebind(&mut self, now: Instant) {
        let exchange = Exchange::new(now, &mut self.rng);
        self.send_rebind(now, exchange);
    }

    pub(super) fn rebind_again(&mut self, now: Instant) {
        let State::Rebinding { mut exchange, .. } = self.state else { return };
        exchange.again_anew(now, &mut self.rng);
        self.send_rebind(now, exchange);
    }

    fn send_rebind(&mut self, now: Instant, mut exchange: Exchange) {
        let Some(lease) = &self.held else { return self.begin_discover(now) };
        // A lease that has no end has no T2 either, so this never waits for ever.
        let end = lease.expires.unwrap_or(now);
        exchange.wait(now, timing::renewal_wait(now, end, lease_time(lease.obtained, lease.expires)));
        let address = lease.address;
        self.broadcast(address, &messages::extend(&self.config, &exchange, address));
        self.state = State::Rebinding { exchange, refused: None };
    }

    /// DECLINE.
    pub(super) fn send_decline(&mut self, address: Ipv4Addr, server: Ipv4Addr) {
        let xid = self.rng.next_u32();
        self.broadcast(Ipv4Addr::UNSPECIFIED, &messages::decline(&self.config, xid, address, server));
    }

    /// RELEASE.
    pub(super) fn send_release(&mut self, address: Ipv4Addr, server: Ipv4Addr) {
        let xid = self.rng.next_u32();
        let payload = messages::release(&self.config, xid, address, server).emit();
        self.transmits.push_back(Transmit::Dhcp { src: address, dst: server, payload });
    }

    fn broadcast(&mut self, src: Ipv4Addr, message: &Repr) {
        let payload = message.emit();
        self.transmits.push_back(Transmit::Dhcp { src, dst: Ipv4Addr::BROADCAST, payload });
    }

    pub(super) fn begin_probe(&mut self, now: Instant, address: Ipv4Addr) {
        // One that is taken will be declined whatever the link says.
        if self.config.taken.contains(address) {
            self.guard = None;
            return;
        }
        self.guard = Guard::probe(self.config.conflict_check, self.config.mac, address, now, &mut self.rng);
    }
}

/// The wait after the `tries`th message (from 1).
fn nth(waits: &[Duration], tries: u32) -> Duration {
    let at = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
    waits.get(at).or(waits.last()).copied().unwrap_or_default()
}

fn lease_time(obtained: Instant, expires: Option<Instant>) -> Duration {
    expires.map_or(Duration::MAX, |end| end.saturating_since(obtained))
}
