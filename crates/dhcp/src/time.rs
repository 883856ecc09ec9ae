//! Points in time since boot, and what can be computed with them.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on `CLOCK_BOOTTIME`: how long after boot it is. The clock goes on while the machine sleeps and is never
/// set, so a lease that was granted at one `Instant` and lasts an hour is over an hour later, whatever happened.
/// It is stored in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(#[serde(with = "milliseconds")] Duration);

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(since: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

impl Instant {
    /// The point this long after boot.
    pub const fn from_boot(since: Duration) -> Self {
        Self(since)
    }

    /// How long after boot this point is.
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// This much later, or the last point there is.
    #[must_use]
    pub const fn saturating_add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }

    /// This much earlier, or boot.
    #[must_use]
    pub const fn saturating_sub(self, delay: Duration) -> Self {
        Self(self.0.saturating_sub(delay))
    }

    /// This much later, or `None` if there is no such point.
    pub const fn checked_add(self, delay: Duration) -> Option<Self> {
        match self.0.checked_add(delay) {
            Some(since) => Some(Self(since)),
            None => None,
        }
    }

    /// How much later than `earlier` this is; zero if it is not later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates: protocol timers come from the wire and must not overflow.
    fn add(self, delay: Duration) -> Self {
        self.saturating_add(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_never_overflows() {
        let boot = Instant::from_boot(Duration::ZERO);
        let end = boot + Duration::MAX;
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(end.checked_add(Duration::from_nanos(1)), None);
        assert_eq!(boot.saturating_sub(Duration::from_secs(1)), boot);
        assert_eq!(boot.saturating_since(end), Duration::ZERO);
        assert_eq!(end.saturating_since(boot), Duration::MAX);
    }
}
