//! Names of unix sockets (unix(7)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys;

/// Opens the file that `bind` made for this unix socket, whatever its path leads to by now, as `O_PATH` does: to look at it,
/// and to change its owner (`fchownat` with `AT_EMPTY_PATH`). In a directory that others may write to, a path may lead
/// elsewhere from one call to the next.
///
/// # Errors
/// `NotFound` for a socket without a name in the file system, `PermissionDenied` without the right to administer networks
/// (`CAP_NET_ADMIN`).
pub fn socket_file(socket: impl AsFd) -> io::Result<OwnedFd> {
    sys::unix_file(socket.as_fd())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn the_file_is_the_sockets_whatever_has_its_name() {
        let place = tempfile::tempdir().unwrap();
        let (name, other) = (place.path().join("socket"), place.path().join("other"));
        let socket = UnixDatagram::bind(&name).unwrap();
        let inode = fs::metadata(&name).unwrap().ino();
        fs::rename(&name, &other).unwrap();
        fs::write(&name, "").unwrap();
        let file = fs::File::from(socket_file(&socket).unwrap());
        assert_eq!(file.metadata().unwrap().ino(), inode);
        let unnamed = UnixDatagram::unbound().unwrap();
        assert_eq!(socket_file(&unnamed).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
