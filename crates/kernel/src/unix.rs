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

/// The groups of the process at the other end of a connection, as they were when it connected (`SO_PEERGROUPS`). That of its
/// credentials (`SO_PEERCRED`) need not be among them.
///
/// # Errors
/// It is no unix socket, or not connected.
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    sys::peer_groups(socket.as_fd())
}

/// The number of a group that is given as a number, or by its name in `/etc/group` (group(5)). `None`: there is none.
pub fn group_number(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_other_end_is_in_the_groups_of_this_process() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        let own: Vec<u32> = own.split_whitespace().map(|group| group.parse().unwrap()).collect();
        let mut groups = peer_groups(&one).unwrap();
        groups.sort_unstable();
        assert_eq!(groups, own);
    }

    #[test]
    fn groups_have_numbers() {
        assert_eq!((group_number("root"), group_number("65533")), (Some(0), Some(65533)));
        assert_eq!(group_number("no such group"), None);
    }
}
