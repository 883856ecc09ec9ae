//! Durations that were measured, and what is said about them. In milliseconds.

use std::time::Duration;

/// Measured durations in the order of the rounds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample(Vec<f64>);

impl Sample {
    /// The middle one, or the mean of the two in the middle; NaN if nothing was measured.
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.as_slice() {
            [] => f64::NAN,
            odd if odd.len() % 2 == 1 => odd[middle],
            even => f64::midpoint(even[middle - 1], even[middle]),
        }
    }

    /// The shortest; NaN if nothing was measured.
    pub(super) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The longest; NaN if nothing was measured.
    pub(super) fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// By how much each was longer than `floor`'s of the same round: a busy moment that hits a whole round drops out.
    pub(super) fn beyond(&self, floor: &Self) -> Self {
        Self(self.0.iter().zip(&floor.0).map(|(mine, floor)| mine - floor).collect())
    }
}

impl FromIterator<Duration> for Sample {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        Self(durations.into_iter().map(|duration| duration.as_secs_f64() * 1000.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(millis: &[u64]) -> Sample {
        millis.iter().copied().map(Duration::from_millis).collect()
    }

    #[track_caller]
    fn is(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    }

    #[test]
    fn median_does_not_care_about_order_or_one_outlier() {
        is(sample(&[9000, 1, 3]).median(), 3.0);
        is(sample(&[4, 1, 9000, 2]).median(), 3.0);
        assert!(sample(&[]).median().is_nan());
    }

    #[test]
    fn extremes() {
        let sample = sample(&[5, 2, 9]);
        is(sample.min(), 2.0);
        is(sample.max(), 9.0);
    }

    #[test]
    fn what_is_beyond_the_floor_is_taken_round_by_round() {
        // The floor of the second round is that of a busy machine: so is the other.
        let (floor, other) = (sample(&[100, 500, 100]), sample(&[110, 512, 111]));
        is(other.beyond(&floor).median(), 11.0);
        is(floor.beyond(&other).median(), -11.0);
    }
}
