//! The steps of plans that connect taps to VDE switches.

use std::fmt;
use std::path::PathBuf;

use landline_kernel::LinkKind;
use landline_types::IfName;
use landline_vde::SwitchConfig;

use super::switching::open as open_tap;
use crate::driver::ConnectedLink;
use crate::host::{Host as _, HostError, LinuxHost};
use crate::mark::{End, Mark};
use crate::plan::DriverStep;
use crate::sandbox::Sandbox;

/// Runs a VDE switch, with a tap as its port 0.
#[derive(Debug)]
pub(crate) struct StartSwitch {
    /// What it is to be.
    pub(crate) config: SwitchConfig,
    /// The tap.
    pub(crate) uplink: IfName,
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
        host.drivers.vde.start(&self.config, &self.uplink)
    }

    fn undo(&self, host: &LinuxHost) -> Result<(), HostError> {
        host.drivers.vde.end(&self.config.dir)
    }
}

/// Ends a VDE switch that Landline runs for good; one that does not run is fine.
#[derive(Debug)]
pub(crate) struct EndSwitch {
    /// Its directory.
    pub(crate) dir: PathBuf,
}

impl fmt::Display for EndSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fuser -k {}/ctl", self.dir.display())
    }
}

impl DriverStep for EndSwitch {
    fn apply(&self, host: &LinuxHost) -> Result<(), HostError> {
        host.drivers.vde.end(&self.dir)
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

impl fmt::Display for PlugIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vde_plug2tap -d -s {} {}", self.dir.display(), self.tap)
    }
}

impl DriverStep for PlugIn {
    fn apply(&self, host: &LinuxHost) -> Result<(), HostError> {
        if host.drivers.vde.has_cable(&self.tap)? {
            return Ok(());
        }
        let descriptor = host.drivers.vde.take_tap(&self.tap)?;
        host.drivers.vde.plug_in(&self.tap, &descriptor, &self.dir, self.patient)
    }

    /// A program that goes into the background takes hold of its tap when that is where it stays.
    fn in_sandbox(&self, link: &IfName) -> Option<String> {
        Some(Self { tap: link.clone(), dir: self.dir.clone(), patient: false }.to_string())
    }
}

/// Plugs the tap of an endpoint into a VDE switch again, unless it has its cable still. A switch that is not there is waited for.
#[derive(Debug)]
pub(crate) struct PlugAgain {
    /// The tap, if the endpoint's link is one.
    pub(crate) link: ConnectedLink,
    /// The switch's directory.
    pub(crate) dir: PathBuf,
}

impl fmt::Display for PlugAgain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vde_plug2tap -d -s {} {}", self.dir.display(), self.link.name)
    }
}

impl DriverStep for PlugAgain {
    fn apply(&self, host: &LinuxHost) -> Result<(), HostError> {
        let (vde, ConnectedLink { endpoint, name, sandbox }) = (&host.drivers.vde, &self.link);
        if vde.has_cable(name)? {
            return Ok(());
        }
        let descriptor = match sandbox {
            None => match host.link(name)?.map(|found| found.kind) {
                Some(LinkKind::Tun) => vde.take_tap(name)?,
                // A veth, which needs no cable.
                _ => return Ok(()),
            },
            Some(path) => {
                let mark = Mark::new(endpoint, End::Container);
                let inside = Sandbox::enter(path, &mark).map_err(|error| HostError::Sandbox(error.into()))?;
                let Some(inside) = inside.filter(|inside| inside.link.kind == LinkKind::Tun) else {
                    return Ok(());
                };
                let tap = &inside.link.name;
                let opened = inside.netns.run(|| open_tap(tap));
                opened.map_err(|source| HostError::Tap { link: name.clone(), hint: "", source })??
            }
        };
        vde.plug_in(name, &descriptor, &self.dir, true)
    }
}
