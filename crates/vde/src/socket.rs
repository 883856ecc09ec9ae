//! Sockets in the directory of a switch: those that listen, and those that frames go through.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::dir::{Access, Dir, DirError, SocketFile};

/// How much may lie in a socket until it is taken out at the other end, in bytes. More than this is a client that does
/// not keep up; frames for it are lost.
const QUEUED: usize = 1 << 20;

/// What the socket is called that a switch listens on.
pub(crate) const CTL: &str = "ctl";

/// Opens the directory of a switch that is to run, which is made if need be, and removes what one that was killed left in it.
/// `true`: it was made.
pub(crate) fn prepare(parent: &Dir, name: &OsStr, access: Access) -> Result<(Dir, bool), DirError> {
    let (dir, made) = parent.make(name, access)?;
    if answers(&dir, CTL.as_ref()) {
        return Err(DirError::InUse(dir.path().to_owned()));
    }
    let sockets = dir.sockets();
    let sockets =
        sockets.map_err(|source| DirError::Io { what: "read", path: dir.path().to_owned(), source })?;
    for name in sockets.iter().filter(|name| is_port(&name.to_string_lossy())) {
        dir.remove(name);
    }
    Ok((dir, made))
}

/// Whether a switch runs in this directory.
pub fn is_running(dir: &Path) -> bool {
    Dir::find(dir).is_ok_and(|dir| answers(&dir, CTL.as_ref()))
}

/// Whether a file is called like the socket of a port: `003.17`.
fn is_port(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.split_once('.').is_some_and(|(port, endpoint)| port.len() >= 3 && digits(port) && digits(endpoint))
}

/// Whether somebody listens on the stream socket of this name.
fn answers(dir: &Dir, name: &OsStr) -> bool {
    let attempt = || -> io::Result<()> {
        let there = dir.socket(name)?;
        let socket = socket(SocketType::STREAM)?;
        match rustix::net::connect(&socket, &there.address()?) {
            // A full backlog is somebody too.
            Ok(()) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    attempt().is_ok()
}

/// Listens on a stream socket of this name; the socket of a dead listener makes way.
pub(crate) fn listen(dir: &Dir, name: &OsStr, access: Access) -> Result<OwnedFd, DirError> {
    let path = || dir.path().join(name);
    match dir.socket(name) {
        Ok(_) if answers(dir, name) => return Err(DirError::InUse(dir.path().join(name))),
        Ok(_) => dir.remove(name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => return Err(DirError::InTheWay(path())),
    }
    let bound = || -> io::Result<OwnedFd> {
        let socket = socket(SocketType::STREAM)?;
        dir.bind(&socket, name, access.socket_mode(), (None, access.group()))?;
        rustix::net::listen(&socket, 64).inspect_err(|_| dir.remove(name))?;
        Ok(socket)
    };
    bound().map_err(|source| DirError::Io { what: "make the socket", path: path(), source })
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

/// Names a socket for frames, for `user` alone. Without the right to give it away it stays ours.
pub(crate) fn bind_for(dir: &Dir, data: &OwnedFd, name: &OsStr, user: u32) -> io::Result<()> {
    let us = rustix::process::geteuid();
    let owner = Some(Uid::from_raw(user)).filter(|user| *user != us && us.is_root());
    dir.bind(data, name, Mode::RWXU, (owner, None))
}

/// Connects a datagram socket to one that the other side has named by its path. That path must not make us, who
/// have more rights, write to somebody else's socket. So the socket must belong to one of `owners`, and be in the directory of the
/// switch, where both sides make theirs. Where a user may not write to that, libvdeplug has other directories and this name;
/// root may write everywhere, and is root in a container too.
pub(crate) fn connect_to(dir: &Dir, data: &OwnedFd, path: &Path, owners: &[u32]) -> io::Result<()> {
    let refused = |why| io::Error::new(io::ErrorKind::PermissionDenied, why);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a socket"));
    };
    if !path.is_absolute() {
        return Err(refused("its path is not absolute"));
    }
    // Whatever links lead there: only the socket itself counts.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(parent, flags, Mode::empty())?;
    let fallback = name.to_string_lossy().starts_with("vde.") && !owners.contains(&0);
    if !dir.is(&parent) && !fallback {
        return Err(refused("it is not in the directory of the switch"));
    }
    let file = SocketFile::open(&parent, name)?;
    if !owners.contains(&file.owner) {
        return Err(refused("it belongs to somebody else"));
    }
    Ok(rustix::net::connect(data, &file.address()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_of_ports_are_taken_for_left_over() {
        assert!(["003.17", "001.6", "1000.9"].into_iter().all(is_port));
        assert!(!["ctl", "3.17", "003", "003.", ".17", "003.x", ".00017-00001"].into_iter().any(is_port));
    }
}
