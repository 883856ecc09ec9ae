//! The client: the parts put together.
//!
//! Routers are asked by the `Solicitor` and their answers kept in `Advertised` and `Slaac`; servers are asked by
//! `Dhcp`; `Watch` says which of the addresses that come of it nobody else has. After every call the state is made
//! again from all that (`publish`), and what is different is told.
//!
//! This file is the caller's side; `packets` is what arrives, `running` is time and what follows from it.

mod event;
mod packets;
mod publish;
mod running;

use std::collections::VecDeque;
use std::net::Ipv6Addr;

use landline_types::Mac;

pub use event::{Event, LossReason, StateName, Transmit};

use super::advertised::Advertised;
use super::config::{Config, Mode};
use super::dad::Watch;
use super::dhcp::{Dhcp, Io};
use super::heard::Heard;
use super::lease::{Lease, Remembered};
use super::slaac::Slaac;
use super::solicitor::Solicitor;
use super::state::{Origin, State6};
use super::timing::NO_ROUTER_PATIENCE;
use crate::link_up::asking_over;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::icmpv6::Message;
use crate::wire::ipv6::{self, Packet};
use crate::wire::udp::Check;

/// An IPv6 client for one interface.
///
/// Every call that takes the time may queue packets and events; drain them afterwards (see the crate's
/// documentation, which for [`v4::Client`](crate::v4::Client) says the same).
#[derive(Debug)]
pub struct Client<R> {
    config: Config,
    rng: R,
    stopped: bool,
    /// The latest time it was told.
    clock: Instant,
    link_local: LinkLocal,
    solicitor: Solicitor,
    advertised: Advertised,
    slaac: Slaac,
    dhcp: Dhcp,
    watch: Watch,
    /// A router has said something since the link came up.
    heard_router: bool,
    /// When to try DHCPv6 although no router said so.
    patience: Option<Instant>,
    /// A router has said since then that addresses are to be had by DHCPv6.
    managed: bool,
    /// What is not confirmed by then is of another network.
    doubt_until: Option<Instant>,
    /// The link has come up, and is to be asked over again at that time.
    link_up: Option<Instant>,
    /// When that was last done.
    asked_over: Option<Instant>,
    /// Addresses that others turned out to have, since the last event.
    contested: Vec<Ipv6Addr>,
    /// What holds now, and what of it was told.
    current: State6,
    told: State6,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

/// The link-local address that is used or about to be.
#[derive(Debug, Clone, Copy)]
struct LinkLocal {
    address: Ipv6Addr,
    conflicts: u8,
}

/// Where link-local addresses are.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

impl<R: Random> Client<R> {
    /// Begins to get addresses. The link-local address is probed at once; with a fast check routers are asked 25 ms
    /// later from it, and else at once.
    ///
    /// With a state remembered, what of it has not ended is told at once by [`Event::Changed`] and may be used, while
    /// routers and servers are asked about it (Confirm). The first advertisement shows what network this is: what no
    /// router has repeated four seconds after it is dropped. With addresses remembered they are asked for.
    pub fn start(config: Config, remembered: Option<Remembered>, now: Instant, rng: R) -> Self {
        let mut client = Self::idle(config, now, rng);
        match remembered {
            Some(Remembered::State(state)) => client.recall(now, &state, false),
            Some(Remembered::Addresses(addresses)) => client.dhcp = Dhcp::new(addresses),
            None => {}
        }
        client.sync_watch(now);
        client.begin(now);
        client.settle(now);
        client
    }

    /// Goes on with a state that the link is set up with already, after a restart of the program. Nothing is sent
    /// before it is time for the next question. What ended meanwhile is lost at once. If there is nothing to go on
    /// with this is [`start`](Self::start).
    pub fn resume(config: Config, state: State6, now: Instant, rng: R) -> Self {
        if state.link_local.is_none() || state.addresses.is_empty() {
            return Self::start(config, Some(state.into()), now, rng);
        }
        let mut client = Self::idle(config, now, rng);
        client.recall(now, &state, true);
        client.heard_router = !state.routers.is_empty();
        client.managed = state.lease.is_some();
        if client.config.mode != Mode::Dhcp && state.lease.is_none() {
            client.dhcp.resume(None, state.information.clone());
        }
        if client.config.mode == Mode::Dhcp {
            client.dhcp.want_addresses(now);
        }
        client.refresh_solicitor(now);
        client.current = state.clone();
        client.told = state;
        client.settle(now);
        client
    }

