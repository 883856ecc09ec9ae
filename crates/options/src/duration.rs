//! Spans of time as people write them.

use std::time::Duration;

/// Why a text is not a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a span of time: write it like 10s, 500ms, 1m30s or a plain number of seconds")]
pub struct DurationError;

/// Reads `10s`, `1m30s`, `500ms`, `1h` or a plain number of seconds. Units go from large to small, each at most
/// once; there are no signs, fractions or spaces.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    // In milliseconds, in the order they may appear.
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

    let (first, rest) = take_number(text)?;
    if rest.is_empty() {
        return Ok(Duration::from_secs(first));
    }
    let mut millis: u64 = 0;
    let mut units = UNITS.iter();
    let (mut number, mut rest) = (first, rest);
    loop {
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        // `find` consumes the units it passes, so a unit can neither repeat nor go back up.
        let (_, scale) = units.find(|(unit, _)| *unit == word).ok_or(DurationError)?;
        let part = number.checked_mul(*scale).ok_or(DurationError)?;
        millis = millis.checked_add(part).ok_or(DurationError)?;
        if after.is_empty() {
            return Ok(Duration::from_millis(millis));
        }
        (number, rest) = take_number(after)?;
    }
}

/// The digits at the front, and what follows them.
fn take_number(text: &str) -> Result<(u64, &str), DurationError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    // Empty and overlong digits fail here.
    digits.parse().map(|number| (number, rest)).map_err(|_| DurationError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("10s", 10_000),
            ("10", 10_000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("1m0s", 60_000),
            ("2h1ms", 7_200_001),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "10 s",
            " 10s",
            "10s ",
            "30s1m",
            "1s1s",
            "1d",
            "10sec",
            "1m30",
            "99999999999999999999",
            "18446744073709551615h",
            "١s",
        ] {
            assert_eq!(parse_duration(text), Err(DurationError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9]{0,22}[hms]{0,3}[0-9]{0,22}\\PC{0,4}") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn minutes_and_seconds_add_up(m in 0_u64..10_000, s in 0_u64..10_000, ms in 0_u64..10_000) {
            let expected = Duration::from_millis(m * 60_000 + s * 1000 + ms);
            prop_assert_eq!(parse_duration(&format!("{m}m{s}s{ms}ms")), Ok(expected));
        }
    }
}
