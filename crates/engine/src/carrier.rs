//! Noticing that packets of containers get onto the LAN again: a cable is back, a bridge forwards.
//!
//! A container's own link has a carrier all the time where a bridge is between it and the LAN, and what it asks is lost
//! meanwhile. So the host's links are followed: the NIC that a network has as its parent, the ports of its bridge, and
//! the endpoint's own port where the spanning tree protocol holds it back.

use std::collections::BTreeMap;

use landline_kernel::{Link, LinkKind, PortState};
use landline_links::mark_of;

/// What was last seen of a link.
#[derive(Debug, Clone, Copy)]
struct Before {
    carries: bool,
    /// It has carried packets, or was there when the daemon started.
    counts: bool,
    port: Option<PortState>,
}

/// Which of the host's links carry packets.
#[derive(Debug, Default)]
pub(crate) struct Carriers(BTreeMap<u32, Before>);

impl Carriers {
    /// Takes note of these links as they are now; those that carry packets again. `all`: there are no others, and what
    /// happened before is not known.
    pub(crate) fn back<'a>(&mut self, links: &'a [Link], all: bool) -> Vec<&'a Link> {
        let first = self.0.is_empty();
        if all {
            self.0.retain(|index, _| links.iter().any(|link| link.index == *index));
        }
        links.iter().filter(|link| self.note(link, first)).collect()
    }

    fn note(&mut self, link: &Link, first: bool) -> bool {
        let before = self.0.get(&link.index).copied();
        let now = Before {
            carries: link.carries(),
            counts: first || link.carries() || before.is_some_and(|before| before.counts),
            port: link.port_state,
        };
        self.0.insert(link.index, now);
        let Some(before) = before.filter(|before| now.carries && !before.carries) else { return false };
        if mark_of(link).is_some() {
            // The carrier of our own comes and goes as its other end moves into the container.
            return before.port.is_some_and(PortState::is_held);
        }
        // Another container's or virtual machine's, which has just been made, was no way to the LAN before either.
        let guest = matches!(link.kind, LinkKind::Veth | LinkKind::Tun);
        before.counts || !guest
    }
}

#[cfg(test)]
mod tests {
    use landline_links::fake::link;
    use landline_links::mark::{End, Mark};

    use super::*;

    fn nic(lower_up: bool) -> Link {
        Link { lower_up, ..link(2, "eth0", LinkKind::Physical) }
    }

    fn mark() -> Mark {
        Mark::new(&"e".repeat(64).parse().unwrap(), End::Host)
    }

    fn port(index: u32, state: PortState) -> Link {
        Link { controller: Some(3), port_state: Some(state), ..link(index, "p0", LinkKind::Physical) }
    }

    fn back(carriers: &mut Carriers, link: Link) -> bool {
        !carriers.back(&[link], false).is_empty()
    }

    #[test]
    fn a_cable_is_pulled_and_put_back() {
        let mut carriers = Carriers::default();
        assert!(!back(&mut carriers, nic(true)), "it was never gone");
        assert!(!back(&mut carriers, nic(false)));
        assert!(back(&mut carriers, nic(true)));
        assert!(!back(&mut carriers, nic(true)), "once");
    }

    #[test]
    fn a_cable_that_was_never_in_is_put_in() {
        let mut carriers = Carriers::default();
        assert_eq!(carriers.back(&[nic(false)], true), Vec::<&Link>::new());
        assert!(back(&mut carriers, nic(true)));
    }

    #[test]
    fn a_bridge_forwards_from_its_port() {
        let mut carriers = Carriers::default();
        for state in [PortState::Forwarding, PortState::Disabled, PortState::Listening, PortState::Learning] {
            assert!(!back(&mut carriers, port(2, state)), "{state}");
        }
        assert!(back(&mut carriers, port(2, PortState::Forwarding)));
    }

    #[test]
    fn an_endpoints_own_port_counts_when_it_was_held_back() {
        let mut carriers = Carriers::default();
        let own = |state| Link { alias: Some(mark().to_string()), ..port(4, state) };
        for state in [PortState::Disabled, PortState::Forwarding, PortState::Disabled, PortState::Forwarding]
        {
            assert!(!back(&mut carriers, own(state)), "its other end moved");
        }
        for state in [PortState::Listening, PortState::Learning] {
            assert!(!back(&mut carriers, own(state)));
        }
        assert!(back(&mut carriers, own(PortState::Forwarding)));
    }

    #[test]
    fn a_guest_that_is_plugged_in_is_no_news() {
        let mut carriers = Carriers::default();
        carriers.back(&[nic(true)], true);
        let guest = |lower_up| Link { lower_up, ..link(7, "tap0", LinkKind::Tun) };
        assert!(!back(&mut carriers, guest(false)));
        assert!(!back(&mut carriers, guest(true)));
    }
}
