//! How long things took, counted by size.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in milliseconds. The last bucket has none.
const BOUNDS_MS: [u64; 12] = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/// A histogram of durations that many threads may add to. It never waits.
#[derive(Debug, Default)]
pub struct Timings {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

/// What a [`Timings`] had counted at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct TimingsSeen {
    /// Upper bound of each bucket in seconds (the last one is `f64::MAX`), and how many durations are in this bucket alone.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all durations, in seconds.
    pub sum: f64,
}

impl Timings {
    /// Adds one duration.
    pub fn add(&self, took: Duration) {
        let bucket = BOUNDS_MS.iter().take_while(|bound| took > Duration::from_millis(**bound)).count();
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> TimingsSeen {
        let bounds = BOUNDS_MS.iter().map(|ms| Duration::from_millis(*ms).as_secs_f64()).chain([f64::MAX]);
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let sum = Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        TimingsSeen { buckets: bounds.zip(counts).collect(), sum }
    }
}

impl TimingsSeen {
    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_bucket_that_holds_it() {
        let timings = Timings::default();
        for ms in [0, 1, 2, 10, 700, 60_000] {
            timings.add(Duration::from_millis(ms));
        }
        let seen = timings.read();
        let filled: Vec<(f64, u64)> = seen.buckets.iter().copied().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.001, 2), (0.005, 1), (0.01, 1), (1.0, 1), (f64::MAX, 1)]);
        assert_eq!((seen.count(), seen.sum), (6, 60.713));
    }
}
