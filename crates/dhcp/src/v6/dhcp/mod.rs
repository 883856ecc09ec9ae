//! The DHCPv6 part of a client (RFC 9915 section 18.2).
//!
//! ```text
//!  INIT ──Solicit──▶ SOLICITING ──Advertise──▶ REQUESTING ──Reply──▶ BOUND ──T1──▶ RENEWING ──Reply──▶ BOUND
//!   ▲                    └──Reply (rapid commit)───────────────────────▲  └──T2──▶ REBINDING ──Reply──▶ BOUND
//!   │                                             CONFIRMING ──Reply───┘
//!   └── expiry, refusal, conflict (Decline), not on this link (Confirm)
//!  OFF ──Information-request──▶ INFORMING ──Reply──▶ INFORMED
//! ```
//!
//! This file is the clock's side and the client's; `asking` is what is sent, `replies` what servers answer.

mod asking;
mod exchange;
mod grant;
mod messages;
mod replies;

use std::net::Ipv6Addr;

use exchange::Exchange;
use grant::Offer;

use super::client::StateName;
use super::config::Config;
use super::lease::{Information, Lease};
use super::table::is_live;
use super::timing::{MAX_RT, Rhythm};
use crate::backoff::{self, CONFLICTS_IN_A_ROW, REFUSALS_IN_A_ROW};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::dhcpv6::{Duid, Message};

/// What a call needs of the client around it.
pub(super) struct Io<'a, R> {
    pub(super) config: &'a Config,
    pub(super) rng: &'a mut R,
    pub(super) now: Instant,
    /// Messages to send to all servers.
    pub(super) out: &'a mut Vec<Message>,
}

/// The association, the parameters, and what is being asked.
#[derive(Debug)]
pub(super) struct Dhcp {
    state: State,
    /// Independent of `state`: it lives on while servers are asked again.
    pub(super) lease: Option<Lease>,
    pub(super) information: Option<Information>,
    /// Addresses to request.
    requested: Vec<Ipv6Addr>,
    /// Refusals, unanswered requests and ends of leases in a row, and when the last was.
    refusals: Option<(u32, Instant)>,
    /// Conflicts in a row, and when the last was.
    conflicts: Option<(u32, Instant)>,
    /// The servers' `SOL_MAX_RT` and `INF_MAX_RT`, in seconds.
    solicit_max: u32,
    inform_max: u32,
}

#[derive(Debug)]
enum State {
    /// Not wanted.
    Off,
    /// Will look for servers at that time.
    Init { until: Instant },
    /// Solicit is out; `best` is the best offer until it is taken at `choose`.
    Soliciting { exchange: Exchange, best: Option<(Offer, Instant)> },
    /// Request is out.
    Requesting { exchange: Exchange, offer: Offer },
    /// Confirm is out.
    Confirming { exchange: Exchange },
    /// `lease` is there. So in the next two.
    Bound,
    /// Renew is out; `early` if T1 is still ahead.
    Renewing { exchange: Exchange, early: bool },
    /// Rebind is out.
    Rebinding { exchange: Exchange },
    /// Decline is out.
    Declining { exchange: Exchange, server: Duid, address: Ipv6Addr },
    /// Release is out; nothing comes after it.
    Releasing { exchange: Exchange, server: Duid, addresses: Vec<Ipv6Addr> },
    /// Information-request is out.
    Informing { exchange: Exchange },
    /// Parameters are there.
    Informed,
}

impl Dhcp {
    pub(super) const fn new(requested: Vec<Ipv6Addr>) -> Self {
        Self {
            state: State::Off,
            lease: None,
            information: None,
            requested,
            refusals: None,
            conflicts: None,
            solicit_max: MAX_RT,
            inform_max: MAX_RT,
        }
    }

    /// Addresses are wanted.
    pub(super) fn want_addresses(&mut self, now: Instant) {
        if matches!(self.state, State::Off | State::Informing { .. } | State::Informed) {
            self.state = State::Init { until: now };
        }
    }

    /// Addresses are not wanted after all, as long as there are none.
    pub(super) fn drop_requested(&mut self) {
        if self.lease.is_none() && matches!(self.state, State::Init { .. } | State::Soliciting { .. }) {
            self.state = State::Off;
        }
    }

    /// Parameters are wanted.
    pub(super) fn want_information<R: Random>(&mut self, io: &mut Io<'_, R>) {
        if matches!(self.state, State::Off) {
            self.begin_inform(io);
        }
    }

