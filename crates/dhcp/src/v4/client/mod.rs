//! The client's state machine.
//!
//! ```text
//!  INIT ──DISCOVER──▶ SELECTING ──OFFER──▶ REQUESTING ──ACK──▶ CHECKING ──nobody has it──▶ BOUND
//!   ▲                                                 REBOOTING ──ACK──▶ CHECKING            │ T1
//!   │                                                     │                             RENEWING ──ACK──▶ BOUND
//!   └──── NAK, expiry, conflict, silence ─────────────────┴──────────────────────────── REBINDING ──ACK──▶ BOUND
//! ```
//!
//! This file is the caller's side and the clock's; `replies` is the servers', `address` is what becomes of the
//! address, `asking` what is sent.

mod address;
mod asking;
mod event;
mod replies;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

pub use event::{Event, LossReason, StateName, Transmit, Unusable};

use super::config::Config;
use super::exchange::Exchange;
use super::grant::Offer;
use super::guard::Guard;
use super::lease::{Lease, Remembered};
use super::options::is_host;
use crate::link_up::asking_over;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::arp;
use crate::wire::dhcpv4::{Packet, Repr};

/// A DHCPv4 client for one address.
///
/// Every call that takes the time may queue packets and events; drain them afterwards (see the crate's
/// documentation).
#[derive(Debug)]
pub struct Client<R> {
    config: Config,
    rng: R,
    state: State,
    /// What the caller may use. Independent of `state`: a lease lives on while its address is requested again.
    held: Option<Lease>,
    /// Whether the caller was told of `held` by [`Event::Bound`], or told us.
    told: bool,
    /// `held` is over, but nobody was awake to renew it: it is kept for the moment that asking again takes.
    overdue: bool,
    guard: Option<Guard>,
    /// The address to request in DISCOVER.
    requested: Option<Ipv4Addr>,
    /// The host name changed while a question with the old one was out.
    renew_when_bound: bool,
    /// The link has come up, and is to be asked over again at that time.
    link_up: Option<Instant>,
    /// When that was last done.
    asked_over: Option<Instant>,
    /// What was wrong with the last answer that could not be used, until one can.
    unusable: Option<Unusable>,
    /// Refusals, unanswered requests and ends of leases in a row, and when the last was.
    refusals: Option<(u32, Instant)>,
    /// Conflicts in a row, and when the last was.
    conflicts: Option<(u32, Instant)>,
    /// Servers that granted a taken address, and which; the newest last.
    refused: VecDeque<(Ipv4Addr, Ipv4Addr)>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    /// Nothing happens until somebody says so.
    Stopped,
    /// Will look for servers at that time.
    Init { until: Instant },
    /// DISCOVER is out.
    Selecting(Exchange),
    /// REQUEST for an offer is out.
    Requesting { exchange: Exchange, offer: Offer },
    /// REQUEST for a remembered address is out.
    Rebooting { exchange: Exchange, address: Ipv4Addr, server: Option<Ipv4Addr>, refused: Option<Instant> },
    /// Granted, but not known to be free.
    Checking { lease: Lease },
    /// `held` is used. So in the following.
    Bound,
    /// REQUEST to its server is out; `early` if T1 is still ahead.
    Renewing { exchange: Exchange, early: bool },
    /// REQUEST to any server is out.
    Rebinding { exchange: Exchange, refused: Option<Instant> },
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// The state's own.
    State,
    /// The end of `held`.
    Expiry,
    /// The guard's.
    Guard,
    /// The link's.
    Link,
}

impl<R: Random> Client<R> {
    /// Begins to get an address; the first message is there to be sent at once.
    ///
    /// With something remembered that address is asked for first (INIT-REBOOT), for two seconds. If it is a lease
    /// that is still live the caller may use the address from now on, and [`lease`](Self::lease) says so: servers
    /// that have lost their memory stay silent, and RFC 2131 section 4.4.2 lets a client go on. It is confirmed by
    /// [`Event::Bound`] and taken away by [`Event::Lost`]. While no server confirms it the client looks for another
    /// lease, and the address can be used until its time is over.
    pub fn start(config: Config, remembered: Option<Remembered>, now: Instant, rng: R) -> Self {
        let mut client = Self::idle(config, rng);
        let usable =
            |known: &Remembered| is_host(known.address()) && !client.config.taken.contains(known.address());
        match remembered.filter(usable) {
            Some(Remembered::Lease(lease)) => {
                let (address, server) = (lease.address, lease.server);
                client.held = lease.is_live(now).then_some(*lease);
                client.begin_reboot(now, address, Some(server));
            }
            Some(Remembered::Address(address)) => client.begin_reboot(now, address, None),
            None => client.begin_discover(now),
        }
        client.run_due(now);
        client
    }

