//! Randomness, given by the caller.

use std::time::Duration;

/// Where transaction ids and jitter come from. A product gives the system's random source (ids are what keeps a
/// stranger from answering in a server's place), a test a seeded one.
pub trait Random {
    /// 32 uniformly distributed bits.
    fn next_u32(&mut self) -> u32;
}

impl<R: Random + ?Sized> Random for &mut R {
    fn next_u32(&mut self) -> u32 {
        (**self).next_u32()
    }
}

/// A duration between `low` and `high`, both included, to the microsecond.
pub(crate) fn between(rng: &mut impl Random, low: Duration, high: Duration) -> Duration {
    let span = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX);
    // Scaled, not modulo: the same draw gives nearby results for nearby spans, and no bias that matters for jitter.
    let scaled = (u128::from(span) * u128::from(rng.next_u32())) >> 32;
    low.saturating_add(Duration::from_micros(u64::try_from(scaled).unwrap_or(span)))
}

/// Draws the same number each time.
#[cfg(test)]
pub(crate) struct Fixed(pub(crate) u32);

#[cfg(test)]
impl Random for Fixed {
    fn next_u32(&mut self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_stays_between() {
        let (low, high) = (Duration::from_secs(3), Duration::from_secs(5));
        assert_eq!(between(&mut Fixed(0), low, high), low);
        assert_eq!(between(&mut Fixed(1 << 31), low, high), Duration::from_secs(4));
        assert!(between(&mut Fixed(u32::MAX), low, high) <= high);
        assert_eq!(between(&mut Fixed(u32::MAX), high, low), high);
    }
}
