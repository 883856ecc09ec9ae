//! What a guard writes down, so that the daemon takes its place when it is killed.
//!
//! It is in a directory of its own and not in that of the service, which the service manager may remove when the service
//! ends. It does not outlive the boot, and neither does what it is about: the kernel's bridges are gone then, and
//! what Open vSwitch keeps is swept away (`boot.rs`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landline_kernel::{ProcessWatch, process_start};
use landline_types::IfName;
use landline_uplink::BridgeKind;
use serde::{Deserialize, Serialize};

use super::DIRECTORY;
use crate::files;

/// One guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GuardRecord {
    pub(super) bridge: IfName,
    pub(super) nic: IfName,
    /// Whether the bridge is one of Open vSwitch.
    ovs: bool,
    /// The guard itself.
    pub(super) guard: ProcessId,
    /// The command that it watches.
    pub(super) command: ProcessId,
    pub(super) phase: Phase,
}

/// What is to be done should the guard be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// The command works; when it ends without a word, all is put back.
    Working,
    /// The bridge is up; all is put back at this time (milliseconds since the boot) unless somebody confirms.
    Waiting {
        /// The deadline.
        until_ms: u64,
    },
    /// All is being put back.
    GoingBack,
}

/// A process, told from all others that had or will have its number in this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pid: u32,
    /// See [`process_start`].
    start: u64,
}

impl ProcessId {
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start: process_start(pid)? })
    }

    /// Waits for its end. One that cannot be looked at has ended.
    pub(super) async fn ended(self) {
        let Ok(watch) = ProcessWatch::open(self.pid) else { return };
        if Self::of(self.pid).is_ok_and(|now| now == self) {
            let _ = watch.ended().await;
        }
    }
}

impl GuardRecord {
    /// That of this process, which `command` has started.
    pub(super) fn own(bridge: &IfName, nic: &IfName, kind: BridgeKind, command: u32) -> io::Result<Self> {
        let guard = ProcessId::of(std::process::id())?;
        // One that has ended already will not say that it is done.
        let command = ProcessId::of(command).unwrap_or(ProcessId { pid: command, start: 0 });
        let ovs = kind != BridgeKind::Linux;
        Ok(Self { bridge: bridge.clone(), nic: nic.clone(), ovs, guard, command, phase: Phase::Working })
    }

    /// Which kind of bridge it is, as far as the way back goes.
    pub(super) fn kind(&self) -> BridgeKind {
        if self.ovs { BridgeKind::Ovs } else { BridgeKind::Linux }
    }

    /// Writes it down in this phase.
    pub(super) fn enter(&mut self, phase: Phase) -> io::Result<()> {
        self.phase = phase;
        self.write(Path::new(DIRECTORY))
    }

    fn write(&self, directory: &Path) -> io::Result<()> {
        files::replace(&path(directory, &self.bridge), &serde_json::to_string(self)?, 0o600)
    }

    /// What is written of this bridge.
    pub(super) fn read(bridge: &IfName) -> Option<Self> {
        Self::at(&path(Path::new(DIRECTORY), bridge))
    }

    /// All there are.
    pub(super) fn all() -> Vec<Self> {
        Self::all_in(Path::new(DIRECTORY))
    }

    fn all_in(directory: &Path) -> Vec<Self> {
        let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|file| file.path());
        files
            .filter(|path| path.extension().is_some_and(|is| is == "guard"))
            .filter_map(|path| Self::at(&path))
            .collect()
    }

    fn at(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Whether it is still what is written.
    pub(super) fn stands(&self) -> bool {
        Self::read(&self.bridge).is_some_and(|now| now.guard == self.guard)
    }

    /// Takes it away, unless another guard has written one since.
    pub(super) fn remove(&self) {
        if self.stands() {
            let _ = fs::remove_file(path(Path::new(DIRECTORY), &self.bridge));
        }
    }
}

impl Phase {
    /// That in which a confirmation is waited for until `deadline`, on the clock of the boot.
    pub(super) fn waiting(deadline: Duration) -> Self {
        Self::Waiting { until_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Until when that is.
    pub(super) fn deadline(self) -> Option<Duration> {
        match self {
            Self::Waiting { until_ms } => Some(Duration::from_millis(until_ms)),
            Self::Working | Self::GoingBack => None,
        }
    }
}

fn path(directory: &Path, bridge: &IfName) -> PathBuf {
    directory.join(format!("bridge-{bridge}.guard"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (bridge, nic) = ("br-em1".parse().unwrap(), "em1".parse().unwrap());
        let mut record =
            GuardRecord::own(&bridge, &nic, BridgeKind::OvsUserSpace, std::process::id()).unwrap();
        for phase in [Phase::Working, Phase::waiting(Duration::from_millis(1500)), Phase::GoingBack] {
            record.phase = phase;
            record.write(dir.path()).unwrap();
            assert_eq!(GuardRecord::all_in(dir.path()), [record.clone()]);
        }
        assert_eq!(record.kind(), BridgeKind::Ovs);
        fs::write(dir.path().join("bridge-x.pending"), "{}").unwrap();
        fs::write(dir.path().join("bridge-y.guard"), "odd").unwrap();
        assert_eq!(GuardRecord::all_in(dir.path()).len(), 1);
        assert_eq!(GuardRecord::all_in(&dir.path().join("none")), []);
        assert_eq!(Phase::waiting(Duration::from_millis(1500)).deadline(), Some(Duration::from_millis(1500)));
        assert_eq!(Phase::GoingBack.deadline(), None);
    }

    #[tokio::test]
    async fn a_process_that_is_another_has_ended() {
        let own = ProcessId::of(std::process::id()).unwrap();
        let short = Duration::from_millis(20);
        assert!(tokio::time::timeout(short, own.ended()).await.is_err());
        ProcessId { start: own.start + 1, ..own }.ended().await;
        ProcessId { pid: u32::MAX, start: 1 }.ended().await;
    }
}
