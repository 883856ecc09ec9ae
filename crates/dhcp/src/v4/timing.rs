//! How long things take, and why.

use std::time::Duration;

use crate::random::{Random, between};
use crate::time::Instant;
use crate::wire::dhcpv4::INFINITE;

/// How long an INIT-REBOOT waits before it asks a second time, and then before it gives up. Servers that do not know
/// the client must stay silent (RFC 2131 section 4.3.2), so silence is a common answer; somebody waits for the
/// container to start.
pub(super) const REBOOT_WAITS: [Duration; 2] = [Duration::from_millis(700), Duration::from_millis(1300)];

/// How long the REQUEST after an OFFER waits each time; then it starts over. The server answered a moment ago, so
/// this is about lost packets and dying servers, and another server may be there.
pub(super) const REQUEST_WAITS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(3)];

/// How long a NAK of a server that did not grant the lease waits for an ACK of one that did.
pub(super) const NAK_PATIENCE: Duration = Duration::from_millis(500);

/// After this many DISCOVERs the transaction id changes with every one: an answer to an earlier one is not to be
/// expected any more, and a lease must not be counted from minutes ago.
pub(super) const SAME_XID_TRIES: u32 = 3;

/// The lease time of a server that does not tell one, which is forbidden. What other clients take then.
pub(super) const UNTOLD_LEASE_TIME: u32 = 3600;

const LONGEST_WAIT: u32 = 64;

/// How long to wait for answers to the `tries`th DISCOVER (from 1): 1, 2, 4 ... 64 s, randomised by a quarter and at
/// most a second. RFC 2131 section 4.1 begins with 4 s ± 1 s, a word for busy shared segments; here the usual loss
/// is one packet to a bridge port that was not forwarding yet, and the one who waits has seconds.
pub(super) fn discover_wait(rng: &mut impl Random, tries: u32) -> Duration {
    let base = Duration::from_secs(1 << tries.saturating_sub(1).min(LONGEST_WAIT.ilog2()));
    let jitter = (base / 4).min(Duration::from_secs(1));
    between(rng, base.checked_sub(jitter).unwrap(), base + jitter)
}

/// How long to wait for an answer to a renewal that has until `end`: half of what is left, at least a minute
/// (RFC 2131 section 4.4.5). With leases of minutes that floor would mean a single try, so it is at most a
/// sixteenth of the lease: two to five tries before T2, and one to three after it.
pub(super) fn renewal_wait(now: Instant, end: Instant, lease_time: Duration) -> Duration {
    let floor = (lease_time / 16).clamp(Duration::from_millis(250), Duration::from_mins(1));
    (end.saturating_since(now) / 2).max(floor)
}

/// T1, T2 and the end of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) t1: Option<Instant>,
    pub(super) t2: Option<Instant>,
    pub(super) expires: Option<Instant>,
}

impl Terms {
    /// The terms of a lease of `seconds`, with the server's T1 and T2 if 0 < T1 < T2 < lease, else half and seven
    /// eighths (RFC 2131 section 4.4.5). Both are moved forward a little at random, so that clients that were
    /// started together do not renew together. T1 is not before 10 s (or half of a shorter lease), so that a server
    /// cannot make a client talk without end. `None` for a lease of no time.
    pub(super) fn new(
        rng: &mut impl Random,
        obtained: Instant,
        seconds: u32,
        t1: Option<u32>,
        t2: Option<u32>,
    ) -> Option<Self> {
        if seconds == 0 {
            return None;
        }
        if seconds == INFINITE {
            return Some(Self { t1: None, t2: None, expires: None });
        }
        let lease = duration(seconds);
        let least = Duration::from_secs(10).min(lease / 2);
        let told_t1 = t1.filter(|&t| t != 0).map(duration).map(|t| t.max(least));
        let told_t2 = t2.filter(|&t| t != 0).map(duration);
        let (default_t1, default_t2) = (lease / 2, lease / 8 * 7);
        let sane = |t1: Duration, t2: Duration| (t1 < t2 && t2 < lease).then_some((t1, t2));
        let (t1, t2) = sane(told_t1.unwrap_or(default_t1), told_t2.unwrap_or(default_t2))
            .or_else(|| sane(told_t1?, default_t2))
            .unwrap_or((default_t1, default_t2));
        let early_t2 = between(rng, Duration::ZERO, t2.checked_sub(t1).unwrap() / 16);
        let early_t1 = between(rng, Duration::ZERO, t1 / 32);
        Some(Self {
            t1: Some(obtained + t1.checked_sub(early_t1).unwrap()),
            t2: Some(obtained + t2.checked_sub(early_t2).unwrap()),
            expires: Some(obtained + lease),
        })
    }
}

