//! What becomes of the address: granted, checked, used, defended, lost.

use std::net::Ipv4Addr;

use super::{Client, Event, LossReason, State, Transmit};
use crate::backoff::{self, CONFLICTS_IN_A_ROW, REFUSALS_IN_A_ROW};
use crate::random::Random;
use crate::time::Instant;
use crate::v4::grant::Offer;
use crate::v4::guard::Sighting;
use crate::v4::lease::Lease;
use crate::v4::options::is_host;
use crate::wire::arp;

/// How many refused offers are remembered.
const MOST_REFUSED: usize = 8;

impl<R: Random> Client<R> {
    /// A server granted this. It is used when nobody else is known to use it.
    pub(super) fn handle_grant(&mut self, now: Instant, lease: Lease) {
        if self.config.taken.contains(lease.address) {
            return self.refuse(now, lease.address, lease.server);
        }
        let same = self.held.as_ref().is_some_and(|held| held.address == lease.address);
        if same {
            // In use already, or allowed to be: it has the new times whatever the check says.
            self.overdue = false;
            self.held = Some(lease.clone());
        }
        if self.guard.as_ref().is_none_or(|guard| guard.address() != lease.address) {
            self.begin_probe(now, lease.address); // with rapid commit there was no offer to begin at
        }
        match &self.guard {
            Some(guard) if guard.contested().is_some() => {
                self.decline(now, lease.address, Some(lease.server), LossReason::Conflict);
            }
            Some(guard) if !guard.is_clear() => self.state = State::Checking { lease },
            Some(_) | None => self.use_lease(now, lease),
        }
    }

    /// BOUND.
    fn use_lease(&mut self, now: Instant, lease: Lease) {
        let same = self.held.as_ref().is_some_and(|held| held.address == lease.address);
        let event = if same && self.told { Event::Renewed } else { Event::Bound };
        self.events.push_back(event(lease.clone()));
        self.requested = Some(lease.address);
        self.held = Some(lease);
        (self.told, self.overdue) = (true, false);
        self.state = State::Bound;
        if let Some(guard) = &mut self.guard {
            guard.adopt(now);
        }
        if std::mem::take(&mut self.renew_when_bound) {
            self.begin_renew(now);
        }
    }

    /// One step of probing or announcing.
    pub(super) fn run_guard(&mut self, now: Instant) {
        let Some(guard) = &mut self.guard else { return };
        if let Some(packet) = guard.handle_timeout(now, &mut self.rng) {
            self.transmits.push_back(Transmit::Arp(packet));
        }
        if guard.is_clear()
            && let State::Checking { lease } = &self.state
        {
            let lease = lease.clone();
            self.use_lease(now, lease);
        }
    }

    pub(super) fn watch_arp(&mut self, now: Instant, packet: &arp::Heard) {
        let Some(guard) = &mut self.guard else { return };
        let address = guard.address();
        match guard.handle_arp(now, packet) {
            Sighting::None => {}
            Sighting::Contested(by) => {
                self.events.push_back(Event::Conflict { address, by });
                // Otherwise there is nothing to decline yet: the server is still being asked.
                if let State::Checking { lease } = &self.state {
                    let server = lease.server;
                    self.decline(now, address, Some(server), LossReason::Conflict);
                }
            }
            Sighting::Defend(by, packet) => {
                self.events.push_back(Event::Conflict { address, by });
                self.transmits.push_back(Transmit::Arp(packet));
            }
            Sighting::GiveUp(by) => {
                self.events.push_back(Event::Conflict { address, by });
                let server = self.held.as_ref().map(|lease| lease.server);
                self.decline(now, address, server, LossReason::Conflict);
            }
        }
    }

    /// A taken address was granted: it is declined, so that the server marks it and offers another.
    pub(super) fn refuse(&mut self, now: Instant, address: Ipv4Addr, server: Ipv4Addr) {
        self.events.push_back(Event::Refused { address, server });
        if self.refused.len() == MOST_REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back((server, address));
        let told = (!self.config.shares_mac).then_some(server);
        self.decline(now, address, told, LossReason::Taken);
    }