    /// Goes on with a lease whose address the caller uses already, after a restart of the program. Nothing is sent
    /// before T1. If the lease ended meanwhile its address is asked for again (INIT-REBOOT), and goes away with a
    /// refusal or two seconds of silence.
    pub fn resume(config: Config, lease: Lease, now: Instant, rng: R) -> Self {
        let mut client = Self::idle(config, rng);
        client.guard = Guard::keep(client.config.conflict_check, client.config.mac, lease.address);
        client.held = Some(lease);
        client.told = true;
        client.state = State::Bound;
        client.run_due(now);
        client
    }

    fn idle(config: Config, rng: R) -> Self {
        Self {
            requested: config.requested.filter(|&address| is_host(address)),
            config,
            rng,
            state: State::Stopped,
            held: None,
            told: false,
            overdue: false,
            guard: None,
            renew_when_bound: false,
            link_up: None,
            asked_over: None,
            unusable: None,
            refusals: None,
            conflicts: None,
            refused: VecDeque::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A UDP payload that came to the client's port. Anything that is not an answer to what is outstanding is
    /// ignored.
    pub fn handle_datagram(&mut self, now: Instant, src: SocketAddrV4, payload: &[u8]) {
        if let Some(reply) = Packet::parse(payload).and_then(|packet| Repr::parse(&packet)) {
            self.handle_reply(now, *src.ip(), &reply);
        }
        self.run_due(now);
    }

    /// An ARP packet that came by. Those that this host sent itself are for the caller to leave out.
    pub fn handle_arp(&mut self, now: Instant, packet: impl Into<arp::Heard>) {
        self.watch_arp(now, &packet.into());
        self.run_due(now);
    }

    /// Whether an ARP packet is about an address that is being checked or defended. Others change nothing.
    pub fn is_about_address(&self, packet: &arp::Packet) -> bool {
        let about = |address| packet.sender_ip == address || packet.target_ip == address;
        self.guard.as_ref().is_some_and(|guard| about(guard.address()))
    }

    /// Does what is due. To be called at [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.run_due(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; `None`: never.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer().map(|(at, _)| at)
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The lease whose address may be used now.
    pub fn lease(&self) -> Option<&Lease> {
        self.held.as_ref()
    }

    /// What was wrong with the last answer that could not be used; `None`: nothing, or there is a lease since.
    pub fn unusable(&self) -> Option<Unusable> {
        self.unusable
    }

    /// Which state the client is in.
    pub fn state(&self) -> StateName {
        match self.state {
            State::Stopped => StateName::Stopped,
            State::Init { .. } => StateName::Init,
            State::Selecting(_) => StateName::Selecting,
            State::Requesting { .. } => StateName::Requesting,
            State::Rebooting { .. } => StateName::Rebooting,
            State::Checking { .. } => StateName::Checking,
            State::Bound => StateName::Bound,
            State::Renewing { .. } => StateName::Renewing,
            State::Rebinding { .. } => StateName::Rebinding,
        }
    }

    /// Whether something is to be sent or waited for. If not, no socket is needed until a call changes it.
    pub fn wants_socket(&self) -> bool {
        let listening = match self.state {
            State::Stopped | State::Init { .. } => false,
            State::Bound => self.guard.as_ref().is_some_and(Guard::is_listening),
            State::Selecting(_)
            | State::Requesting { .. }
            | State::Rebooting { .. }
            | State::Checking { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. } => true,
        };
        listening || !self.transmits.is_empty()
    }

    /// Renews now, before T1. Three messages without an answer, and T1 is waited for as before. Does nothing
    /// without a lease that is in use.
    pub fn renew(&mut self, now: Instant) {
        match self.state {
            State::Bound | State::Renewing { .. } => self.begin_renew(now),
            State::Rebinding { .. } => self.begin_rebind(now),
            State::Stopped
            | State::Init { .. }
            | State::Selecting(_)
            | State::Requesting { .. }
            | State::Rebooting { .. }
            | State::Checking { .. } => {}
        }
        self.run_due(now);
    }

    /// Changes the host name (option 12). If it is another one and a lease is in use, it is renewed at once so that
    /// the server learns it; if one is just being asked for, as soon as it is in use.
    pub fn set_hostname(&mut self, now: Instant, hostname: Option<String>) {
        if self.config.hostname == hostname {
            return;
        }
        self.config.hostname = hostname;
        let too_late = match self.state {
            State::Requesting { .. } | State::Rebooting { .. } | State::Checking { .. } => true,
            State::Selecting(_) => self.config.rapid_commit,
            State::Stopped
            | State::Init { .. }
            | State::Bound
            | State::Renewing { .. }
            | State::Rebinding { .. } => false,
        };
        if too_late {
            self.renew_when_bound = true;
        } else {
            self.renew(now);
        }
    }

    /// What is taken on this host has changed ([`Config::taken`]): an address that is in use and taken now is declined, and
    /// another one asked for.
    pub fn recheck(&mut self, now: Instant) {
        let held = self.held.as_ref().map(|lease| (lease.address, lease.server));
        if let Some((address, server)) = held.filter(|(address, _)| self.config.taken.contains(*address)) {
            self.refuse(now, address, server);
        }
        self.run_due(now);
    }

    /// Gives the address back (one message) and stops. Also an address that was only just asked for: the server may
    /// have granted it. There is no event; the caller must not use the address any more.
    pub fn release(&mut self, now: Instant) {
        self.give_back(now);
    }

    /// The link came back, perhaps on another network: asks for the present address again (INIT-REBOOT), or starts
    /// over if there is none. The address may be used meanwhile as long as its lease lives. A stopped client starts.
    pub fn restart(&mut self, now: Instant) {
        self.ask_over(now);
        self.run_due(now);
    }

    /// The link carries packets again (its cable is back, its bridge forwards): as [`restart`](Self::restart), within a
    /// second, because all clients behind one cable hear of it at the same moment, and two seconds after the last time
    /// at the soonest, because links flap. A stopped client stays so.
    pub fn link_up(&mut self, now: Instant) {
        if self.link_up.is_none() && !matches!(self.state, State::Stopped) {
            self.link_up = Some(asking_over(&mut self.rng, now, self.asked_over));
        }
        self.run_due(now);
    }

    fn ask_over(&mut self, now: Instant) {
        (self.link_up, self.asked_over) = (None, Some(now));
        match &self.state {
            // Waits because of refusals and conflicts are not to be cut short by a flapping link.
            State::Init { .. } => {}
            State::Checking { lease } => {
                let (address, server) = (lease.address, lease.server);
                self.begin_reboot(now, address, Some(server));
            }
            State::Rebooting { address, server, .. } => {
                let (address, server) = (*address, *server);
                self.begin_reboot(now, address, server);
            }
            State::Stopped
            | State::Selecting(_)
            | State::Requesting { .. }
            | State::Bound
            | State::Renewing { .. }
            | State::Rebinding { .. } => {
                match self.held.as_ref().map(|lease| (lease.address, lease.server)) {
                    Some((address, server)) => self.begin_reboot(now, address, Some(server)),
                    None => self.begin_discover(now),
                }
            }
        }
    }

    /// Does everything that is due, the earliest first.
    fn run_due(&mut self, now: Instant) {
        while let Some((at, timer)) = self.next_timer() {
            if at > now {
                break;
            }
            match timer {
                Timer::Expiry => self.handle_expiry(now),
                Timer::Guard => self.run_guard(now),
                Timer::Link => self.ask_over(now),
                Timer::State if self.is_expired(now) => self.handle_expiry(now),
                Timer::State => self.handle_state_timer(now),
            }
        }
    }

    fn next_timer(&self) -> Option<(Instant, Timer)> {
        let held = self.held.as_ref();
        let state = match &self.state {
            State::Stopped => None,
            State::Init { until } => Some(*until),
            State::Selecting(exchange) | State::Requesting { exchange, .. } => Some(exchange.due),
            State::Rebooting { exchange, refused, .. } | State::Rebinding { exchange, refused } => {
                Some(refused.unwrap_or(exchange.due))
            }
            State::Checking { lease } => lease.expires,
            State::Bound => held.and_then(|lease| lease.t1),
            State::Renewing { exchange, early } => {
                let phase_end = held.and_then(|lease| if *early { lease.t1 } else { lease.t2 });
                Some(phase_end.map_or(exchange.due, |end| end.min(exchange.due)))
            }
        };
        let expiry = held.filter(|_| !self.overdue).and_then(|lease| lease.expires);
        let guard = self.guard.as_ref().and_then(Guard::poll_timeout);
        [(expiry, Timer::Expiry), (state, Timer::State), (guard, Timer::Guard), (self.link_up, Timer::Link)]
            .into_iter()
            .filter_map(|(at, timer)| Some((at?, timer)))
            .min_by_key(|(at, _)| *at)
    }

    fn is_expired(&self, now: Instant) -> bool {
        !self.overdue && self.held.as_ref().is_some_and(|lease| !lease.is_live(now))
    }

    fn handle_state_timer(&mut self, now: Instant) {
        match &self.state {
            State::Stopped => {}
            State::Init { .. } => self.begin_discover(now),
            // The lease ended before its address was known to be free.
            State::Checking { .. } => self.start_over_refused(now),
            State::Selecting(_) => self.discover_again(now),
            State::Requesting { .. } => self.take_again(now),
            State::Rebooting { refused: Some(_), .. } | State::Rebinding { refused: Some(_), .. } => {
                self.handle_refusal(now);
            }
            State::Rebooting { refused: None, .. } => self.reboot_again(now),
            State::Bound => self.begin_renew(now),
            State::Renewing { .. } => self.renew_again(now),
            State::Rebinding { refused: None, .. } => self.rebind_again(now),
        }
    }
}

#[cfg(test)]
mod tests;