fn duration(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Fixed;

    const START: Instant = Instant::from_boot(Duration::from_secs(1000));

    fn offsets(seconds: u32, t1: Option<u32>, t2: Option<u32>) -> Option<[u64; 3]> {
        let terms = Terms::new(&mut Fixed(0), START, seconds, t1, t2)?;
        let offset = |at: Option<Instant>| at.map_or(u64::MAX, |at| at.saturating_since(START).as_secs());
        Some([offset(terms.t1), offset(terms.t2), offset(terms.expires)])
    }

    #[test]
    fn defaults_and_told_times() {
        assert_eq!(offsets(3600, None, None), Some([1800, 3150, 3600]));
        assert_eq!(offsets(3600, Some(600), Some(1200)), Some([600, 1200, 3600]));
        assert_eq!(offsets(3600, Some(600), None), Some([600, 3150, 3600]));
        assert_eq!(
            offsets(604_800, None, None),
            Some([302_400, 529_200, 604_800]),
            "a week is not shortened"
        );
        assert_eq!(offsets(u32::MAX - 1, None, None).map(|o| o[2]), Some(u64::from(u32::MAX - 1)));
        assert_eq!(offsets(INFINITE, Some(1), Some(2)), Some([u64::MAX; 3]));
    }

    #[test]
    fn insane_times_are_replaced() {
        assert_eq!(offsets(0, None, None), None);
        assert_eq!(offsets(3600, Some(0), Some(0)), Some([1800, 3150, 3600]));
        assert_eq!(offsets(3600, Some(3000), Some(600)), Some([3000, 3150, 3600]), "T1 alone is usable");
        assert_eq!(offsets(3600, Some(4000), Some(5000)), Some([1800, 3150, 3600]));
        assert_eq!(offsets(3600, Some(INFINITE), Some(INFINITE)), Some([1800, 3150, 3600]));
        assert_eq!(offsets(3600, Some(3600), Some(3600)), Some([1800, 3150, 3600]));
        assert_eq!(offsets(3600, Some(1), Some(3150)), Some([10, 3150, 3600]), "not every second");
    }

    #[test]
    fn waits_for_offers_grow_and_stop_growing() {
        let mut middle = Fixed(1 << 31);
        let waits: Vec<_> = (1..=9).map(|n| discover_wait(&mut middle, n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(discover_wait(&mut middle, u32::MAX).as_secs(), 64);
    }

    fn tries(lease: u64) -> (usize, usize) {
        let lease = Duration::from_secs(lease);
        let count = |from: Duration, to: Duration| {
            let (mut at, end) = (START + from, START + to);
            std::iter::from_fn(|| {
                let sent = (at < end).then_some(at)?;
                at = at + renewal_wait(at, end, lease);
                Some(sent)
            })
            .count()
        };
        (count(lease / 2, lease / 8 * 7), count(lease / 8 * 7, lease))
    }

    #[test]
    fn every_lease_gets_several_tries() {
        assert_eq!(tries(4), (4, 2));
        assert_eq!(tries(20), (4, 2));
        assert_eq!(tries(120), (4, 2));
        assert_eq!(tries(3600), (6, 4));
        assert_eq!(tries(86_400), (11, 9));
    }

    proptest! {
        #[test]
        fn always_in_order(draw: u32, seconds in 1..INFINITE, t1: Option<u32>, t2: Option<u32>) {
            let terms = Terms::new(&mut Fixed(draw), START, seconds, t1, t2).expect("time");
            prop_assert!(Some(START) < terms.t1 && terms.t1 < terms.t2 && terms.t2 < terms.expires);
        }
    }
}
