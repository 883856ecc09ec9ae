//! One question to the servers, with its repetitions.

use std::time::Duration;

use crate::random::Random;
use crate::time::Instant;

/// What is outstanding. At most one exists in a client at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exchange {
    /// What an answer must carry.
    pub(super) xid: u32,
    /// When the client began to ask; `secs` counts from here.
    pub(super) began: Instant,
    /// When the first message with this `xid` and this question went out: a lease counts from here, whichever of
    /// them was answered.
    pub(super) asked: Instant,
    /// How many messages went out.
    pub(super) tries: u32,
    /// When to do something about silence.
    pub(super) due: Instant,
    /// `secs` of the last message.
    pub(super) secs: u16,
}

impl Exchange {
    /// A new question, asked now for the first time.
    pub(super) fn new(now: Instant, rng: &mut impl Random) -> Self {
        Self { xid: rng.next_u32(), began: now, asked: now, tries: 1, due: now, secs: 0 }
    }

    /// The same question again.
    pub(super) fn again(&mut self, now: Instant) {
        self.tries = self.tries.saturating_add(1);
        self.secs = u16::try_from(now.saturating_since(self.began).as_secs()).unwrap_or(u16::MAX);
    }

    /// The same question again, as one of its own: only this message's answer counts.
    pub(super) fn again_anew(&mut self, now: Instant, rng: &mut impl Random) {
        self.again(now);
        self.xid = rng.next_u32();
        self.asked = now;
    }

    /// The next question of the same transaction. It keeps `secs` (RFC 2131 section 4.4.1).
    pub(super) fn follow_up(&mut self, now: Instant) {
        self.tries = 1;
        self.asked = now;
    }

    /// Does something about silence in this time.
    pub(super) fn wait(&mut self, now: Instant, wait: Duration) {
        self.due = now + wait;
    }
}
