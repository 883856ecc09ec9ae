//! The switches and cables that this process runs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landline_types::IfName;
use landline_vde::{Switch, SwitchConfig};

use super::SWITCHES;
use super::cables::Cables;
use crate::host::HostError;

/// Switches by directory, cables by tap, and taps that wait to be plugged in somewhere.
#[derive(Default)]
pub(crate) struct Switching {
    switches: Mutex<BTreeMap<PathBuf, Switch>>,
    pub(crate) cables: Arc<Cables>,
    taps: Mutex<BTreeMap<IfName, OwnedFd>>,
}

impl Switching {
    fn switches(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Switch>> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taps(&self) -> MutexGuard<'_, BTreeMap<IfName, OwnedFd>> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a tap in the calling thread's namespace and keeps hold of it.
    pub(crate) fn make_tap(&self, name: &IfName) -> Result<(), HostError> {
        let tap = open(name)?;
        self.taps().insert(name.clone(), tap);
        Ok(())
    }

    /// The hold on a tap that was made, or one that is there.
    pub(crate) fn take_tap(&self, name: &IfName) -> Result<OwnedFd, HostError> {
        let kept = self.taps().remove(name);
        kept.map_or_else(|| open(name), Ok)
    }

    /// Lets go of a tap nobody plugged in.
    pub(crate) fn drop_tap(&self, name: &IfName) {
        self.taps().remove(name);
    }

    /// Starts a switch that does not run yet, with this tap on port 0.
    pub(crate) fn start(&self, config: &SwitchConfig, uplink: &IfName) -> Result<(), HostError> {
        let mut switches = self.switches();
        if switches.get(&config.dir).is_some_and(|switch| !switch.has_ended()) {
            return Ok(());
        }
        // An ended one holds the tap until it is dropped.
        switches.remove(&config.dir);
        if config.dir.parent() == Some(Path::new(SWITCHES)) {
            let made = fs::create_dir_all(SWITCHES)
                .and_then(|()| fs::set_permissions(SWITCHES, fs::Permissions::from_mode(0o755)));
            made.map_err(|source| HostError::Directory { path: SWITCHES.into(), source })?;
        }
        let tap = self.take_tap(uplink)?;
        let dir = config.dir.clone();
        let ended = move || tracing::warn!(dir = %dir.display(), "a VDE switch has ended; the next container starts it again");
        let switch = Switch::start(config, ended).map_err(HostError::Switch)?;
        switch.set_uplink(tap);
        tracing::info!(dir = %config.dir.display(), ports = config.ports, "VDE switch started");
        switches.insert(config.dir.clone(), switch);
        Ok(())
    }

    /// Ends a switch for good; one that does not run here is fine.
    pub(crate) fn end(&self, dir: &Path) {
        let switch = self.switches().remove(dir);
        if let Some(switch) = switch {
            switch.remove();
        }
    }
}

pub(crate) fn open(name: &IfName) -> Result<OwnedFd, HostError> {
    landline_kernel::open_tap(name).map_err(|source| HostError::Tap {
        link: name.clone(),
        hint: hint(&source),
        source,
    })
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (is the kernel's module there? modprobe tun)",
        _ => "",
    }
}
