//! One question to the servers, with its repetitions.

use std::time::Duration;

use crate::random::Random;
use crate::time::Instant;
use crate::v6::timing::{LATEST_ANSWER, Rhythm};

/// What is outstanding. At most one exists in a client at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exchange {
    /// What an answer must carry. The same in every repetition (RFC 9915 section 16.1).
    pub(super) xid: [u8; 3],
    began: Instant,
    /// What a lease counts from.
    pub(super) asked: Instant,
    /// How many messages went out.
    tries: u32,
    last_wait: Duration,
    /// When to do something about silence.
    pub(super) due: Instant,
    rhythm: Rhythm,
}

impl Exchange {
    /// A new question, asked now for the first time.
    pub(super) fn new(now: Instant, rhythm: Rhythm, rng: &mut impl Random) -> Self {
        let [_, xid @ ..] = rng.next_u32().to_be_bytes();
        let mut this =
            Self { xid, began: now, asked: now, tries: 0, last_wait: Duration::ZERO, due: now, rhythm };
        this.count(now, rng);
        this
    }

    /// The same question again, unless that was the last time.
    pub(super) fn again(mut self, now: Instant, rng: &mut impl Random) -> Option<Self> {
        let enough = self.rhythm.count.is_some_and(|count| self.tries >= count);
        if enough || self.rhythm.end.is_some_and(|end| end <= now) {
            return None;
        }
        if now.saturating_since(self.asked) > LATEST_ANSWER {
            self.asked = now;
        }
        self.count(now, rng);
        Some(self)
    }

    fn count(&mut self, now: Instant, rng: &mut impl Random) {
        self.tries = self.tries.saturating_add(1);
        self.last_wait = self.rhythm.wait(rng, self.tries, self.last_wait);
        let due = now + self.last_wait;
        self.due = self.rhythm.end.map_or(due, |end| due.min(end));
    }

    /// Option 8: hundredths of a second since the first message.
    pub(super) fn elapsed(&self, now: Instant) -> u16 {
        u16::try_from(now.saturating_since(self.began).as_millis() / 10).unwrap_or(u16::MAX)
    }
}
