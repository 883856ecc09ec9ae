//! What waits for a task, each thing once: however often something happens while the task is busy, it hears of it once.
//! So what others cause, a container that sets its link up and down, or a router that says something else every
//! millisecond, needs no more memory than there are things it can be about.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Things that are merged as they wait.
pub trait Merge: Default {
    /// One of them.
    type Item;

    /// Adds one to those that wait.
    fn merge(&mut self, item: Self::Item);

    /// Whether none wait.
    fn is_empty(&self) -> bool;
}

impl<T: Ord> Merge for BTreeSet<T> {
    type Item = T;

    fn merge(&mut self, item: T) {
        self.insert(item);
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// What waits for the one task that takes it.
#[derive(Debug, Default)]
pub struct Pending<M> {
    waiting: Mutex<M>,
    wake: Notify,
}

impl<M: Merge> Pending<M> {
    /// Adds something; the task need not be there.
    pub(crate) fn add(&self, item: M::Item) {
        self.lock().merge(item);
        self.wake.notify_one();
    }

    /// Everything that waits, once there is something. Cancel-safe.
    pub async fn take(&self) -> M {
        loop {
            let waiting = std::mem::take(&mut *self.lock());
            if !waiting.is_empty() {
                return waiting;
            }
            self.wake.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, M> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn what_happens_often_waits_once() {
        let pending = Arc::new(Pending::<BTreeSet<u8>>::default());
        for n in (0..7_u8).cycle().take(100_000) {
            pending.add(n);
        }
        assert_eq!(pending.lock().len(), 7);
        assert_eq!(pending.take().await, (0..7).collect());
        // Nothing waits until there is something again.
        let taker = tokio::spawn({
            let pending = pending.clone();
            async move { pending.take().await }
        });
        tokio::task::yield_now().await;
        assert!(!taker.is_finished());
        pending.add(3);
        assert_eq!(taker.await.unwrap(), BTreeSet::from([3]));
    }
}
