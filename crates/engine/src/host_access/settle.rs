//! When the host loses something that it is about to have again.
//!
//! A network manager that is restarted takes the addresses of a NIC away, or sets it down, and sets it up again a moment
//! later. If shims went with them, containers would lose connections that outlive the restart.

use std::time::Duration;

use landline_kernel::Event;
use tokio::time::Instant;

/// How long what was lost may stay away before anything is removed because of it.
const SETTLES: Duration = Duration::from_secs(2);

/// Until when nothing is done about a loss.
#[derive(Debug, Default)]
pub(super) struct Settling(Option<Instant>);

impl Settling {
    /// Takes note of something that has changed the host. `shim`: whether a link is one of ours. Whether to look at it
    /// now.
    pub(super) fn note(&mut self, event: &Event, shim: impl Fn(u32) -> bool, now: Instant) -> bool {
        if self.0.is_none() && is_loss(event, shim) {
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

/// Whether the host has less than before, other than by our own doing.
fn is_loss(event: &Event, shim: impl Fn(u32) -> bool) -> bool {
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
        let (shim, now) = (|index| index == 9, Instant::now());
        let mut settling = Settling::default();
        assert!(settling.note(&Event::AddressNew(address(2)), shim, now));
        assert!(settling.note(&Event::AddressGone(address(9)), shim, now), "one of a shim");
        assert!(!settling.is_on());
        assert!(!settling.note(&Event::AddressGone(address(2)), shim, now));
        // What comes back is looked at with it, and further losses are not waited for.
        assert!(!settling.note(&Event::AddressNew(address(2)), shim, now));
        assert!(!settling.note(&Event::AddressGone(address(2)), shim, now + SETTLES));
        assert_eq!(settling.0, Some(now + SETTLES));
        settling.over().await;
        assert!(!settling.is_on());
    }
}
