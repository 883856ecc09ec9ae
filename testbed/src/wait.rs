//! Waiting for a condition, with a deadline and never for longer than needed.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// What a condition may return: `bool`, or `Option<T>` with the thing that was waited for.
pub trait Condition {
    /// What is known once the condition holds.
    type Value;
    /// The value, if the condition holds.
    fn value(self) -> Option<Self::Value>;
}

impl Condition for bool {
    type Value = ();
    fn value(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Condition for Option<T> {
    type Value = T;
    fn value(self) -> Option<T> {
        self
    }
}

/// Asks `condition` again and again until it holds. The pauses grow from 1 to 50 ms.
///
/// # Errors
/// [`Error::Timeout`] naming `what` if it does not hold within `limit`. It is asked at least once,
/// and once more after the limit, so that a machine that slept does not fail a condition that holds.
pub fn wait_for<C: Condition>(
    what: impl Into<String>,
    limit: Duration,
    mut condition: impl FnMut() -> C,
) -> Result<C::Value> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let late = start.elapsed() >= limit;
        if let Some(value) = condition().value() {
            return Ok(value);
        }
        if late {
            return Err(Error::Timeout { what: what.into(), after: limit, detail: String::new() });
        }
        std::thread::sleep(pause.min(limit.saturating_sub(start.elapsed())));
        pause = (pause * 3 / 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_value_as_soon_as_there_is_one() {
        let mut asked = 0;
        let value = wait_for("three", Duration::from_secs(5), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(value.ok(), Some(3));
    }

    #[test]
    fn says_what_did_not_happen() {
        let error = wait_for("rain", Duration::from_millis(5), || false).unwrap_err();
        assert_eq!(error.to_string(), "rain: not within 5 ms");
    }
}