    /// Goes on with what was there before a restart of the program.
    pub(super) fn resume(&mut self, lease: Option<Lease>, information: Option<Information>) {
        self.state = match (&lease, &information) {
            (Some(_), _) => State::Bound,
            (None, Some(_)) => State::Informed,
            (None, None) => State::Off,
        };
        self.requested = addresses(lease.as_ref());
        (self.lease, self.information) = (lease, information);
    }

    /// The link came up, perhaps on another network: what is there has to be confirmed.
    pub(super) fn restart<R: Random>(&mut self, io: &mut Io<'_, R>) {
        match self.state {
            State::Bound | State::Renewing { .. } | State::Rebinding { .. } | State::Confirming { .. } => {
                self.begin_confirm(io);
            }
            State::Soliciting { .. } | State::Requesting { .. } => self.begin_solicit(io),
            State::Informing { .. } | State::Informed => self.begin_inform(io),
            State::Off | State::Init { .. } | State::Declining { .. } | State::Releasing { .. } => {}
        }
    }

    /// Asks again now, before it is time.
    pub(super) fn renew<R: Random>(&mut self, io: &mut Io<'_, R>) {
        match self.state {
            State::Bound | State::Renewing { .. } => self.begin_renew(io),
            State::Informed => self.begin_inform(io),
            _ => {}
        }
    }

    /// Gives everything back; afterwards nothing happens any more but repetitions of that.
    pub(super) fn release<R: Random>(&mut self, io: &mut Io<'_, R>) {
        let asked = match &self.state {
            State::Requesting { offer, .. } => Some((offer.server.clone(), offer.addresses.clone())),
            _ => None,
        };
        let held = self.lease.take().map(|lease| (lease.server.clone(), addresses(Some(&lease))));
        self.information = None;
        self.state = State::Off;
        if let Some((server, addresses)) = held.or(asked).filter(|(_, addresses)| !addresses.is_empty()) {
            let exchange = Exchange::new(io.now, Rhythm::RETURN, io.rng);
            self.send_release(io, exchange, server, addresses);
        }
    }

    /// Somebody else has an address of the lease.
    pub(super) fn decline<R: Random>(&mut self, io: &mut Io<'_, R>, address: Ipv6Addr) {
        let Some(lease) = &mut self.lease else { return };
        let before = lease.addresses.len();
        lease.addresses.retain(|leased| leased.address != address);
        if lease.addresses.len() == before {
            return;
        }
        let server = lease.server.clone();
        self.requested.retain(|&requested| requested != address);
        if lease.addresses.is_empty() {
            self.lease = None;
        }
        let before = self.conflicts.filter(|(_, last)| io.now.saturating_since(*last) < CONFLICTS_IN_A_ROW);
        let count = before.map_or(0, |(count, _)| count).saturating_add(1);
        self.conflicts = Some((count, io.now));
        let exchange = Exchange::new(io.now, Rhythm::RETURN, io.rng);
        self.send_decline(io, exchange, server, address);
    }

    /// Forgets addresses that are over.
    pub(super) fn expire(&mut self, now: Instant) {
        let Some(lease) = &mut self.lease else { return };
        self.requested = addresses(Some(lease));
        lease.addresses.retain(|leased| is_live(leased.valid_until, now));
        if lease.addresses.is_empty() {
            self.lose(now);
        }
    }

    /// There is no lease any more: looks for another one.
    fn lose(&mut self, now: Instant) {
        self.lease = None;
        if matches!(
            self.state,
            State::Bound | State::Renewing { .. } | State::Rebinding { .. } | State::Confirming { .. }
        ) {
            self.start_over(now);
        }
    }

    /// When things end.
    pub(super) fn ends(&self) -> impl Iterator<Item = Instant> {
        let leased = self.lease.iter().flat_map(|lease| &lease.addresses);
        leased.flat_map(|leased| [leased.preferred_until, leased.valid_until]).flatten()
    }

    /// Where it is.
    pub(super) fn name(&self) -> StateName {
        match self.state {
            State::Off => StateName::Off,
            State::Init { .. } => StateName::Init,
            State::Soliciting { .. } => StateName::Soliciting,
            State::Requesting { .. } => StateName::Requesting,
            State::Confirming { .. } => StateName::Confirming,
            State::Bound => StateName::Bound,
            State::Renewing { .. } => StateName::Renewing,
            State::Rebinding { .. } => StateName::Rebinding,
            State::Declining { .. } => StateName::Declining,
            State::Releasing { .. } => StateName::Releasing,
            State::Informing { .. } => StateName::Informing,
            State::Informed => StateName::Informed,
        }
    }

