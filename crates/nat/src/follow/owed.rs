//! Addresses on the host that are over: taken away, and if that fails, taken away later.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use landline_leases::probe::Prober;
use landline_types::IfName;
use tokio::time::Instant;

use crate::address;
use landline_types::chain;

/// The pauses between attempts: the first, which doubles, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// What could not be taken away yet.
#[derive(Debug, Default)]
pub(super) struct Owed {
    left: BTreeSet<(IfName, Ipv4Addr)>,
    attempts: u32,
    next: Option<Instant>,
}

impl Owed {
    /// Takes an address away, now or as soon as that works.
    pub(super) async fn take(&mut self, prober: &Prober, interface: &IfName, address: Ipv4Addr) {
        let Err(error) = address::take(prober, interface, address).await else {
            self.keep(interface, address);
            return;
        };
        tracing::warn!(%address, %interface, error = chain(&error), "an address that is over could not be removed; trying again");
        self.add(interface, address);
    }

    fn add(&mut self, interface: &IfName, address: Ipv4Addr) {
        self.left.insert((interface.clone(), address));
        self.attempts = 0;
        self.next = Some(Instant::now() + PAUSES.0);
    }

    /// An address is to be there, or is gone already.
    pub(super) fn keep(&mut self, interface: &IfName, address: Ipv4Addr) {
        self.left.remove(&(interface.clone(), address));
    }

    /// Returns when it is time for the next attempt; never, if nothing is left. Cancel safe.
    pub(super) async fn due(&self) {
        match self.next.filter(|_| !self.left.is_empty()) {
            Some(next) => tokio::time::sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    /// The next attempt for all that is left.
    pub(super) async fn settle(&mut self, prober: &Prober) {
        for (interface, address) in self.left.clone() {
            match address::take(prober, &interface, address).await {
                Ok(()) => {
                    tracing::info!(%address, %interface, "an address that was over is removed");
                    self.keep(&interface, address);
                }
                Err(error) => {
                    tracing::debug!(%address, %interface, error = chain(&error), "still not removed");
                }
            }
        }
        self.attempted(Instant::now());
    }

    fn attempted(&mut self, now: Instant) {
        self.attempts = self.attempts.saturating_add(1);
        let pause = PAUSES.0.saturating_mul(2_u32.saturating_pow(self.attempts)).min(PAUSES.1);
        self.next = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_is_tried_again_less_and_less_often() {
        let (nic, address): (IfName, _) = ("eth9".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 117));
        let mut owed = Owed::default();
        let soon = |owed: Owed, time| async move {
            let due = tokio::time::timeout(time, owed.due()).await.is_ok();
            (owed, due)
        };
        let (owed_after, due) = soon(owed, Duration::from_millis(10)).await;
        owed = owed_after;
        assert!(!due, "nothing is left");
        owed.add(&nic, address);
        let (start, mut pauses) = (Instant::now(), Vec::new());
        for _ in 0..9 {
            owed.attempted(start);
            pauses.push((owed.next.unwrap() - start).as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60, 60]);
        owed.next = Some(start);
        let (owed_after, due) = soon(owed, Duration::from_secs(10)).await;
        owed = owed_after;
        assert!(due);
        // It is wanted there again.
        owed.keep(&nic, address);
        assert!(!soon(owed, Duration::from_millis(10)).await.1);
    }
}
