//! A table whose entries run out, for what routers and servers tell for a time.

use std::time::Duration;

use crate::time::Instant;
use crate::wire::ra::INFINITE;

/// A bounded list of things that were told for a time, one row for each key. What comes when it is full is ignored:
/// a router that says more than any network needs cannot push out what another said.
#[derive(Debug, Clone)]
pub(super) struct Table<K, V> {
    rows: Vec<Row<K, V>>,
    max: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Row<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    /// The end of the time; `None`: never.
    pub(super) until: Option<Instant>,
    /// Said on this network, as far as is known: false for what is remembered from before the link came up.
    heard: bool,
}

impl<K: PartialEq, V> Table<K, V> {
    pub(super) const fn new(max: usize) -> Self {
        Self { rows: Vec::new(), max }
    }

    /// This was said, to hold for so many seconds; zero: it does not hold any more.
    pub(super) fn hear(&mut self, now: Instant, key: K, value: V, seconds: u32) {
        if seconds == 0 {
            self.rows.retain(|row| row.key != key);
        } else {
            self.put(Row { key, value, until: end(now, seconds), heard: true });
        }
    }

    /// This was said once, perhaps on another network.
    pub(super) fn remember(&mut self, key: K, value: V, until: Option<Instant>, heard: bool) {
        self.put(Row { key, value, until, heard });
    }

    fn put(&mut self, row: Row<K, V>) {
        if let Some(old) = self.rows.iter_mut().find(|old| old.key == row.key) {
            *old = row;
        } else if self.rows.len() < self.max {
            self.rows.push(row);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Row<K, V>> {
        self.rows.iter()
    }

    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Instant) {
        self.rows.retain(|row| is_live(row.until, now));
    }

    /// The link may be on another network now.
    pub(super) fn doubt(&mut self) {
        self.rows.iter_mut().for_each(|row| row.heard = false);
    }

    /// Whether there is anything that was not said since.
    pub(super) fn is_doubted(&self) -> bool {
        self.rows.iter().any(|row| !row.heard)
    }

    /// Forgets what was not said since [`doubt`](Self::doubt).
    pub(super) fn drop_doubted(&mut self) {
        self.rows.retain(|row| row.heard);
    }

    /// When things end.
    pub(super) fn ends(&self) -> impl Iterator<Item = Instant> {
        self.rows.iter().filter_map(|row| row.until)
    }
}

/// The end of a lifetime that begins now; `None`: never.
pub(super) fn end(now: Instant, seconds: u32) -> Option<Instant> {
    (seconds != INFINITE).then(|| now + Duration::from_secs(u64::from(seconds)))
}

/// Whether a lifetime is not over.
pub(super) fn is_live(until: Option<Instant>, now: Instant) -> bool {
    until.is_none_or(|end| now < end)
}

/// The earlier of two ends.
pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_timed_and_doubted() {
        let now = Instant::from_boot(Duration::from_secs(1));
        let keys = |table: &Table<u8, ()>| table.iter().map(|row| row.key).collect::<Vec<_>>();
        let mut table = Table::new(3);
        for key in 0..9 {
            table.hear(now, key, (), 10 + u32::from(key));
        }
        assert_eq!(keys(&table), [0, 1, 2], "the rest is ignored");
        table.hear(now, 1, (), 0);
        table.hear(now, 2, (), INFINITE);
        assert_eq!(keys(&table), [0, 2]);
        table.doubt();
        table.hear(now, 0, (), 5);
        table.drop_doubted();
        assert_eq!(keys(&table), [0]);
        table.expire(now + Duration::from_millis(4999));
        assert_eq!(keys(&table), [0]);
        table.expire(now + Duration::from_secs(5));
        assert_eq!(keys(&table), [0; 0]);
    }
}