    /// The addresses that are used or about to be. Not those that are only offered: servers may offer one address to
    /// two clients at once, and two that probe for it would both take the other for its holder.
    pub(super) fn wanted(&self) -> Vec<Ipv6Addr> {
        addresses(self.lease.as_ref())
    }

    /// Whether answers are waited for.
    pub(super) fn is_asking(&self) -> bool {
        !matches!(self.state, State::Off | State::Init { .. } | State::Bound | State::Informed)
    }

    /// Whether there is as much as there is going to be for now.
    pub(super) fn is_settled(&self) -> bool {
        matches!(
            self.state,
            State::Off | State::Bound | State::Renewing { .. } | State::Rebinding { .. } | State::Informed
        )
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let lease = self.lease.as_ref();
        match &self.state {
            State::Off => None,
            State::Init { until } => Some(*until),
            State::Soliciting { exchange, best } => {
                Some(best.as_ref().map_or(exchange.due, |(_, choose)| exchange.due.min(*choose)))
            }
            State::Bound => lease.and_then(|lease| lease.t1),
            State::Renewing { exchange, early } => {
                let phase_end = lease.and_then(|lease| if *early { lease.t1 } else { lease.t2 });
                Some(phase_end.map_or(exchange.due, |end| end.min(exchange.due)))
            }
            State::Requesting { exchange, .. }
            | State::Confirming { exchange }
            | State::Rebinding { exchange }
            | State::Declining { exchange, .. }
            | State::Releasing { exchange, .. }
            | State::Informing { exchange } => Some(exchange.due),
            State::Informed => self.information.as_ref().and_then(|information| information.refresh),
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout<R: Random>(&mut self, io: &mut Io<'_, R>) {
        match std::mem::replace(&mut self.state, State::Off) {
            State::Off => {}
            State::Init { .. } => self.begin_solicit(io),
            State::Soliciting { best: Some((offer, choose)), exchange }
                if choose <= io.now || exchange.due <= io.now =>
            {
                self.begin_request(io, offer);
            }
            State::Soliciting { exchange, best } => match exchange.again(io.now, io.rng) {
                Some(exchange) => self.send_solicit(io, exchange),
                None => self.state = State::Soliciting { exchange, best },
            },
            State::Requesting { exchange, offer } => match exchange.again(io.now, io.rng) {
                Some(exchange) => self.send_request(io, exchange, offer),
                None => self.start_over(io.now),
            },
            State::Confirming { exchange } => match exchange.again(io.now, io.rng) {
                Some(exchange) => self.send_confirm(io, exchange),
                // Nobody objects: it may be used (RFC 9915 section 18.2.3).
                None => self.state = State::Bound,
            },
            State::Bound => self.begin_renew(io),
            State::Renewing { exchange, early } => self.renew_again(io, exchange, early),
            State::Rebinding { exchange } => match exchange.again(io.now, io.rng) {
                Some(exchange) => self.send_rebind(io, exchange),
                None => self.lose_overdue(io.now),
            },
            State::Declining { exchange, server, address } => match exchange.again(io.now, io.rng) {
                Some(exchange) => self.send_decline(io, exchange, server, address),
                None => self.after_decline(io.now),
            },
            State::Releasing { exchange, server, addresses } => {
                if let Some(exchange) = exchange.again(io.now, io.rng) {
                    self.send_release(io, exchange, server, addresses);
                }
            }
            State::Informing { exchange } => {
                if let Some(exchange) = exchange.again(io.now, io.rng) {
                    self.send_inform(io, exchange);
                }
            }
            State::Informed => self.begin_inform(io),
        }
    }

    /// After a refusal, a server that offers but does not grant, or the end of a lease: at once, then with growing pauses. A
    /// grant in between does not count: a server that grants and refuses in turn would make a client talk without end.
    fn start_over(&mut self, now: Instant) {
        let before = self.refusals.filter(|(_, last)| now.saturating_since(*last) < REFUSALS_IN_A_ROW);
        let count = before.map_or(0, |(count, _)| count).saturating_add(1);
        self.refusals = Some((count, now));
        self.state = State::Init { until: now + backoff::refused_wait(count) };
    }
}

fn addresses(lease: Option<&Lease>) -> Vec<Ipv6Addr> {
    lease.into_iter().flat_map(|lease| &lease.addresses).map(|leased| leased.address).collect()
}
