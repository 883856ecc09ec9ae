//! Whether an address is ours alone: probing, announcing and defending it (RFC 5227).

use std::net::Ipv4Addr;
use std::time::Duration;

use landline_types::Mac;

use super::config::ConflictCheck;
use crate::random::{Random, between};
use crate::time::Instant;
use crate::wire::arp::{Heard, Packet};

/// From the first probe to "nobody answered", in a fast check.
const FAST_WINDOW: Duration = Duration::from_millis(25);
/// Between the two probes of a fast check: the second is for the case that the first was lost.
const FAST_PROBE_GAP: Duration = Duration::from_millis(15);
/// How many probes a fast check sends before the address is used.
const FAST_PROBES: u8 = 2;

// The times of RFC 5227 section 1.1.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBE_NUM: u8 = 3;
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// How long answers to the last announcement are listened for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What keeps an address, from the first probe until it is given up.
#[derive(Debug)]
pub(super) struct Guard {
    mac: Mac,
    address: Ipv4Addr,
    full: bool,
    stage: Stage,
    /// What comes next, and when.
    next: Option<(Instant, Step)>,
    /// The end of the time in which a second conflict means giving up.
    alert_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The address is not used; anybody may have it.
    Probing,
    /// Somebody has it.
    Contested(Mac),
    /// Nobody answered.
    Clear,
    /// The address is used.
    InUse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The n-th probe, from 0.
    Probe(u8),
    /// The end of probing.
    Clear,
    /// The first announcement.
    Announce,
    /// One more probe while the address is used already: anybody answers those, announcements only few do.
    LateProbe,
    /// The second announcement.
    AnnounceAgain,
    /// Nothing more to send or to wait for.
    Rest,
}

/// What an ARP packet means for the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sighting {
    /// Nothing.
    None,
    /// Somebody has it, and it is not used yet.
    Contested(Mac),
    /// Somebody has it too; this defends it.
    Defend(Mac, Packet),
    /// Somebody insists.
    GiveUp(Mac),
}

impl Guard {
    /// Begins to probe; `None` if the check is off. The first step is due at once (`Wait`: within a second).
    pub(super) fn probe(
        mode: ConflictCheck,
        mac: Mac,
        address: Ipv4Addr,
        now: Instant,
        rng: &mut impl Random,
    ) -> Option<Self> {
        let (full, delay) = match mode {
            ConflictCheck::Off => return None,
            ConflictCheck::Fast => (false, Duration::ZERO),
            ConflictCheck::Wait => (true, between(rng, Duration::ZERO, PROBE_WAIT)),
        };
        let next = Some((now + delay, Step::Probe(0)));
        Some(Self { mac, address, full, stage: Stage::Probing, next, alert_until: None })
    }

    /// Keeps an address that is used already and was probed in an earlier life; `None` if the check is off.
    pub(super) fn keep(mode: ConflictCheck, mac: Mac, address: Ipv4Addr) -> Option<Self> {
        let full = match mode {
            ConflictCheck::Off => return None,
            ConflictCheck::Fast => false,
            ConflictCheck::Wait => true,
        };
        Some(Self { mac, address, full, stage: Stage::InUse, next: None, alert_until: None })
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Whether the address may be used.
    pub(super) fn is_clear(&self) -> bool {
        matches!(self.stage, Stage::Clear | Stage::InUse)
    }

    /// Whether the address is used.
    pub(super) fn is_in_use(&self) -> bool {
        self.stage == Stage::InUse
    }

    /// Who has the address, if probing found somebody.
    pub(super) fn contested(&self) -> Option<Mac> {
        match self.stage {
            Stage::Contested(by) => Some(by),
            Stage::Probing | Stage::Clear | Stage::InUse => None,
        }
    }

    /// Whether ARP packets are being waited for.
    pub(super) fn is_listening(&self) -> bool {
        self.next.is_some() || self.alert_until.is_some()
    }

    /// The address is used from now on: announce it.
    pub(super) fn adopt(&mut self, now: Instant) {
        if self.stage == Stage::Clear {
            self.stage = Stage::InUse;
            self.next = Some((now, Step::Announce));
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let next = self.next.map(|(at, _)| at);
        next.into_iter().chain(self.alert_until).min()
    }

    /// Does one thing that is due; gives the packet to send for it.
    pub(super) fn handle_timeout(&mut self, now: Instant, rng: &mut impl Random) -> Option<Packet> {
        if self.alert_until.is_some_and(|end| end <= now) {
            self.alert_until = None;
        }
        let (_, step) = self.next.take_if(|(at, _)| *at <= now)?;
        let (packet, after) = match step {
            Step::Probe(n) => (Some(self.probe_packet()), Some(self.after_probe(n, rng))),
            Step::Clear => {
                self.stage = Stage::Clear;
                (None, None)
            }
            Step::Announce if self.full => {
                (Some(self.announcement()), Some((ANNOUNCE_INTERVAL, Step::AnnounceAgain)))
            }
            Step::Announce => (Some(self.announcement()), Some((ANNOUNCE_INTERVAL / 2, Step::LateProbe))),
            Step::LateProbe => {
                (Some(self.probe_packet()), Some((ANNOUNCE_INTERVAL / 2, Step::AnnounceAgain)))
            }
            Step::AnnounceAgain => (Some(self.announcement()), Some((LAST_WORDS, Step::Rest))),
            Step::Rest => (None, None),
        };
        // From now, not from when it was due: after a late call the gaps must still be gaps.
        self.next = after.map(|(delay, step)| (now + delay, step));
        packet
    }

    fn after_probe(&self, n: u8, rng: &mut impl Random) -> (Duration, Step) {
        let (probes, gap, window) = if self.full {
            (PROBE_NUM, between(rng, PROBE_MIN, PROBE_MAX), ANNOUNCE_WAIT)
        } else {
            (FAST_PROBES, FAST_PROBE_GAP, FAST_WINDOW.checked_sub(FAST_PROBE_GAP).unwrap())
        };
        if n + 1 < probes { (gap, Step::Probe(n + 1)) } else { (window, Step::Clear) }
    }

    /// Looks at an ARP packet from the link.
    pub(super) fn handle_arp(&mut self, now: Instant, heard: &Heard) -> Sighting {
        let other = heard.packet.sender_mac;
        let uses = heard.claims(self.address, self.mac);
        let wants = heard.competes(self.address, self.mac);
        match self.stage {
            // Two hosts that probe for the same address at once: neither may have it (RFC 5227 section 2.1.1). Not so in
            // a fast check, which begins before the server has decided: servers offer one address to several
            // clients that ask at the same moment and grant it to the first. The others will be refused, and a host
            // that asks no server hears our announcement.
            Stage::Probing | Stage::Clear if uses || (wants && self.full) => {
                self.stage = Stage::Contested(other);
                self.next = None;
                Sighting::Contested(other)
            }
            Stage::InUse if uses => self.defend(now, other),
            Stage::Probing | Stage::Clear | Stage::InUse | Stage::Contested(_) => Sighting::None,
        }
    }

    /// Once, and if that does not help within ten seconds not again (RFC 5227 section 2.4 (b)).
    fn defend(&mut self, now: Instant, other: Mac) -> Sighting {
        if self.alert_until.is_some_and(|end| now < end) {
            return Sighting::GiveUp(other);
        }
        self.alert_until = Some(now + DEFEND_INTERVAL);
        Sighting::Defend(other, self.announcement())
    }

    fn probe_packet(&self) -> Packet {
        Packet::probe(self.mac, self.address)
    }

    fn announcement(&self) -> Packet {
        Packet::announcement(self.mac, self.address)
    }
}
