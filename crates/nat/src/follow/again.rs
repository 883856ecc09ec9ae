//! DHCP clients that have ended because a server gave them an address that is taken: they begin again later, less and less often.

use std::collections::BTreeMap;
use std::time::Duration;

use landline_model::NatOwner;
use tokio::time::Instant;

/// The pauses before another beginning: the first, which doubles, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(15), Duration::from_mins(10));

/// Who begins again, and when.
#[derive(Debug, Default)]
pub(super) struct Again(BTreeMap<NatOwner, Ended>);

#[derive(Debug)]
struct Ended {
    /// How often, one after the other.
    times: u32,
    /// `None`: it has begun again.
    next: Option<Instant>,
}

impl Again {
    /// The client of this owner has ended.
    pub(super) fn later(&mut self, owner: &NatOwner) {
        let ended = self.0.entry(owner.clone()).or_insert(Ended { times: 0, next: None });
        let pause = PAUSES.0.saturating_mul(1 << ended.times.min(16)).min(PAUSES.1);
        ended.times += 1;
        ended.next = Some(Instant::now() + pause);
    }

    /// It has an address that can be used, or is gone.
    pub(super) fn over(&mut self, owner: &NatOwner) {
        self.0.remove(owner);
    }

    /// Returns when it is time for somebody; never, if nobody waits. Cancel safe.
    pub(super) async fn due(&self) {
        match self.0.values().filter_map(|ended| ended.next).min() {
            Some(next) => tokio::time::sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    /// Those whose time has come.
    pub(super) fn begin(&mut self) -> Vec<NatOwner> {
        let now = Instant::now();
        let due = self.0.iter_mut().filter(|(_, ended)| ended.next.is_some_and(|next| next <= now));
        due.map(|(owner, ended)| {
            ended.next = None;
            owner.clone()
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pauses_grow_until_there_is_an_address() {
        let (mut again, owner) = (Again::default(), NatOwner::Container("web".into()));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let before = Instant::now();
            again.later(&owner);
            assert_eq!(again.begin(), [], "not yet");
            again.due().await;
            pauses.push(before.elapsed().as_secs());
            assert_eq!(again.begin(), std::slice::from_ref(&owner));
            assert_eq!(again.begin(), [], "once");
        }
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 600, 600]);
        again.over(&owner);
        let before = Instant::now();
        again.later(&owner);
        again.due().await;
        assert_eq!(before.elapsed().as_secs(), 15);
    }
}