    fn idle(config: Config, now: Instant, rng: R) -> Self {
        let address = config.interface_id.address(config.mac, LINK_LOCAL, 0);
        Self {
            stopped: false,
            clock: now,
            link_local: LinkLocal { address, conflicts: 0 },
            solicitor: Solicitor::new(now),
            advertised: Advertised::new(),
            slaac: Slaac::default(),
            dhcp: Dhcp::new(Vec::new()),
            watch: Watch::new(config.mac, config.conflict_check, config.taken.clone()),
            heard_router: false,
            patience: None,
            managed: false,
            doubt_until: None,
            link_up: None,
            asked_over: None,
            contested: Vec::new(),
            current: State6::default(),
            told: State6::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            config,
            rng,
        }
    }

    /// Takes over what was known. `in_use`: the link is set up with it.
    fn recall(&mut self, now: Instant, state: &State6, in_use: bool) {
        self.recall_link_local(state);
        self.advertised = Advertised::remembered(state, in_use);
        if self.config.mode != Mode::Dhcp {
            for own in state.addresses.iter().filter(|own| own.origin == Origin::Router) {
                let address = own.net.addr();
                self.slaac.remember(&self.config, address, own.preferred_until, own.valid_until, in_use);
            }
        }
        if self.config.mode != Mode::Slaac {
            self.dhcp.resume(state.lease.clone(), None);
        }
        // Lengths of prefixes go on as they were.
        self.current.addresses.clone_from(&state.addresses);
        self.expire(now);
        for address in self.wanted() {
            // One that would be made another way now is probed as any new one.
            let known = Some(address) == state.link_local
                || state.addresses.iter().any(|own| own.net.addr() == address);
            // In use it stays until it is granted again; else it is looked at as a new one.
            if known && (in_use || !self.config.taken.contains(address)) {
                self.watch.keep(now, address, !in_use);
            }
        }
    }

    /// The same link-local address as before, if it was made the same way.
    fn recall_link_local(&mut self, state: &State6) {
        let make = |n| self.config.interface_id.address(self.config.mac, LINK_LOCAL, n);
        if let Some(conflicts) = (0..=3).find(|&n| Some(make(n)) == state.link_local) {
            self.link_local = LinkLocal { address: make(conflicts), conflicts };
        }
    }

    fn begin(&mut self, now: Instant) {
        match self.config.mode {
            Mode::Auto if self.dhcp.lease.is_none() => self.patience = Some(now + NO_ROUTER_PATIENCE),
            Mode::Dhcp => self.dhcp.want_addresses(now),
            Mode::Auto | Mode::Slaac => {}
        }
        if self.dhcp.lease.is_some() {
            self.with_dhcp(now, Dhcp::restart);
        }
    }

    /// Does what is due. To be called at [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.settle(now);
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

    /// What the link is to be set up with now.
    pub fn current(&self) -> &State6 {
        &self.current
    }

    /// The lease, while there is one. Its addresses may be used as far as [`current`](Self::current) has them.
    pub fn lease(&self) -> Option<&Lease> {
        self.dhcp.lease.as_ref()
    }

    /// What it does about DHCPv6.
    pub fn state(&self) -> StateName {
        match self.dhcp.name() {
            StateName::Off if self.stopped => StateName::Stopped,
            name => name,
        }
    }

    /// Whether all that is to be expected is there: an address, a word from a router or a server, nothing being asked
    /// for the first time. More may come later; who starts a container has no reason to wait for it.
    pub fn is_settled(&self) -> bool {
        !self.current.addresses.is_empty()
            && (self.heard_router || self.dhcp.lease.is_some())
            && self.dhcp.is_settled()
            && !self.watch.is_probing()
    }

    /// Whether `ICMPv6` is to be sent or waited for.
    pub fn wants_icmp(&self) -> bool {
        let hears = !self.stopped
            && (self.config.listen || self.solicitor.is_listening() || self.watch.is_listening());
        // While a server is asked it may ask who has the link-local address.
        hears || self.dhcp.is_asking() || self.transmits.iter().any(|t| matches!(t, Transmit::Icmp { .. }))
    }

    /// Whether DHCPv6 is to be sent or waited for.
    pub fn wants_dhcp(&self) -> bool {
        self.dhcp.is_asking() || self.transmits.iter().any(|t| matches!(t, Transmit::Dhcp { .. }))
    }

    /// Whether anything is to be sent or waited for. If not, no socket is needed until a call changes it.
    pub fn wants_socket(&self) -> bool {
        self.wants_icmp() || self.wants_dhcp()
    }

    /// Asks routers and the server again now, before it is time.
    pub fn renew(&mut self, now: Instant) {
        if !self.stopped {
            self.solicitor.ask(now);
            self.with_dhcp(now, Dhcp::renew);
        }
        self.settle(now);
    }

    /// What is taken on this host has changed ([`Config::taken`]): addresses that are in use and taken now are given up, as
    /// those that others on the link have.
    pub fn recheck(&mut self, now: Instant) {
        for address in self.watch.recheck(now) {
            self.contested.push(address);
            self.events.push_back(Event::Refused { address });
        }
        self.settle(now);
    }

