//! What happened, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use super::{DAY, Micros};

#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    counts: BTreeMap<&'static str, u64>,
    pub(crate) lived: Micros,
    /// The most packets one host sent in an hour.
    pub(crate) busiest_hour: u64,
}

impl Report {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn get(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn lease_days(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let days = self.lived as f64 / DAY as f64;
        days
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.lived += other.lived;
        self.busiest_hour = self.busiest_hour.max(other.busiest_hour);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{what:<44}{count:>14}")?;
        }
        writeln!(f, "{:<44}{:>14}", "packets of one host in its busiest hour", self.busiest_hour)?;
        write!(f, "{:<44}{:>14.1}", "lease-days", self.lease_days())
    }
}
