//! Those who wait until the exceptions in the host's firewall have been looked at.

use tokio::sync::{mpsc, oneshot};

/// One of them: it gets its answer when a look that began after it had asked is over.
pub(crate) type Waiter = oneshot::Sender<()>;

/// A look takes some runs of `iptables`, and many containers may start at once: whoever waits when one begins waits for that one, so
/// nobody waits for more than two.
#[derive(Debug)]
pub(super) struct Looks {
    waiters: mpsc::UnboundedReceiver<Waiter>,
    waiting: Vec<Waiter>,
}

impl Looks {
    pub(super) fn new(waiters: mpsc::UnboundedReceiver<Waiter>) -> Self {
        Self { waiters, waiting: Vec::new() }
    }

    /// Returns when somebody waits. Cancel safe.
    pub(super) async fn asked(&mut self) {
        if self.waiting.is_empty() {
            match self.waiters.recv().await {
                Some(waiter) => self.waiting.push(waiter),
                None => std::future::pending().await,
            }
        }
    }

    /// Everybody who waits now, for whoever begins to look.
    pub(super) fn begin(&mut self) -> Vec<Waiter> {
        while let Ok(waiter) = self.waiters.try_recv() {
            self.waiting.push(waiter);
        }
        std::mem::take(&mut self.waiting)
    }
}

/// The look is over. Some may have gone.
pub(super) fn answer(waiters: Vec<Waiter>) {
    for waiter in waiters {
        let _ = waiter.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_who_ask_during_a_look_share_the_next_one() {
        let (ask, waiters) = mpsc::unbounded_channel();
        let asks = || {
            let (waiter, answered) = oneshot::channel();
            ask.send(waiter).unwrap();
            answered
        };
        let mut looks = Looks::new(waiters);
        let mut begun = 0;
        let mut first = asks();
        looks.asked().await;
        let looking = looks.begin();
        begun += 1;
        // What they want to see opened may not have been there when this look began.
        let mut later: Vec<_> = (0..20).map(|_| asks()).collect();
        answer(looking);
        first.try_recv().unwrap();
        assert!(later.iter_mut().all(|answered| answered.try_recv().is_err()));
        while !later.is_empty() {
            looks.asked().await;
            let looking = looks.begin();
            begun += 1;
            answer(looking);
            later.retain_mut(|answered| answered.try_recv().is_err());
        }
        assert_eq!(begun, 2);
        // A look that has another reason serves those who wait, too.
        let mut last = asks();
        answer(looks.begin());
        last.try_recv().unwrap();
    }
}
