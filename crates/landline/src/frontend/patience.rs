//! How long requests wait for word of Docker while its API does not answer.
//!
//! While Docker restores its containers, it asks for one endpoint of a network after the other, and what one of them has waited for in vain, the
//! next need not wait for as well: with ten containers that was the longest part of a restart.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long all requests of one Docker wait together, in times that one waits.
const TOGETHER: u32 = 2;

/// What is left of the patience with a Docker whose API does not answer.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// That Docker's process, and when its first request came.
    since: Mutex<Option<(u32, Instant)>>,
}

impl Patience {
    /// How long a request waits that would wait for `most`. `dockerd` is the process that asks.
    pub(super) fn left(&self, dockerd: Option<u32>, most: Duration, now: Instant) -> Duration {
        let Some(pid) = dockerd else { return most };
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match *since {
            Some((known, first)) if known == pid => first,
            _ => now,
        };
        *since = Some((pid, first));
        (most * TOGETHER).saturating_sub(now.duration_since(first)).min(most)
    }

    /// Its API answers: from now on it is waited for again.
    pub(super) fn renew(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_millis(250);

    #[test]
    fn what_one_has_waited_for_the_next_need_not() {
        let (patience, start) = (Patience::default(), Instant::now());
        let mut now = start;
        for _ in 0..10 {
            now += patience.left(Some(7), MOST, now);
        }
        assert_eq!(now - start, 2 * MOST);
    }

    #[test]
    fn another_docker_is_waited_for_and_one_that_has_answered() {
        let (patience, start) = (Patience::default(), Instant::now());
        let later = start + Duration::from_secs(5);
        assert_eq!(patience.left(Some(7), MOST, start), MOST);
        assert_eq!(patience.left(Some(7), MOST, later), Duration::ZERO);
        assert_eq!(patience.left(Some(8), MOST, later), MOST);
        assert_eq!(patience.left(Some(8), MOST, later + 2 * MOST), Duration::ZERO);
        patience.renew();
        assert_eq!(patience.left(Some(8), MOST, later + 2 * MOST), MOST);
        assert_eq!(patience.left(None, MOST, later), MOST, "who asks is not known");
    }
}
