//! The directory that is a switch, and sockets in it.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The longest path of a switch's directory, in bytes: names of sockets in it must fit into a socket address, and
/// clients append to it too.
pub const PATH_MAX: usize = 96;

/// How much may lie in a socket until it is taken out at the other end, in bytes. More than this is a client that does
/// not keep up; frames for it are lost.
const QUEUED: usize = 1 << 20;

/// Why a switch's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// Sockets in it could not be named.
    #[error("the path {0} is too long for sockets in it; at most {PATH_MAX} bytes will do")]
    TooLong(PathBuf),
    /// Clients are elsewhere.
    #[error("{0} is not an absolute path")]
    Relative(PathBuf),
    /// Somebody answers on it.
    #[error("another switch is running in {0}; stop it, or join it")]
    InUse(PathBuf),
    /// A file that is something else is in the way.
    #[error("{0} is there already and is not a socket")]
    InTheWay(PathBuf),
    /// The system's answer.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Who may use a socket: its owner, or the members of a group too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) group: Option<u32>,
}

impl Access {
    const fn socket_mode(self) -> u32 {
        if self.group.is_some() { 0o660 } else { 0o600 }
    }

    /// Clients make their sockets in the directory, so they must be able to write to it.
    const fn dir_mode(self) -> u32 {
        if self.group.is_some() { 0o2770 } else { 0o2700 }
    }

    fn apply(self, path: &Path, mode: u32) -> Result<(), DirError> {
        let failed = |what| move |source: io::Error| DirError::Io { what, path: path.to_owned(), source };
        if let Some(group) = self.group {
            let group = Some(Gid::from_raw(group));
            rustix::fs::chown(path, None, group).map_err(|e| failed("set the group of")(e.into()))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the permissions of"))
    }
}

/// Whether sockets can be made in this directory at all.
pub(crate) fn check(dir: &Path) -> Result<(), DirError> {
    if !dir.is_absolute() {
        return Err(DirError::Relative(dir.to_owned()));
    }
    if dir.as_os_str().len() > PATH_MAX { Err(DirError::TooLong(dir.to_owned())) } else { Ok(()) }
}

/// Makes the directory if need be, and removes what a switch that was killed left in it. `true`: it was made.
pub(crate) fn prepare(dir: &Path, access: Access) -> Result<bool, DirError> {
    let failed = |what| move |source| DirError::Io { what, path: dir.to_owned(), source };
    let made = match fs::create_dir(dir) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(failed("make the directory")(error)),
    };
    if made {
        access.apply(dir, access.dir_mode())?;
    }
    let ctl = dir.join("ctl");
    if ctl.exists() && answers(&ctl) {
        return Err(DirError::InUse(dir.to_owned()));
    }
    for entry in fs::read_dir(dir).map_err(failed("read"))?.flatten() {
        let socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        if socket && is_port(&entry.file_name().to_string_lossy()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(made)
}

/// Whether a switch runs in this directory.
pub fn is_running(dir: &Path) -> bool {
    answers(&dir.join("ctl"))
}

/// Whether a file is called like the socket of a port: `003.17`.
fn is_port(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.split_once('.').is_some_and(|(port, endpoint)| port.len() >= 3 && digits(port) && digits(endpoint))
}

/// Whether somebody listens on this stream socket.
fn answers(path: &Path) -> bool {
    let attempt = || {
        let socket = socket(SocketType::STREAM)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
    };
    // A full backlog is somebody too.
    matches!(attempt(), Ok(()) | Err(rustix::io::Errno::AGAIN))
}

/// Listens on a stream socket of this name; the socket of a dead listener makes way.
pub(crate) fn listen(path: &Path, access: Access) -> Result<OwnedFd, DirError> {
    let failed = |what| move |source: io::Error| DirError::Io { what, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => return Err(DirError::InTheWay(path.to_owned())),
        Ok(_) if answers(path) => return Err(DirError::InUse(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(failed("remove the stale socket"))?,
        Err(_) => {}
    }
    let bound = || -> io::Result<OwnedFd> {
        let socket = socket(SocketType::STREAM)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket)
    };
    let listener = bound().map_err(failed("make the socket"))?;
    access.apply(path, access.socket_mode()).inspect_err(|_| drop(fs::remove_file(path)))?;
    rustix::net::listen(&listener, 64).map_err(|e| failed("listen on")(e.into()))?;
    Ok(listener)
}

/// An unnamed unix socket that never blocks.
pub(crate) fn socket(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)
}

/// A datagram socket for frames, with room for those that come faster than they are taken.
pub(crate) fn data_socket() -> rustix::io::Result<OwnedFd> {
    let data = socket(SocketType::DGRAM)?;
    // The forced one is not bounded by `net.core.wmem_max`, but is for root.
    if rustix::net::sockopt::set_socket_send_buffer_size_force(data.as_fd(), QUEUED).is_err() {
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(data.as_fd(), QUEUED);
    }
    Ok(data)
}

/// Connects a datagram socket to the socket at `path`, which must belong to `user` (or `user` is root): a client names
/// a path, and must not make a switch with more rights than its own speak to other people's sockets.
pub(crate) fn connect_to(data: &OwnedFd, path: &Path, user: u32) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::File::from(open(path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a socket"));
    }
    if user != 0 && meta.uid() != user {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to somebody else"));
    }
    // The file that was looked at, whatever the path leads to by now.
    let same = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    Ok(rustix::net::connect(data, &SocketAddrUnix::new(same)?)?)
}

/// Gives a socket file to somebody, for them alone. Without the right to, it is left as it is.
pub(crate) fn give_to(path: &Path, user: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    match rustix::fs::chown(path, Some(Uid::from_raw(user)), None) {
        Ok(()) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_of_ports_are_taken_for_left_over() {
        assert!(["003.17", "001.6", "1000.9"].into_iter().all(is_port));
        assert!(!["ctl", "3.17", "003", "003.", ".17", "003.x", ".00017-00001"].into_iter().any(is_port));
    }

    #[test]
    fn paths_must_be_usable_by_clients() {
        assert!(check(Path::new("/run/switch")).is_ok());
        assert!(matches!(check(Path::new("switch")), Err(DirError::Relative(_))));
        assert!(matches!(check(Path::new(&format!("/{}", "x".repeat(96)))), Err(DirError::TooLong(_))));
    }
}
