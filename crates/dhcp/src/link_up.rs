//! When to ask again over a link that came up.

use std::time::Duration;

use crate::random::{Random, between};
use crate::time::Instant;

/// Over how long the clients behind one link ask again when it comes up.
const SPREAD: Duration = Duration::from_secs(1);

/// How soon after the last time a link that comes up again counts. Links flap.
const SPACING: Duration = Duration::from_secs(2);

/// When to ask again over a link that came up `now`; `last`: when that was done before.
pub(crate) fn asking_over(rng: &mut impl Random, now: Instant, last: Option<Instant>) -> Instant {
    let soonest = last.map_or(now, |last| now.max(last + SPACING));
    soonest + between(rng, Duration::ZERO, SPREAD)
}
