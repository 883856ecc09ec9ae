//! Whether somebody else uses an address: duplicate address detection (RFC 4862 section 5.4), with nonces so that
//! links that bring packets back are not taken for somebody (RFC 7527).

use std::net::Ipv6Addr;
use std::time::Duration;

use landline_types::Mac;

use super::heard::{Claim, Heard};
use super::timing::CONTESTED_RETRY;
use crate::random::{Random, between};
use crate::taken::Taken;
use crate::time::Instant;
use crate::v4::ConflictCheck;
use crate::wire::icmpv6::{Message, Nonce};

/// From the first probe to "nobody answered", in a fast check: as long as for IPv4.
const FAST_WINDOW: Duration = Duration::from_millis(25);
/// Between the two probes of a fast check.
const FAST_PROBE_GAP: Duration = Duration::from_millis(15);
/// A fast check goes on for this long after the address is used, with one more probe, and then as long again.
const LATE_PROBE: Duration = Duration::from_secs(1);
/// How long a thorough check waits at most before it begins (RFC 4862: `MAX_RTR_SOLICITATION_DELAY`), and for an
/// answer (RFC 4861: `RETRANS_TIMER`).
const WAIT: Duration = Duration::from_secs(1);

/// All addresses that are used or about to be.
#[derive(Debug)]
pub(super) struct Watch {
    mac: Mac,
    check: ConflictCheck,
    taken: Taken,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    address: Ipv6Addr,
    stage: Stage,
    next: Option<(Instant, Step)>,
    /// Of the probes sent: seen again, they are our own.
    nonces: Vec<Nonce>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not used yet.
    Probing,
    /// Nobody answered so far: used.
    Clear,
    /// Somebody has it.
    Contested,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The n-th probe, from 0.
    Probe(u8),
    /// The end of probing.
    Clear,
    /// One more probe while the address is used.
    LateProbe,
    /// Nothing more to wait for.
    Rest,
    /// Look whether it is still contested.
    Retry,
}

/// What is to be sent.
pub(super) enum Out {
    /// "Does anybody use this?"
    Probe(Ipv6Addr, Nonce),
    /// "I use this."
    Announce(Ipv6Addr),
}

impl Watch {
    pub(super) const fn new(mac: Mac, check: ConflictCheck, taken: Taken) -> Self {
        Self { mac, check, taken, entries: Vec::new() }
    }

    /// This address is about to be used. `false`: it is taken, and counts as contested.
    pub(super) fn want(&mut self, now: Instant, address: Ipv6Addr, rng: &mut impl Random) -> bool {
        if self.find(address).is_some() {
            return true;
        }
        let taken = self.taken.contains(address);
        let (stage, next) = match self.check {
            _ if taken => (Stage::Contested, Some((now + CONTESTED_RETRY, Step::Retry))),
            ConflictCheck::Off => (Stage::Clear, None),
            ConflictCheck::Fast => (Stage::Probing, Some((now, Step::Probe(0)))),
            ConflictCheck::Wait => {
                (Stage::Probing, Some((now + between(rng, Duration::ZERO, WAIT), Step::Probe(0))))
            }
        };
        self.entries.push(Entry { address, stage, next, nonces: Vec::new() });
        !taken
    }

    /// The addresses that are taken now and were not, which count as contested from now on.
    pub(super) fn recheck(&mut self, now: Instant) -> Vec<Ipv6Addr> {
        let taken = &self.taken;
        let lost = |entry: &&mut Entry| entry.stage != Stage::Contested && taken.contains(entry.address);
        let mut all = Vec::new();
        for entry in self.entries.iter_mut().filter(lost) {
            entry.stage = Stage::Contested;
            entry.next = Some((now + CONTESTED_RETRY, Step::Retry));
            all.push(entry.address);
        }
        all
    }

    /// This address is used already. With `probe`, somebody may have come to use it while it was not.
    pub(super) fn keep(&mut self, now: Instant, address: Ipv6Addr, probe: bool) {
        let probe = probe && self.check != ConflictCheck::Off;
        let next = probe.then_some((now, Step::LateProbe));
        self.entries.retain(|entry| entry.address != address);
        self.entries.push(Entry { address, stage: Stage::Clear, next, nonces: Vec::new() });
    }

    /// Only these addresses are of interest any more.
    pub(super) fn retain(&mut self, wanted: &[Ipv6Addr]) {
        self.entries.retain(|entry| wanted.contains(&entry.address));
    }

    /// Whether an address may be used.
    pub(super) fn is_clear(&self, address: Ipv6Addr) -> bool {
        self.find(address).is_some_and(|entry| entry.stage == Stage::Clear)
    }

