//! The switches and cables that a process runs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landline_vde::{PlugError, Switch, SwitchConfig, SwitchError};

use super::SWITCHES;
use super::cables::Cables;

/// Why a switch does not run, or a cable is not plugged in.
#[derive(Debug, thiserror::Error)]
pub(super) enum BoardError {
    #[error("cannot make the directory {path}")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Switch(#[from] SwitchError),
    #[error(transparent)]
    Plug(#[from] PlugError),
    #[error("cannot start moving frames")]
    Wires(#[source] io::Error),
}

/// Switches by directory, and cables by tap.
#[derive(Default)]
pub(super) struct Board {
    switches: Mutex<BTreeMap<PathBuf, Switch>>,
    pub(super) cables: Arc<Cables>,
}

impl Board {
    fn switches(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Switch>> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is nothing to run.
    pub(super) fn is_empty(&self) -> bool {
        self.switches().values().all(Switch::has_ended) && self.cables.is_empty()
    }

    /// Whether a switch runs in this directory. One that has ended lets go of its tap.
    pub(super) fn runs(&self, dir: &Path) -> bool {
        let mut switches = self.switches();
        switches.retain(|_, switch| !switch.has_ended());
        switches.contains_key(dir)
    }

    /// Starts a switch that does not run yet, with this tap on port 0.
    pub(super) fn start(&self, config: &SwitchConfig, tap: OwnedFd) -> Result<(), BoardError> {
        let mut switches = self.switches();
        if config.dir.parent() == Some(Path::new(SWITCHES)) {
            let made = fs::create_dir_all(SWITCHES)
                .and_then(|()| fs::set_permissions(SWITCHES, fs::Permissions::from_mode(0o755)));
            made.map_err(|source| BoardError::Directory { path: SWITCHES.into(), source })?;
        }
        let dir = config.dir.clone();
        let ended = move || tracing::warn!(dir = %dir.display(), "a VDE switch has ended; the next container starts it again");
        let switch = Switch::start(config, ended)?;
        switch.set_uplink(tap);
        tracing::info!(dir = %config.dir.display(), ports = config.ports, "VDE switch started");
        switches.insert(config.dir.clone(), switch);
        Ok(())
    }

    /// Ends a switch for good; one that does not run here is fine.
    pub(super) fn end(&self, dir: &Path) {
        let switch = self.switches().remove(dir);
        if let Some(switch) = switch {
            switch.remove();
        }
    }
}
