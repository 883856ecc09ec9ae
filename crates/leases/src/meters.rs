//! What leases are counted by: DHCP messages, exchanges and conflicts of each network, since the daemon started.
//!
//! Counting costs an atomic addition where something was sent or received anyway. Whoever shows the counts reads them; nothing
//! here knows in what form.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landline_dhcp::Instant;
use landline_dhcp::wire::{dhcpv4, dhcpv6};
use landline_links::mark::is_implicit;
use landline_options::NetworkId;
use landline_types::Timings;

use crate::clock::Clock;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// `ipv4` or `ipv6`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// A container's client sent it.
    Sent,
    /// It was an answer to one of these.
    Received,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sent, Self::Received];

    /// `sent` or `received`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// What is counted of all networks.
#[derive(Debug, Default)]
pub struct Meters {
    networks: Mutex<BTreeMap<Option<NetworkId>, Arc<NetworkMeter>>>,
    /// What the daemon found when it started, and what it has put right since.
    pub reconciled: Reconciled,
}

/// What became of what the daemon found in its state and on the host.
#[derive(Debug, Default)]
pub struct Reconciled {
    /// Endpoints that were continued after a start.
    pub recovered: AtomicU64,
    /// Endpoints whose link or sandbox was gone.
    pub ended: AtomicU64,
    /// Links that belonged to no endpoint and were removed.
    pub strays: AtomicU64,
    /// Links that were put back on their bridge or switch.
    pub repaired: AtomicU64,
    /// What could not be removed or put back.
    pub failed: AtomicU64,
}

/// What is counted of one network.
#[derive(Debug, Default)]
pub struct NetworkMeter {
    /// DHCP over IPv4.
    pub v4: FamilyMeter,
    /// `DHCPv6`.
    pub v6: FamilyMeter,
}

impl NetworkMeter {
    /// What is counted of one family.
    pub const fn of(&self, family: Family) -> &FamilyMeter {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// What is counted of one network and family.
#[derive(Debug, Default)]
pub struct FamilyMeter {
    /// By the message's code, from 1.
    sent: [AtomicU64; CODES],
    received: [AtomicU64; CODES],
    exchanges: Timings,
    conflicts: AtomicU64,
}

/// The codes of `DHCPv6` reach furthest.
const CODES: usize = dhcpv6::MessageType::ALL.len();

impl FamilyMeter {
    fn counts(&self, direction: Direction) -> &[AtomicU64; CODES] {
        match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        }
    }

    fn message(&self, direction: Direction, code: u8) {
        let count = usize::from(code).checked_sub(1).and_then(|at| self.counts(direction).get(at));
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many messages of this code (RFC 2132 section 9.6, RFC 8415 section 7.3) went this way.
    pub fn messages(&self, direction: Direction, code: u8) -> u64 {
        let count = usize::from(code).checked_sub(1).and_then(|at| self.counts(direction).get(at));
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// How long exchanges took, from a client's first message to the server's acknowledgement.
    pub const fn exchanges(&self) -> &Timings {
        &self.exchanges
    }

    /// How often a container could not use an address, because another machine or this host has it.
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }
}

impl Meters {
    fn networks(&self) -> MutexGuard<'_, BTreeMap<Option<NetworkId>, Arc<NetworkMeter>>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The meter of a network. All attachments, which have a network each, share one.
    pub fn network(&self, id: &NetworkId) -> Arc<NetworkMeter> {
        let key = Some(id.clone()).filter(|id| !is_implicit(id));
        self.networks().entry(key).or_default().clone()
    }

    /// All meters; `None` is that of attachments. Those of networks that are gone (`there` says so) are dropped.
    pub fn read(&self, there: impl Fn(&NetworkId) -> bool) -> Vec<(Option<NetworkId>, Arc<NetworkMeter>)> {
        let mut networks = self.networks();
        networks.retain(|id, _| id.as_ref().is_none_or(&there));
        networks.iter().map(|(id, meter)| (id.clone(), meter.clone())).collect()
    }

    /// The meter of one client.
    pub(crate) fn client(&self, network: &NetworkId, family: Family, clock: &Clock) -> Arc<ClientMeter> {
        Arc::new(ClientMeter {
            network: self.network(network),
            family,
            clock: clock.clone(),
            exchange: Mutex::default(),
        })
    }
}

/// Counts what one client sends and receives.
#[derive(Debug)]
pub(crate) struct ClientMeter {
    network: Arc<NetworkMeter>,
    family: Family,
    clock: Clock,
    exchange: Mutex<Exchange>,
}

/// What a client asked last.
#[derive(Debug, Default)]
struct Exchange {
    /// The transaction of the last message.
    xid: Option<u32>,
    /// When the first message of the exchange was sent, as long as it lasts.
    began: Option<Instant>,
}

/// What a message does to an exchange.
enum Part {
    Question,
    Acknowledgement,
    /// The exchange ends without a lease.
    Refusal,
    Other,
}

fn part4(kind: dhcpv4::MessageType) -> Part {
    use dhcpv4::MessageType as M;
    match kind {
        M::Discover | M::Request | M::Inform => Part::Question,
        M::Ack => Part::Acknowledgement,
        M::Nak => Part::Refusal,
        M::Offer | M::Decline | M::Release => Part::Other,
    }
}

fn part6(kind: dhcpv6::MessageType) -> Part {
    use dhcpv6::MessageType as M;
    match kind {
        M::Solicit | M::Request | M::Confirm | M::Renew | M::Rebind | M::InformationRequest => Part::Question,
        M::Reply => Part::Acknowledgement,
        M::Advertise | M::Release | M::Decline | M::Reconfigure => Part::Other,
    }
}

impl ClientMeter {
    /// Another machine, or this host, has an address that the client was given.
    pub(crate) fn conflict(&self) {
        self.network.of(self.family).conflicts.fetch_add(1, Ordering::Relaxed);
    }

    /// A DHCP message over IPv4: the UDP payload.
    pub(crate) fn dhcp4(&self, direction: Direction, payload: &[u8]) {
        let message = dhcpv4::Packet::parse(payload).and_then(|packet| dhcpv4::Repr::parse(&packet));
        if let Some(message) = message {
            self.count(direction, message.kind.code(), message.xid, &part4(message.kind));
        }
    }

    /// A `DHCPv6` message: the UDP payload.
    pub(crate) fn dhcp6(&self, direction: Direction, payload: &[u8]) {
        if let Some(message) = dhcpv6::Message::parse(payload) {
            let [a, b, c] = message.xid;
            let xid = u32::from_be_bytes([0, a, b, c]);
            self.count(direction, message.kind.code(), xid, &part6(message.kind));
        }
    }

    fn count(&self, direction: Direction, code: u8, xid: u32, part: &Part) {
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        match direction {
            Direction::Sent => exchange.xid = Some(xid),
            // Other clients' answers may go to all.
            Direction::Received if exchange.xid != Some(xid) => return,
            Direction::Received => {}
        }
        let meter = self.network.of(self.family);
        meter.message(direction, code);
        match (direction, part) {
            (Direction::Sent, Part::Question) => {
                exchange.began.get_or_insert_with(|| self.clock.now());
            }
            (Direction::Received, Part::Acknowledgement) => {
                if let Some(began) = exchange.began.take() {
                    let now = self.clock.now().since_boot();
                    meter.exchanges.add(now.saturating_sub(began.since_boot()));
                }
            }
            (Direction::Received, Part::Refusal) => exchange.began = None,
            _ => {}
        }
    }
}