    /// Whether an offer is one that was declined because the address is taken, and it still is. To ask for it again
    /// would lead nowhere, and another server may have a better one.
    pub(super) fn is_refused(&self, offer: Offer) -> bool {
        self.refused.contains(&(offer.server, offer.address)) && self.config.taken.contains(offer.address)
    }

    /// The address cannot be used: tells the server and starts over, without wishing for it again.
    pub(super) fn decline(
        &mut self,
        now: Instant,
        address: Ipv4Addr,
        server: Option<Ipv4Addr>,
        reason: LossReason,
    ) {
        if let Some(server) = server {
            self.send_decline(address, server);
        }
        if self.held.as_ref().is_some_and(|lease| lease.address == address) {
            self.lose(reason);
        }
        let before = self.conflicts.filter(|(_, last)| now.saturating_since(*last) < CONFLICTS_IN_A_ROW);
        let count = before.map_or(0, |(count, _)| count).saturating_add(1);
        self.conflicts = Some((count, now));
        self.guard = None;
        self.requested =
            self.config.requested.filter(|&requested| requested != address && is_host(requested));
        self.state = State::Init { until: now + backoff::declined_wait(count) };
    }

    /// A NAK that counts.
    pub(super) fn handle_refusal(&mut self, now: Instant) {
        let refused = match &self.state {
            State::Requesting { offer, .. } => Some(offer.address),
            State::Rebooting { address, .. } => Some(*address),
            _ => self.held.as_ref().map(|lease| lease.address),
        };
        // An offer that was taken back says nothing about an older lease of another address.
        if self.held.as_ref().map(|lease| lease.address) == refused {
            self.lose(LossReason::Nak);
        }
        self.requested = self.config.requested.filter(|&requested| is_host(requested));
        self.start_over_refused(now);
    }

    /// INIT after a refusal, after a server that offers but does not grant, or after the end of a lease: at once, then with
    /// growing pauses. A grant in between does not count: a server that grants and refuses in turn would make a client talk
    /// without end.
    pub(super) fn start_over_refused(&mut self, now: Instant) {
        let before = self.refusals.filter(|(_, last)| now.saturating_since(*last) < REFUSALS_IN_A_ROW);
        let count = before.map_or(0, |(count, _)| count).saturating_add(1);
        self.refusals = Some((count, now));
        self.guard = None;
        self.state = State::Init { until: now + backoff::refused_wait(count) };
    }

    /// The end of the lease that is held.
    pub(super) fn handle_expiry(&mut self, now: Instant) {
        let Some((address, server)) = self.held.as_ref().map(|lease| (lease.address, lease.server)) else {
            return;
        };
        match self.state {
            // Its last chance, rebinding, never came: everything slept. Ask before it is taken away.
            State::Bound | State::Renewing { .. } => {
                self.overdue = true;
                self.begin_reboot(now, address, Some(server));
            }
            State::Rebinding { .. } => {
                self.lose(LossReason::Expired);
                self.requested = Some(address);
                self.start_over_refused(now);
            }
            // It was only used while another lease was looked for.
            State::Stopped
            | State::Init { .. }
            | State::Selecting(_)
            | State::Requesting { .. }
            | State::Rebooting { .. }
            | State::Checking { .. } => self.lose(LossReason::Expired),
        }
    }

    /// The caller must stop to use the address.
    pub(super) fn lose(&mut self, reason: LossReason) {
        (self.told, self.overdue) = (false, false);
        if let Some(lease) = self.held.take() {
            self.events.push_back(Event::Lost { address: lease.address, reason });
        }
    }

    pub(super) fn give_back(&mut self, now: Instant) {
        let asked = match &self.state {
            State::Requesting { offer, .. } => Some((offer.address, offer.server)),
            State::Checking { lease } => Some((lease.address, lease.server)),
            _ => None,
        };
        let held =
            self.held.take().filter(|lease| lease.is_live(now)).map(|lease| (lease.address, lease.server));
        // What is another client's is not given back in its name.
        let anothers = |address: Ipv4Addr| self.config.shares_mac && self.config.taken.contains(address);
        let asked = asked.filter(|&(address, _)| asked != held && !anothers(address));
        for (address, server) in held.into_iter().chain(asked) {
            self.send_release(address, server);
        }
        (self.told, self.overdue) = (false, false);
        (self.guard, self.link_up) = (None, None);
        self.state = State::Stopped;
    }
}
