//! How long Docker's requests took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use landline_types::{Timings, TimingsSeen};

/// How long Docker's requests took, by what was asked.
#[derive(Debug, Default)]
pub(crate) struct DockerMeter(Mutex<BTreeMap<&'static str, Arc<Timings>>>);

impl DockerMeter {
    /// One was answered.
    pub(crate) fn add(&self, verb: &'static str, took: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(verb).or_default().add(took);
    }

    /// What was counted so far.
    pub(crate) fn read(&self) -> Vec<(&'static str, TimingsSeen)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(verb, timings)| (*verb, timings.read())).collect()
    }
}
