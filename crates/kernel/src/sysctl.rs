//! Per-link settings under `/proc/sys/net/ipv4/conf`, `/proc/sys/net/ipv6/conf` (`ip-sysctl`) and `/proc/sys/net/ipv4/neigh` (arp(7)).
//!
//! They are those of the *calling thread's* namespace: use [`Netns::run`](crate::Netns::run) for another one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use landline_types::IfName;
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Which protocol a setting belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `net/ipv4/conf`.
    V4,
    /// `net/ipv6/conf`.
    V6,
    /// `net/ipv4/neigh`.
    Arp,
}

/// The value of a setting of a link (or of `all` or `default`), without the line end.
///
/// Fails with `NotFound` when there is no such link or setting, or no IPv6, and with `InvalidInput` when the
/// key is not made of lower-case letters, digits and underscores.
pub fn get(family: Family, link: &IfName, key: &str) -> io::Result<String> {
    let mut value = fs::read_to_string(path(family, link, key)?)?;
    value.truncate(value.trim_end().len());
    Ok(value)
}

/// Sets a setting of a link (or of `all` or `default`); errors as for [`get`], and the kernel's own when it
/// does not like the value.
pub fn set(family: Family, link: &IfName, key: &str, value: &str) -> io::Result<()> {
    // One write: the kernel takes each as a value of its own.
    open(&path(family, link, key)?)?.write_all(value.as_bytes())
}

/// Whether IPv4 packets are passed on between links (`net.ipv4.ip_forward`).
pub fn ip_forward() -> io::Result<bool> {
    Ok(fs::read_to_string(IP_FORWARD)?.trim() != "0")
}

/// Switches that on or off, for all links.
pub fn set_ip_forward(on: bool) -> io::Result<()> {
    open(Path::new(IP_FORWARD))?.write_all(if on { b"1" } else { b"0" })
}

/// Whether bridged IPv4 frames pass the rules of iptables and nftables' `ip` tables (`br_netfilter`).
pub fn bridge_nf() -> bool {
    let setting = fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables");
    setting.is_ok_and(|setting| setting.trim() != "0")
}

/// Opens a setting to write it. In a container `/proc/sys` is read-only; who may mount file systems there gets at it all
/// the same.
fn open(path: &Path) -> io::Result<File> {
    match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            path.strip_prefix("/proc").ok().and_then(|path| open_unmounted(path).ok()).ok_or(error)
        }
        opened => opened,
    }
}

/// The same in a procfs that is mounted nowhere and goes with its descriptor (`fsmount(2)`).
fn open_unmounted(path: &Path) -> rustix::io::Result<File> {
    let proc = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&proc)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&proc, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    openat(&mount, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

fn path(family: Family, link: &IfName, key: &str) -> io::Result<PathBuf> {
    let clean = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if key.is_empty() || !key.bytes().all(clean) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a link setting"));
    }
    let (family, what) = match family {
        Family::V4 => ("ipv4", "conf"),
        Family::V6 => ("ipv6", "conf"),
        Family::Arp => ("ipv4", "neigh"),
    };
    // An IfName holds no '/' and is neither "." nor "..".
    Ok(["/proc/sys/net", family, what, link.as_str(), key].iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_cannot_leave_the_directory() {
        let link: IfName = "eth0.12".parse().unwrap();
        for key in ["", "..", "../lo/forwarding", "a/b", "/etc/passwd", "A", "arp_ignore\n", "a\0"] {
            assert_eq!(
                get(Family::V4, &link, key).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{key:?}"
            );
        }
        let path = path(Family::V6, &link, "accept_ra").unwrap();
        assert_eq!(path.to_str(), Some("/proc/sys/net/ipv6/conf/eth0.12/accept_ra"));
    }
}
