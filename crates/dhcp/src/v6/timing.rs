//! How long things take, and why. Names in capitals are RFC 9915's (section 7.6).

use std::time::Duration;

use super::table::is_live;
use crate::backoff::EARLY_TRIES;
use crate::random::{Random, between};
use crate::time::Instant;
use crate::wire::dhcpv6::INFINITE;

/// An address that somebody else has is tried again after this long, if there is no other to use instead.
pub(super) const CONTESTED_RETRY: Duration = Duration::from_mins(1);

/// Without an advertisement for this long DHCPv6 is tried all the same. Routers that answer at once have answered,
/// the others (they may wait for three seconds) can still say that there is none.
pub(super) const NO_ROUTER_PATIENCE: Duration = Duration::from_millis(1500);

/// How long after the first advertisement of a network what another network's routers said is forgotten: others of
/// the same network answer within this time.
pub(super) const DOUBT: Duration = Duration::from_secs(4);

/// After the first offer others are waited for this long. RFC 9915 section 18.2.1 wants the rest of a second, a word
/// for servers behind relay agents; somebody waits, and who ranks servers has preference 255, which ends the wait.
pub(super) const COLLECT: Duration = Duration::from_millis(200);

/// A message's answer arrives within this time, if it does: a lease counts from the first copy of the question that
/// was sent no longer ago.
pub(super) const LATEST_ANSWER: Duration = Duration::from_secs(10);

/// `IRT_DEFAULT` and `IRT_MINIMUM`: when to ask for information again.
pub(super) const INFORMATION_DEFAULT: u32 = 86_400;
pub(super) const INFORMATION_MINIMUM: u32 = 600;

/// `SOL_MAX_RT` and `INF_MAX_RT` unless servers say otherwise, and what they may say.
pub(super) const MAX_RT: u32 = 3600;
pub(super) const MAX_RT_RANGE: std::ops::RangeInclusive<u32> = 60..=86_400;

/// How a question is repeated: first after `first`, then twice as long each time up to `longest`, `count` times in
/// all, until `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rhythm {
    pub(super) first: Duration,
    pub(super) longest: Duration,
    pub(super) count: Option<u32>,
    pub(super) end: Option<Instant>,
}

impl Rhythm {
    const fn new(first: u64, longest: u64, count: Option<u32>) -> Self {
        Self { first: Duration::from_secs(first), longest: Duration::from_secs(longest), count, end: None }
    }

    /// `SOL_TIMEOUT`; the longest time is the servers' choice.
    pub(super) fn solicit(longest: u32) -> Self {
        Self { longest: Duration::from_secs(u64::from(longest)), ..Self::new(1, 0, None) }
    }

    /// `INF_TIMEOUT`; likewise.
    pub(super) fn inform(longest: u32) -> Self {
        Self::solicit(longest)
    }

    /// `REQ_TIMEOUT`, `REQ_MAX_RT`. RFC 9915 has `REQ_MAX_RC` 10, three minutes; the server offered a moment ago, so
    /// after 15 seconds of silence another one is better.
    pub(super) const REQUEST: Self = Self::new(1, 30, Some(4));

    /// `CNF_TIMEOUT`, `CNF_MAX_RT`, `CNF_MAX_RD`.
    pub(super) fn confirm(now: Instant) -> Self {
        Self { end: Some(now + Duration::from_secs(10)), ..Self::new(1, 4, None) }
    }

    /// `REN_TIMEOUT`, `REN_MAX_RT`; with the same numbers `REB_TIMEOUT`, `REB_MAX_RT`. Ten seconds are too many for
    /// a lease of minutes: there are several tries in any time.
    pub(super) fn extend(now: Instant, end: Option<Instant>) -> Self {
        let left = end.map_or(Duration::MAX, |end| end.saturating_since(now));
        let first = (left / 6).clamp(Duration::from_millis(250), Duration::from_secs(10));
        Self { first, end, ..Self::new(0, 600, None) }
    }

    /// An early renewal.
    pub(super) const EARLY: Self = Self::new(1, 4, Some(EARLY_TRIES));

    /// `REL_TIMEOUT`, `REL_MAX_RC`; with the same numbers `DEC_TIMEOUT`, `DEC_MAX_RC`.
    pub(super) const RETURN: Self = Self::new(1, 8, Some(4));

    /// How long to wait after the `tries`th message (from 1) when the wait before was `last`: RFC 9915 section 15.
    pub(super) fn wait(&self, rng: &mut impl Random, tries: u32, last: Duration) -> Duration {
        let base = if tries <= 1 { self.first } else { last.saturating_mul(2) };
        let base = if self.longest < base && !self.longest.is_zero() { self.longest } else { base };
        let tenth = base / 10;
        between(rng, base.saturating_sub(tenth), base.saturating_add(tenth))
    }
}

/// T1 is not before this, unless the lease is short.
const LEAST_T1: Duration = Duration::from_secs(10);

/// When to extend a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) t1: Option<Instant>,
    pub(super) t2: Option<Instant>,
}

