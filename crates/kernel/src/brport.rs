//! What `/sys/class/net` says of bridges and their ports, and netlink does not, for the namespace that `/sys` was mounted
//! in.

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

/// Whether the link's hardware address was set on purpose (`addr_assign_type` is `NET_ADDR_SET`). A bridge whose address
/// was not takes the lowest of its ports'; one whose address was keeps it for good, the kernel has no way back.
pub fn has_set_address(link: &IfName) -> io::Result<bool> {
    const NET_ADDR_SET: &str = "3";
    let path: PathBuf = ["/sys/class/net", link.as_str(), "addr_assign_type"].iter().collect();
    Ok(fs::read_to_string(path)?.trim() == NET_ADDR_SET)
}

fn path(port: &IfName) -> PathBuf {
    ["/sys/class/net", port.as_str(), "brport/hairpin_mode"].iter().collect()
}
