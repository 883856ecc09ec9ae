//! When to ask routers (RFC 4861 section 6.3.7, RFC 7559).

use std::time::Duration;

use crate::random::{Random, between};
use crate::time::Instant;

/// Between the first solicitations, and how long an answer is waited for. RFC 4861: `RTR_SOLICITATION_INTERVAL`.
const INTERVAL: Duration = Duration::from_secs(4);
/// How many are sent in that rhythm (`MAX_RTR_SOLICITATIONS`); then twice the time each (RFC 7559).
const STEADY: u32 = 3;
/// Where that doubling ends (RFC 7559: `MRT`).
const LONGEST: Duration = Duration::from_hours(1);
/// Routers that have been heard are asked again at least this often.
const REFRESH: Duration = Duration::from_mins(30);
/// And at most this often, whatever lifetimes they tell.
const LEAST_REFRESH: Duration = Duration::from_secs(4);

/// The state of asking. The first question of a round is due at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Solicitor {
    /// Questions since the last answer.
    tries: u32,
    due: Instant,
    /// The end of the time in which answers to the last question are listened for.
    listen_until: Option<Instant>,
}

impl Solicitor {
    pub(super) const fn new(now: Instant) -> Self {
        Self { tries: 0, due: now, listen_until: None }
    }

    /// Asks now.
    pub(super) fn ask(&mut self, now: Instant) {
        *self = Self { tries: 0, due: now, ..*self };
    }

    /// A router said something; `ends` are the times at which parts of what routers said are over.
    pub(super) fn hear(&mut self, now: Instant, ends: impl Iterator<Item = Instant>, rng: &mut impl Random) {
        let left = ends.map(|end| end.saturating_since(now)).filter(|left| !left.is_zero()).min();
        let wait = left.map_or(REFRESH, |left| (left / 2).clamp(LEAST_REFRESH, REFRESH));
        self.tries = 0;
        self.due = now + wait.saturating_sub(between(rng, Duration::ZERO, wait / 8));
    }

    /// When to ask.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// When there is something else to do about time.
    pub(super) fn listen_until(&self) -> Option<Instant> {
        self.listen_until
    }

    /// Whether answers are waited for.
    pub(super) fn is_listening(&self) -> bool {
        self.listen_until.is_some()
    }

    /// Stops to listen when that is over.
    pub(super) fn stop_listening(&mut self, now: Instant) {
        self.listen_until.take_if(|end| *end <= now);
    }

    /// A question goes out now.
    pub(super) fn asked(&mut self, now: Instant, rng: &mut impl Random) {
        self.tries = self.tries.saturating_add(1);
        let doublings = self.tries.saturating_sub(STEADY).min(16);
        let wait = (INTERVAL * (1 << doublings)).min(LONGEST);
        let wait =
            if doublings == 0 { wait } else { wait.saturating_sub(between(rng, Duration::ZERO, wait / 8)) };
        self.due = now + wait;
        self.listen_until = Some(now + INTERVAL.min(wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Random for Fixed {
        fn next_u32(&mut self) -> u32 {
            0
        }
    }

    #[test]
    fn three_in_four_seconds_each_then_seldom() {
        let start = Instant::from_boot(Duration::from_secs(100));
        let mut solicitor = Solicitor::new(start);
        let mut now = start;
        let mut times = Vec::new();
        for _ in 0..14 {
            now = solicitor.due().max(now);
            times.push(now.saturating_since(start).as_secs());
            solicitor.asked(now, &mut Fixed);
        }
        assert_eq!(times, [0, 4, 8, 12, 20, 36, 68, 132, 260, 516, 1028, 2052, 4100, 7700]);
    }

    #[test]
    fn asks_again_in_time() {
        let now = Instant::from_boot(Duration::from_secs(100));
        let wait = |ends: &[u64]| {
            let mut solicitor = Solicitor::new(now);
            let ends = ends.iter().map(|&secs| now + Duration::from_secs(secs));
            solicitor.hear(now, ends, &mut Fixed);
            solicitor.due().saturating_since(now).as_secs()
        };
        assert_eq!(wait(&[]), 1800);
        assert_eq!(wait(&[1800, 9000]), 900);
        assert_eq!(wait(&[0, 86_400]), 1800);
        assert_eq!(wait(&[1]), 4, "not without end");
    }
}
