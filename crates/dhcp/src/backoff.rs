//! How long a client of either family stays away after it was turned down.

use std::time::Duration;

/// How often an early renewal (a user asked for it) is tried before it is left for T1.
pub(crate) const EARLY_TRIES: u32 = 3;

/// How long to stay away after the `count`th refusal or unanswered request in a row: not at all, then 1, 2 ... 64 s.
pub(crate) fn refused_wait(count: u32) -> Duration {
    doubling(Duration::from_secs(1), 6, count)
}

/// A refusal this long after the last one is a new story: longer than the longest wait, and an exchange after it.
pub(crate) const REFUSALS_IN_A_ROW: Duration = Duration::from_mins(2);

/// How long to stay away after the `count`th conflict in a row. RFC 2131 section 3.1 wants 10 s; the first retry is
/// free, because a squatter is one host and the next address is most likely free. After that 10, 20, 40 ... 320 s: what
/// contests one address after the other contests them all, and each decline takes an address out of the server's pool.
/// From the tenth on that is more than RFC 5227's rate limit asks for (section 2.1.1).
pub(crate) fn declined_wait(count: u32) -> Duration {
    doubling(Duration::from_secs(10), 5, count)
}

/// A conflict this long after the last one is a new story: longer than the longest wait, and the check after it.
pub(crate) const CONFLICTS_IN_A_ROW: Duration = Duration::from_mins(10);

/// Nothing after the first time, `second` after the second, and twice as long each time after that, `times` times.
fn doubling(second: Duration, times: u32, count: u32) -> Duration {
    match count {
        0 | 1 => Duration::ZERO,
        _ => second * (1 << (count - 2).min(times)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stop_growing() {
        let waits: Vec<_> = (1..=10).map(|n| refused_wait(n).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(refused_wait(u32::MAX).as_secs(), 64);
        assert!(refused_wait(u32::MAX) < REFUSALS_IN_A_ROW);
        let waits: Vec<_> = (1..=9).map(|n| declined_wait(n).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 320, 320, 320]);
        assert_eq!(declined_wait(u32::MAX).as_secs(), 320);
        assert!(declined_wait(u32::MAX) < CONFLICTS_IN_A_ROW);
    }
}
