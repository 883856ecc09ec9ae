//! Which containers have their root file system mounted.
//!
//! Docker mounts it before it asks for a container's endpoints and keeps it mounted until the container has ended.
//! That tells a container that starts from one that is merely there, without asking Docker anything.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The mount points that a process sees, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts(BTreeSet<PathBuf>);

impl Mounts {
    /// Those of this process (`/proc/PID/mountinfo`, proc(5)).
    ///
    /// # Errors
    /// If the process is gone or may not be looked at.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read(format!("/proc/{pid}/mountinfo"))?))
    }

    fn parse(mountinfo: &[u8]) -> Self {
        let lines = mountinfo.split(|byte| *byte == b'\n');
        Self(lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(unescape).collect())
    }

    /// Whether a container is running, starting or about to have ended. `root` is where its root file system would be
    /// mounted. `None`: that cannot be told.
    pub fn in_use(&self, container: &str, root: Option<&Path>) -> Option<bool> {
        match root {
            Some(root) => Some(self.0.contains(root)),
            // containerd's image store mounts it at a path that ends in the container's id.
            None if self.0.iter().any(|point| point.ends_with(container)) => Some(true),
            None => self.0.iter().any(|point| is_of_image_store(point)).then_some(false),
        }
    }
}

/// Whether a container's root file system is mounted here by an engine that uses containerd's image store:
/// `DATA-ROOT/rootfs/SNAPSHOTTER/CONTAINER-ID`. Such an engine mounts all of them there.
fn is_of_image_store(point: &Path) -> bool {
    const ID: usize = 64;
    let name = point.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let above = point.ancestors().nth(2).and_then(Path::file_name);
    name.len() == ID
        && name.bytes().all(|byte| byte.is_ascii_hexdigit())
        && above == Some(OsStr::new("rootfs"))
}

/// The kernel writes blanks, newlines and backslashes in octal.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        let (byte, after) = code.map_or((*first, tail), |code| (code, &tail[3..]));
        bytes.push(byte);
        rest = after;
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] =
        b"85 59 0:50 / /var/lib/docker/overlay2/ab/merged rw shared:7 - overlay overlay rw\n\
        86 59 0:51 / /mnt/with\\040blank rw - ext4 /dev/sda rw\n\
        87 59 0:52 / /var/lib/docker/rootfs/overlayfs/c0ffee rw - overlay overlay rw\nodd\n\n";

    #[test]
    fn a_mounted_root_is_in_use() {
        let mounts = Mounts::parse(MOUNTINFO);
        let root = |path| Some(Path::new(path));
        assert_eq!(mounts.in_use("x", root("/var/lib/docker/overlay2/ab/merged")), Some(true));
        assert_eq!(mounts.in_use("x", root("/var/lib/docker/overlay2/cd/merged")), Some(false));
        assert_eq!(mounts.in_use("x", root("/mnt/with blank")), Some(true));
    }

    #[test]
    fn without_a_path_only_a_mount_says_something() {
        let mounts = Mounts::parse(MOUNTINFO);
        assert_eq!(mounts.in_use("c0ffee", None), Some(true));
        assert_eq!(mounts.in_use("c0ffe", None), None);
    }

    #[test]
    fn the_image_store_mounts_all_that_are_in_use() {
        let [web, db] = ["ab", "cd"].map(|digits| digits.repeat(32));
        let store = format!("87 59 0:52 / /var/lib/docker/rootfs/overlayfs/{web} rw - overlay overlay rw\n");
        let mounts = Mounts::parse(store.as_bytes());
        assert_eq!((mounts.in_use(&web, None), mounts.in_use(&db, None)), (Some(true), Some(false)));
        let elsewhere = format!("87 59 0:52 / /srv/{web} rw - overlay overlay rw\n");
        assert_eq!(Mounts::parse(elsewhere.as_bytes()).in_use(&db, None), None);
    }

    #[test]
    fn odd_escapes_stay_as_they_are() {
        for text in [&b"\\"[..], b"\\04", b"\\999", b"\\\xff\xff\xff"] {
            assert_eq!(unescape(text).into_os_string().into_vec(), text);
        }
    }

    #[test]
    fn ones_own_can_be_read() {
        let mounts = Mounts::of(std::process::id()).unwrap();
        assert_eq!(mounts.in_use("x", Some(Path::new("/"))), Some(true));
    }
}
