//! Which port an address was last heard on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use landline_types::Mac;

/// How long an address is remembered that is not heard again.
pub(crate) const AGE: Duration = Duration::from_secs(100);

/// How many addresses are remembered at most. Whoever makes up more only makes frames go to all ports.
const MOST: usize = 16_384;

#[derive(Debug, Clone, Copy)]
struct Entry {
    port: u16,
    heard: Instant,
}

/// The addresses of one switch, by VLAN.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: HashMap<(u16, Mac), Entry>,
    swept: Option<Instant>,
}

impl Table {
    /// An address was heard on a port. It moves at once: a machine that migrates must not wait.
    pub(crate) fn learn(&mut self, vlan: u16, mac: Mac, port: u16, now: Instant) {
        if mac.is_multicast() {
            return;
        }
        if self.entries.len() >= MOST && !self.entries.contains_key(&(vlan, mac)) {
            // A sweep looks at everything, so a flood of new addresses does not get one each.
            if self.swept.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
                return;
            }
            self.swept = Some(now);
            self.entries.retain(|_, entry| lives(entry, now));
            if self.entries.len() >= MOST {
                return;
            }
        }
        self.entries.insert((vlan, mac), Entry { port, heard: now });
    }

    /// The port to send to; `None`: all of them.
    pub(crate) fn find(&self, vlan: u16, mac: Mac, now: Instant) -> Option<u16> {
        let entry = self.entries.get(&(vlan, mac))?;
        lives(entry, now).then_some(entry.port)
    }

    /// Forgets what was heard on a port.
    pub(crate) fn forget(&mut self, port: u16) {
        self.entries.retain(|_, entry| entry.port != port);
    }

    /// Everything that is remembered: VLAN, address, port, and how long ago it was heard; in order.
    pub(crate) fn list(&self, now: Instant) -> Vec<(u16, Mac, u16, Duration)> {
        let live = self.entries.iter().filter(|(_, entry)| lives(entry, now));
        let mut list: Vec<_> = live
            .map(|((vlan, mac), e)| (*vlan, *mac, e.port, now.saturating_duration_since(e.heard)))
            .collect();
        list.sort_unstable();
        list
    }
}

fn lives(entry: &Entry, now: Instant) -> bool {
    now.saturating_duration_since(entry.heard) < AGE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u32) -> Mac {
        let [a, b, c, d] = last.to_be_bytes();
        Mac::new([2, 0, a, b, c, d])
    }

    #[test]
    fn addresses_age_and_move_and_go_with_their_port() {
        let (mut table, start) = (Table::default(), Instant::now());
        table.learn(0, mac(1), 3, start);
        assert_eq!(table.find(0, mac(1), start + Duration::from_millis(99_999)), Some(3));
        assert_eq!(table.find(0, mac(1), start + AGE), None);
        assert_eq!(table.find(5, mac(1), start), None, "another VLAN");
        table.learn(0, mac(1), 4, start);
        assert_eq!(table.find(0, mac(1), start), Some(4));
        table.forget(4);
        assert_eq!(table.find(0, mac(1), start), None);
        table.learn(0, Mac::BROADCAST, 4, start);
        assert_eq!(table.find(0, Mac::BROADCAST, start), None);
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_passes() {
        let (mut table, start) = (Table::default(), Instant::now());
        for number in 0..40_000 {
            table.learn(0, mac(number), 1, start);
        }
        assert_eq!(table.entries.len(), MOST);
        assert_eq!(table.find(0, mac(0), start), Some(1), "those there first stay");
        table.learn(0, mac(50_000), 2, start + AGE);
        assert_eq!(table.entries.len(), 1);
    }
}