impl Terms {
    /// The server's T1 and T2 if 0 < T1 <= T2 < the shortest valid lifetime, else half and four fifths of the
    /// shortest preferred one (RFC 9915 section 21.4). Both are moved forward a little at random, so that clients
    /// that were started together do not renew together. T1 is not before 10 s (or half of a shorter lifetime), so
    /// that a server cannot make a client talk without end.
    ///
    /// `lifetimes`: preferred and valid seconds of each address, none of them zero.
    pub(super) fn new(
        rng: &mut impl Random,
        obtained: Instant,
        told: (u32, u32),
        lifetimes: impl Iterator<Item = (u32, u32)>,
    ) -> Self {
        let (mut preferred, mut valid) = (INFINITE, INFINITE);
        for (p, v) in lifetimes {
            preferred = preferred.min(if p == 0 { v } else { p });
            valid = valid.min(v);
        }
        let (t1, t2) = match told {
            (t1, t2) if 0 < t1 && t1 <= t2 && (t2 < valid || valid == INFINITE) => (t1, t2),
            (t1, 0) if 0 < t1 && t1 < preferred / 5 * 4 => (t1, preferred / 5 * 4),
            _ if preferred == INFINITE => (INFINITE, INFINITE),
            _ => (preferred / 2, preferred / 5 * 4),
        };
        let seconds = |secs: u32| (secs != INFINITE).then(|| Duration::from_secs(u64::from(secs)));
        let least = seconds(valid).map_or(LEAST_T1, |valid| (valid / 2).min(LEAST_T1));
        let t1 = seconds(t1).map(|t1| t1.max(least));
        let t2 = seconds(t2).map(|t2| t2.max(t1.unwrap_or(least)));
        let mut early = |span: Duration| between(rng, Duration::ZERO, span);
        let early_t2 = t2.zip(t1).map_or(Duration::ZERO, |(t2, t1)| early(t2.saturating_sub(t1) / 16));
        let early_t1 = t1.map_or(Duration::ZERO, |t1| early(t1 / 32));
        Self {
            t1: t1.map(|t1| obtained + t1.saturating_sub(early_t1)),
            t2: t2.map(|t2| obtained + t2.saturating_sub(early_t2)),
        }
    }

    /// Whether T2 has passed.
    pub(super) fn is_rebinding(t2: Option<Instant>, now: Instant) -> bool {
        !is_live(t2, now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Fixed;

    const START: Instant = Instant::from_boot(Duration::from_secs(1000));

    fn terms(told: (u32, u32), lifetimes: &[(u32, u32)]) -> [Option<u64>; 2] {
        let terms = Terms::new(&mut Fixed(0), START, told, lifetimes.iter().copied());
        [terms.t1, terms.t2].map(|at| at.map(|at| at.saturating_since(START).as_secs()))
    }

    #[test]
    fn told_and_default_times() {
        assert_eq!(terms((1000, 2000), &[(3000, 4000)]), [Some(1000), Some(2000)]);
        assert_eq!(terms((0, 0), &[(3000, 4000), (2000, 2500)]), [Some(1000), Some(1600)]);
        assert_eq!(terms((500, 0), &[(3000, 4000)]), [Some(500), Some(2400)]);
        assert_eq!(terms((2000, 1000), &[(3000, 4000)]), [Some(1500), Some(2400)], "T1 after T2");
        assert_eq!(terms((2000, 5000), &[(3000, 4000)]), [Some(1500), Some(2400)], "T2 after the end");
        assert_eq!(terms((1, 1), &[(3000, 4000)]), [Some(10), Some(10)], "not every second");
        assert_eq!(terms((0, 0), &[(INFINITE, INFINITE)]), [None, None]);
        assert_eq!(terms((INFINITE, INFINITE), &[(INFINITE, INFINITE)]), [None, None]);
        assert_eq!(terms((0, 0), &[(0, 100)]), [Some(50), Some(80)], "deprecated from the start");
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut middle = Fixed(1 << 31);
        let mut last = Duration::ZERO;
        let waits: Vec<_> = (1..=9)
            .map(|tries| {
                last = Rhythm::solicit(60).wait(&mut middle, tries, last);
                last.as_secs_f64().round()
            })
            .collect();
        assert_eq!(
            waits.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            "1 2 4 8 16 32 60 60 60"
        );
    }

    #[test]
    fn every_lease_gets_several_tries() {
        for left in [4_u64, 10, 60, 3600, 86_400] {
            let end = START + Duration::from_secs(left);
            let rhythm = Rhythm::extend(START, Some(end));
            let (mut now, mut last, mut tries) = (START, Duration::ZERO, 0);
            while now < end {
                tries += 1;
                last = rhythm.wait(&mut Fixed(1 << 31), tries, last);
                now = now + last;
            }
            assert!((3..160).contains(&tries), "{tries} in {left} s");
        }
    }

    proptest! {
        #[test]
        fn always_in_order(draw: u32, told: (u32, u32), preferred: u32, valid in 1..INFINITE) {
            let preferred = preferred.min(valid);
            let terms = Terms::new(&mut Fixed(draw), START, told, [(preferred, valid)].into_iter());
            let end = Some(START + Duration::from_secs(u64::from(valid)));
            prop_assert!(terms.t1 <= terms.t2, "{:?}", terms);
            prop_assert!(terms.t1.is_some() && terms.t1 > Some(START), "{:?}", terms);
            prop_assert!(terms.t2 <= end, "{:?} {:?}", terms, end);
        }
    }
}
