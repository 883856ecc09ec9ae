//! A bridge port's settings under `/sys/class/net/LINK/brport`, for the namespace that `/sys` was mounted in.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use landline_types::IfName;

/// Whether frames may go out over the port they came in by. Fails with `NotFound` for a link that is no port.
pub fn hairpin(port: &IfName) -> io::Result<bool> {
    Ok(fs::read_to_string(path(port))?.trim() != "0")
}

/// Allows that, or not.
pub fn set_hairpin(port: &IfName, on: bool) -> io::Result<()> {
    OpenOptions::new().write(true).open(path(port))?.write_all(if on { b"1" } else { b"0" })
}

fn path(port: &IfName) -> PathBuf {
    ["/sys/class/net", port.as_str(), "brport/hairpin_mode"].iter().collect()
}
