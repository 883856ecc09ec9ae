//! The time of day where the user is.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sys;

/// A moment as people there write it (RFC 3339), `2026-01-31T13:00:00.123456+01:00`, on the clock that the environment
/// variable `TZ` names (tzset(3)): UTC if it names none that is known.
///
/// # Errors
/// It is before 1970 or beyond all calendars.
pub fn local_time(moment: SystemTime) -> io::Result<String> {
    let since: Duration = moment.duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let t = sys::local_time(i64::try_from(since.as_secs()).map_err(io::Error::other)?)?;
    let (sign, ahead) = (if t.tm_gmtoff < 0 { '-' } else { '+' }, t.tm_gmtoff.unsigned_abs());
    Ok(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}{sign}{:02}:{:02}",
        i64::from(t.tm_year) + 1900,
        t.tm_mon + 1,
        t.tm_mday,
        t.tm_hour,
        t.tm_min,
        t.tm_sec,
        since.subsec_micros(),
        ahead / 3600,
        ahead / 60 % 60,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_place_it_is_that_moment() {
        let moment = UNIX_EPOCH + Duration::new(1_800_000_000, 5_000);
        let text = local_time(moment).unwrap();
        let (date, zone) = text.split_at(26);
        assert!(date.starts_with("2027-01-1") && date.ends_with(".000005"), "{text}");
        assert!(zone.len() == 6 && zone.contains(':') && zone.starts_with(['+', '-']), "{text}");
        assert!(local_time(UNIX_EPOCH - Duration::from_secs(1)).is_err());
    }
}