    /// Whether somebody else has an address.
    pub(super) fn is_contested(&self, address: Ipv6Addr) -> bool {
        self.find(address).is_some_and(|entry| entry.stage == Stage::Contested)
    }

    /// Whether nothing is known of some address yet.
    pub(super) fn is_probing(&self) -> bool {
        self.entries.iter().any(|entry| entry.stage == Stage::Probing)
    }

    /// Whether answers are waited for.
    pub(super) fn is_listening(&self) -> bool {
        self.entries.iter().any(|entry| entry.next.is_some_and(|(_, step)| step != Step::Retry))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.entries.iter().filter_map(|entry| entry.next).map(|(at, _)| at).min()
    }

    /// Does one thing that is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, rng: &mut impl Random) -> Option<Out> {
        let fast = self.check != ConflictCheck::Wait;
        let due = |entry: &&mut Entry| entry.next.is_some_and(|(at, _)| at <= now);
        let entry = self.entries.iter_mut().find(due)?;
        let (_, step) = entry.next.take()?;
        let (out, after) = match step {
            Step::Probe(0) if fast => (Some(entry.probe(rng)), Some((FAST_PROBE_GAP, Step::Probe(1)))),
            Step::Probe(_) if fast => {
                (Some(entry.probe(rng)), Some((FAST_WINDOW.saturating_sub(FAST_PROBE_GAP), Step::Clear)))
            }
            Step::Probe(_) => (Some(entry.probe(rng)), Some((WAIT, Step::Clear))),
            Step::Clear => {
                entry.stage = Stage::Clear;
                let after = if fast { (LATE_PROBE, Step::LateProbe) } else { (WAIT, Step::Rest) };
                (Some(Out::Announce(entry.address)), Some(after))
            }
            Step::LateProbe => (Some(entry.probe(rng)), Some((LATE_PROBE, Step::Rest))),
            Step::Rest => (None, None),
            Step::Retry if self.taken.contains(entry.address) => (None, Some((CONTESTED_RETRY, Step::Retry))),
            Step::Retry => {
                entry.stage = Stage::Probing;
                (None, Some((Duration::ZERO, Step::Probe(0))))
            }
        };
        // From now, not from when it was due: after a late call the gaps must still be gaps.
        entry.next = after.map(|(delay, step)| (now + delay, step));
        out
    }

    /// Whether a message is this client's own, brought back by the link: it came in a frame from its hardware address,
    /// or is one of its probes (RFC 7527).
    pub(super) fn is_own(&self, heard: &Heard<'_>) -> bool {
        if heard.frame_source == self.mac {
            return true;
        }
        let Message::NeighbourSolicitation { target, nonce: Some(nonce), .. } = heard.message else {
            return false;
        };
        self.find(*target).is_some_and(|entry| entry.nonces.contains(nonce))
    }

    /// The address, of those that are used or about to be, that another machine has or is about to use by this message.
    pub(super) fn claimed(&self, heard: &Heard<'_>) -> Option<Ipv6Addr> {
        let (target, ..) = heard.claim(self.mac)?;
        self.find(target).map(|entry| entry.address)
    }

    /// Looks at a message from the link; gives the address that another machine turns out to have, or to be about to
    /// have, and that machine's hardware address.
    pub(super) fn handle(&mut self, now: Instant, heard: &Heard<'_>) -> Option<(Ipv6Addr, Mac)> {
        if self.is_own(heard) {
            return None;
        }
        let (target, claim, by) = heard.claim(self.mac)?;
        let entry = self.entries.iter_mut().find(|entry| entry.address == target)?;
        let lost = match entry.stage {
            Stage::Probing => true,
            // A machine that probes later than we did gets an answer. One that has the address, and says so before the
            // check is over, had it first.
            Stage::Clear => claim == Claim::Has && entry.next.is_some(),
            Stage::Contested => false,
        };
        if !lost {
            return None;
        }
        entry.stage = Stage::Contested;
        entry.next = Some((now + CONTESTED_RETRY, Step::Retry));
        Some((target, by))
    }

    fn find(&self, address: Ipv6Addr) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.address == address)
    }
}

impl Entry {
    fn probe(&mut self, rng: &mut impl Random) -> Out {
        let ([a, b, c, d], [e, f, ..]) = (rng.next_u32().to_be_bytes(), rng.next_u32().to_be_bytes());
        let nonce = [a, b, c, d, e, f];
        if self.nonces.len() == 4 {
            self.nonces.remove(0);
        }
        self.nonces.push(nonce);
        Out::Probe(self.address, nonce)
    }
}