    /// Changes the host name (option 39). If it is another one and there is a lease, it is renewed at once so that the
    /// server learns it.
    pub fn set_hostname(&mut self, now: Instant, hostname: Option<String>) {
        if self.config.hostname == hostname {
            return;
        }
        self.config.hostname = hostname;
        if !self.stopped && self.dhcp.lease.is_some() {
            self.with_dhcp(now, Dhcp::renew);
        }
        self.settle(now);
    }

    /// Gives leased addresses back and stops. The Release is repeated until the server has answered or four have gone
    /// out, for as long as the caller goes on; one is there to be sent at once. There is no event; the caller must not
    /// use any address any more.
    pub fn release(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        let can_send = self.watch.is_clear(self.link_local.address);
        self.events.clear();
        self.stopped = true;
        if can_send {
            self.with_dhcp(now, Dhcp::release);
        } else {
            self.dhcp = Dhcp::new(Vec::new());
        }
        self.advertised = Advertised::new();
        self.slaac = Slaac::default();
        (self.patience, self.doubt_until, self.link_up) = (None, None, None);
        // The link-local address stays clear for as long as Release goes out from it.
        self.watch.retain(&[self.link_local.address]);
        (self.current, self.told) = (State6::default(), State6::default());
        self.settle(now);
    }

    /// The link came back, perhaps on another network: asks routers, and servers whether the lease is of this link
    /// (Confirm). Addresses may be used meanwhile; what no router repeats four seconds after the first advertisement
    /// is dropped. A stopped client starts.
    pub fn restart(&mut self, now: Instant) {
        self.ask_over(now);
        self.settle(now);
    }

    /// The link carries packets again (its cable is back, its bridge forwards): as [`restart`](Self::restart), within a
    /// second, because all clients behind one cable hear of it at the same moment, and two seconds after the last time
    /// at the soonest, because links flap. A stopped client stays so.
    pub fn link_up(&mut self, now: Instant) {
        if self.link_up.is_none() && !self.stopped {
            self.link_up = Some(asking_over(&mut self.rng, now, self.asked_over));
        }
        self.settle(now);
    }

    pub(super) fn ask_over(&mut self, now: Instant) {
        (self.link_up, self.asked_over) = (None, Some(now));
        self.expire(now);
        if self.stopped {
            self.stopped = false;
            self.dhcp = Dhcp::new(Vec::new());
            self.watch.retain(&[]);
        } else {
            self.advertised.doubt();
            self.slaac.doubt();
            self.with_dhcp(now, Dhcp::restart);
        }
        self.solicitor = Solicitor::new(now);
        (self.heard_router, self.managed, self.doubt_until) = (false, false, None);
        self.sync_watch(now);
        if self.dhcp.name() == StateName::Off {
            self.begin(now);
        }
    }

    /// A whole IPv6 packet that came in, from its IPv6 header on, and the source of its frame. Anything that is not for
    /// this client is ignored.
    pub fn handle_packet(&mut self, now: Instant, frame_source: Mac, packet: &[u8], check: Check) {
        self.take_packet(now, frame_source, packet, check);
        self.settle(now);
    }

    /// The address of this client that another machine has or is about to use, by the word of this packet (from its IPv6
    /// header on). Only such packets can be conflicts.
    pub fn claimed(&self, frame_source: Mac, packet: &[u8]) -> Option<Ipv6Addr> {
        let packet = Packet::parse(packet).filter(|packet| packet.next_header == ipv6::ICMP)?;
        let message = Message::parse(packet.src, packet.dst, packet.payload, Check::Skip)?;
        self.watch.claimed(&Heard { frame_source, src: packet.src, message: &message })
    }

    /// A UDP payload that came to the client's port.
    pub fn handle_dhcp(&mut self, now: Instant, src: Ipv6Addr, payload: &[u8]) {
        self.take_dhcp(now, src, payload);
        self.settle(now);
    }

    /// The addresses that are used or about to be.
    fn wanted(&self) -> Vec<Ipv6Addr> {
        let leased = self.dhcp.wanted();
        let own = self.slaac.iter().map(|own| own.address);
        std::iter::once(self.link_local.address).chain(leased).chain(own).collect()
    }

    fn with_dhcp(&mut self, now: Instant, act: impl FnOnce(&mut Dhcp, &mut Io<'_, R>)) {
        let mut out = Vec::new();
        let mut io = Io { config: &self.config, rng: &mut self.rng, now, out: &mut out };
        act(&mut self.dhcp, &mut io);
        self.send_dhcp(now, &out);
    }
}

#[cfg(test)]
mod tests;
