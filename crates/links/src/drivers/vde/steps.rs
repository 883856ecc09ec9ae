//! What plans do to VDE switches.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use landline_types::IfName;
use landline_vde::SwitchConfig;

use crate::host::{HostError, LinuxHost};
use crate::plan::{DriverStep, Step};

/// Runs a VDE switch, with a tap as its port 0.
#[derive(Debug)]
pub(crate) struct StartSwitch {
    /// What it is to be.
    pub(crate) config: SwitchConfig,
    /// The tap.
    pub(crate) uplink: IfName,
}

impl From<StartSwitch> for Step {
    fn from(step: StartSwitch) -> Self {
        Self::Driver(Arc::new(step))
    }
}

impl fmt::Display for StartSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config: SwitchConfig { dir, management, group, ports }, uplink } = self;
        write!(f, "vde_switch -daemon -sock {} -tap {uplink} -numports {ports}", dir.display())?;
        management.iter().try_for_each(|path| write!(f, " -mgmt {}", path.display()))?;
        group.iter().try_for_each(|group| write!(f, " -group {group}"))
    }
}

impl DriverStep for StartSwitch {
    fn apply(&self, host: &LinuxHost) -> Result<(), HostError> {
        host.switching.start(&self.config, &self.uplink)
    }

    fn undo(&self, host: &LinuxHost) -> Result<(), HostError> {
        host.switching.end(&self.config.dir);
        Ok(())
    }
}

/// Plugs a tap into a VDE switch that somebody else runs.
#[derive(Debug)]
pub(crate) struct PlugIn {
    /// The tap.
    pub(crate) tap: IfName,
    /// The switch's directory.
    pub(crate) dir: PathBuf,
    /// Whether a switch that is not there is waited for, behind the plan's back.
    pub(crate) patient: bool,
}

impl From<PlugIn> for Step {
    fn from(step: PlugIn) -> Self {
        Self::Driver(Arc::new(step))
    }
}

impl fmt::Display for PlugIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vde_plug2tap -d -s {} {}", self.dir.display(), self.tap)
    }
}

impl DriverStep for PlugIn {
    fn apply(&self, host: &LinuxHost) -> Result<(), HostError> {
        if host.switching.has_cable(&self.tap)? {
            return Ok(());
        }
        let descriptor = host.switching.take_tap(&self.tap)?;
        host.switching.plug_in(&self.tap, &descriptor, &self.dir, self.patient)
    }

    fn undo(&self, _host: &LinuxHost) -> Result<(), HostError> {
        // The cable ends with its tap.
        Ok(())
    }

    /// A program that goes into the background takes hold of its tap when that is where it stays.
    fn in_sandbox(&self, link: &IfName) -> Option<String> {
        Some(Self { tap: link.clone(), dir: self.dir.clone(), patient: false }.to_string())
    }
}
