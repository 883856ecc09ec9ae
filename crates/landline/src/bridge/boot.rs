//! At boot, before Open vSwitch takes a NIC that was put into it in an earlier life.
//!
//! Its database is kept and the host's addresses on the bridge are not, so the bridge must be out of the database before
//! `ovs-vswitchd` reads it: `landline bridge sweep` runs first, because a drop-in of its unit says so (systemd.unit(5)).
//! The drop-in is there before the bridge and goes after it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landline_types::IfName;

use crate::files;

/// The unit that starts the switch, in all distributions.
const UNIT: &str = "ovs-vswitchd.service";
/// Where units are.
const UNITS: [&str; 4] =
    ["etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// Why a host would not be on the network after a reboot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error(
        "Open vSwitch's database outlives a reboot and the host's addresses do not; that {UNIT} clears it up first needs \
         systemd and that unit, which are not here; use --kind bridge, or configure the bridge where the NIC is configured"
    )]
    NoUnit,
    #[error("cannot write {path}, without which this host would not be on the network after a reboot")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn path(root: &Path, bridge: &IfName) -> PathBuf {
    root.join("etc/systemd/system").join(format!("{UNIT}.d")).join(format!("landline-{bridge}.conf"))
}

/// Has systemd sweep before it starts the switch.
pub(super) fn sweep_first(root: &Path, bridge: &IfName) -> Result<(), BootError> {
    // As sd_booted(3) looks.
    let booted = root.join("run/systemd/system").is_dir();
    if !booted || !UNITS.iter().any(|units| root.join(units).join(UNIT).exists()) {
        return Err(BootError::NoUnit);
    }
    let path = path(root, bridge);
    let write = || {
        let program = std::env::current_exe()?;
        let program = program.display();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let text = format!(
            "# Written by `landline bridge adopt`: {bridge} is not for the next boot.\n[Unit]\nRequiresMountsFor={program}\n\n\
             [Service]\nExecStartPre=-{program} bridge sweep\n"
        );
        files::replace(&path, &text, 0o644)
    };
    write().map_err(|source| BootError::Write { path: path.clone(), source })
}

/// There is nothing to sweep for this bridge any more.
pub(super) fn sweep_no_more(root: &Path, bridge: &IfName) {
    let path = path(root, bridge);
    if fs::remove_file(&path).is_ok()
        && let Some(directory) = path.parent()
    {
        // Only if nothing else is in it.
        let _ = fs::remove_dir(directory);
    }
}
