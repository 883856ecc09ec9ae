//! When the host loses something that it is about to have again.
//!
//! A network manager that is restarted takes the addresses of a NIC away, or sets it down, and sets it up again a moment
//! later. If shims went with them, containers would lose connections that outlive the restart.

use std::time::Duration;

use landline_kernel::Event;
use tokio::time::Instant;

/// How long what was lost may stay away before anything is removed because of it.
const SETTLES: Duration = Duration::from_secs(5);

/// Until when nothing is done about a loss.
#[derive(Debug, Default)]
pub(super) struct Settling(Option<Instant>);

impl Settling {
    /// Takes note of something that has changed the host. Whether to look at it now.
    pub(super) fn note(&mut self, loss: bool, now: Instant) -> bool {
        if self.0.is_none() && loss {
            // Not longer with every further loss.
            self.0 = Some(now + SETTLES);
        }
        self.0.is_none()
    }

    /// Whether there was a loss a moment ago.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until it is over; for ever if there is none. Cancel safe.
    pub(super) async fn over(&mut self) {
        match self.0 {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}

/// The time from one look at the host to the next, for events.
const MOMENT: Duration = Duration::from_millis(250);

/// Events of the host that wait to be looked at. The first is looked at at once, those that come within a moment after a look
/// are one more: anybody who sends router advertisements to the host decides how many there are.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// Whether there was a loss among those that wait; `None`: none waits.
    waiting: Option<bool>,
    not_before: Option<Instant>,
}

impl Burst {
    /// One more. `loss`: the host has less than before.
    pub(super) fn add(&mut self, loss: bool) {
        self.waiting = Some(loss || self.waiting == Some(true));
    }

    /// Waits until there is one and it is time to look; whether there was a loss. Cancel safe.
    pub(super) async fn due(&mut self) -> bool {
        let Some(loss) = self.waiting else { return std::future::pending().await };
        if let Some(time) = self.not_before {
            tokio::time::sleep_until(time).await;
        }
        (self.waiting, self.not_before) = (None, Some(Instant::now() + MOMENT));
        loss
    }
}

/// Whether the host has less than before, other than by our own doing. `shim`: whether a link is one of ours.
pub(super) fn is_loss(event: &Event, shim: impl Fn(u32) -> bool) -> bool {
    match event {
        Event::AddressGone(address) => !shim(address.index),
        Event::LinkNew(link) => !(shim(link.index) || link.up && link.lower_up),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use landline_kernel::Address;

    use super::*;

    fn address(index: u32) -> Address {
        Address::new(index, "192.0.2.10/24".parse().unwrap())
    }

    #[tokio::test]
    async fn a_loss_is_looked_at_later_and_nothing_else() {
        let now = Instant::now();
        let loss = |event| is_loss(&event, |index| index == 9);
        let mut settling = Settling::default();
        assert!(settling.note(loss(Event::AddressNew(address(2))), now));
        assert!(settling.note(loss(Event::AddressGone(address(9))), now), "one of a shim");
        assert!(!settling.is_on());
        assert!(!settling.note(loss(Event::AddressGone(address(2))), now));
        // What comes back is looked at with it, and further losses are not waited for.
        assert!(!settling.note(loss(Event::AddressNew(address(2))), now));
        assert!(!settling.note(loss(Event::AddressGone(address(2))), now + SETTLES));
        assert_eq!(settling.0, Some(now + SETTLES));
        settling.over().await;
        assert!(!settling.is_on());
    }

    #[tokio::test]
    async fn events_of_a_moment_are_one_look() {
        let (start, mut burst) = (Instant::now(), Burst::default());
        burst.add(false);
        assert!(!burst.due().await);
        assert!(
            burst.not_before.is_some_and(|time| time >= start + MOMENT),
            "the next is not looked at at once"
        );
        for n in 0..1000 {
            burst.add(n == 500);
        }
        assert!(burst.due().await, "the loss among them is not forgotten");
        assert!(start.elapsed() >= MOMENT);
        assert!(burst.waiting.is_none(), "one look for all of them");
    }
}
