//! What is asked, and asked again.

use std::net::Ipv6Addr;

use super::exchange::Exchange;
use super::grant::Offer;
use super::{Dhcp, Io, State, addresses, messages};
use crate::backoff;
use crate::random::Random;
use crate::time::Instant;
use crate::v6::table::is_live;
use crate::v6::timing::{Rhythm, Terms};
use crate::wire::dhcpv6::{Duid, MessageType};

impl Dhcp {
    pub(super) fn begin_solicit<R: Random>(&mut self, io: &mut Io<'_, R>) {
        let exchange = Exchange::new(io.now, Rhythm::solicit(self.solicit_max), io.rng);
        self.send_solicit(io, exchange);
    }

    pub(super) fn send_solicit<R: Random>(&mut self, io: &mut Io<'_, R>, exchange: Exchange) {
        io.out.push(messages::solicit(io.config, &exchange, io.now, &self.requested));
        self.state = State::Soliciting { exchange, best: None };
    }

    pub(super) fn begin_request<R: Random>(&mut self, io: &mut Io<'_, R>, offer: Offer) {
        let exchange = Exchange::new(io.now, Rhythm::REQUEST, io.rng);
        self.send_request(io, exchange, offer);
    }

    pub(super) fn send_request<R: Random>(&mut self, io: &mut Io<'_, R>, exchange: Exchange, offer: Offer) {
        io.out.push(messages::request(io.config, &exchange, io.now, &offer.server, &offer.addresses));
        self.state = State::Requesting { exchange, offer };
    }

    /// A lease from before, on a link that has just come up.
    pub(super) fn begin_confirm<R: Random>(&mut self, io: &mut Io<'_, R>) {
        let exchange = Exchange::new(io.now, Rhythm::confirm(io.now), io.rng);
        self.send_confirm(io, exchange);
    }

    pub(super) fn send_confirm<R: Random>(&mut self, io: &mut Io<'_, R>, exchange: Exchange) {
        let addresses = addresses(self.lease.as_ref());
        io.out.push(messages::confirm(io.config, &exchange, io.now, &addresses));
        self.state = State::Confirming { exchange };
    }

    /// RENEWING, or whatever the clock says is right instead.
    pub(super) fn begin_renew<R: Random>(&mut self, io: &mut Io<'_, R>) {
        let Some(lease) = &self.lease else {
            self.state = State::Init { until: io.now };
            return;
        };
        if Terms::is_rebinding(lease.t2, io.now) {
            let rhythm = Rhythm::extend(io.now, lease.expires());
            let exchange = Exchange::new(io.now, rhythm, io.rng);
            return self.send_rebind(io, exchange);
        }
        let early = is_live(lease.t1, io.now);
        let rhythm = if early { Rhythm::EARLY } else { Rhythm::extend(io.now, lease.t2) };
        let exchange = Exchange::new(io.now, rhythm, io.rng);
        self.send_renew(io, exchange, early);
    }

    pub(super) fn renew_again<R: Random>(&mut self, io: &mut Io<'_, R>, exchange: Exchange, early: bool) {
        let lease = self.lease.as_ref();
        let t1_passed = lease.is_some_and(|lease| !is_live(lease.t1, io.now));
        let t2_passed = lease.is_none_or(|lease| Terms::is_rebinding(lease.t2, io.now));
        if t2_passed || (early && t1_passed) {
            return self.begin_renew(io);
        }
        match exchange.again(io.now, io.rng) {
            Some(exchange) => self.send_renew(io, exchange, early),
            None => self.state = State::Bound,
        }
    }

    pub(super) fn send_renew<R: Random>(&mut self, io: &mut Io<'_, R>, exchange: Exchange, early: bool) {
        let Some(lease) = &self.lease else { return };
        let addresses = addresses(Some(lease));
        io.out.push(messages::extend(io.config, &exchange, io.now, Some(&lease.server), &addresses));
        self.state = State::Renewing { exchange, early };
    }

    pub(super) fn send_rebind<R: Random>(&mut self, io: &mut Io<'_, R>, exchange: Exchange) {
        let addresses = addresses(self.lease.as_ref());
        io.out.push(messages::extend(io.config, &exchange, io.now, None, &addresses));
        self.state = State::Rebinding { exchange };
    }

    /// The end of rebinding is the end of the last address.
    pub(super) fn lose_overdue(&mut self, now: Instant) {
        self.lease = None;
        self.start_over(now);
    }

    pub(super) fn send_decline<R: Random>(
        &mut self,
        io: &mut Io<'_, R>,
        exchange: Exchange,
        server: Duid,
        address: Ipv6Addr,
    ) {
        let kind = MessageType::Decline;
        io.out.push(messages::give_back(io.config, &exchange, io.now, kind, &server, &[address]));
        self.state = State::Declining { exchange, server, address };
    }

    /// The rest of the lease is used; without a rest another one is looked for, not too often.
    pub(super) fn after_decline(&mut self, now: Instant) {
        let count = self.conflicts.map_or(0, |(count, _)| count);
        self.state = match self.lease {
            Some(_) => State::Bound,
            None => State::Init { until: now + backoff::declined_wait(count) },
        };
    }

    pub(super) fn send_release<R: Random>(
        &mut self,
        io: &mut Io<'_, R>,
        exchange: Exchange,
        server: Duid,
        addresses: Vec<Ipv6Addr>,
    ) {
        let kind = MessageType::Release;
        io.out.push(messages::give_back(io.config, &exchange, io.now, kind, &server, &addresses));
        self.state = State::Releasing { exchange, server, addresses };
    }

    pub(super) fn begin_inform<R: Random>(&mut self, io: &mut Io<'_, R>) {
        let exchange = Exchange::new(io.now, Rhythm::inform(self.inform_max), io.rng);
        self.send_inform(io, exchange);
    }

    pub(super) fn send_inform<R: Random>(&mut self, io: &mut Io<'_, R>, exchange: Exchange) {
        io.out.push(messages::inform(io.config, &exchange, io.now));
        self.state = State::Informing { exchange };
    }
}
