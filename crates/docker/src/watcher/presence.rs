//! Whether the engine lives, found out without connecting to its socket.
//!
//! Where systemd listens there for Docker (`docker.socket`), a connection starts Docker. A user who has stopped or disabled it
//! wants it to stay so. A service that systemd has started holds the same listening socket as systemd itself, so the
//! processes that hold it (proc(5)) tell whether the engine is one of them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Who would answer a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presence {
    /// A process that is no service manager listens.
    Engine(Holder),
    /// A service manager alone listens: a connection would start the engine.
    OnDemand,
    /// Nobody listens.
    Nobody,
    /// Somebody may listen, but not where it can be seen from here: in another network or process namespace.
    Hidden,
}

/// A descriptor of the listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pid: u32,
    descriptor: u32,
    socket: u64,
}

impl Holder {
    /// Whether the process still has it open. An engine that is about to end closes it first.
    pub(super) fn holds(&self) -> bool {
        let path = PathBuf::from(format!("/proc/{}/fd/{}", self.pid, self.descriptor));
        socket_at(&path) == Some(self.socket)
    }
}

/// Looks who listens on this socket. Reads the descriptors of processes until an engine is found, so it blocks for
/// some milliseconds.
pub(super) fn look(socket: &Path) -> Presence {
    let Some(wanted) = identity(socket) else { return Presence::Nobody };
    let Ok(table) = fs::read_to_string("/proc/net/unix") else { return Presence::Hidden };
    let sockets: Vec<u64> =
        listening(&table).filter(|(_, path)| is_at(path, wanted)).map(|(inode, _)| inode).collect();
    if sockets.is_empty() {
        // One that is left over, or one of another network namespace.
        return Presence::Hidden;
    }
    decide(holders(&sockets))
}

/// What follows from the processes that hold the listening socket.
fn decide(holders: impl Iterator<Item = (Holder, String)>) -> Presence {
    let mut presence = Presence::Hidden;
    for (holder, name) in holders {
        if is_manager(holder.pid, &name) {
            presence = Presence::OnDemand;
        } else {
            return Presence::Engine(holder);
        }
    }
    presence
}

/// Whether a process of this name (`/proc/PID/comm`) listens for others: systemd, that of the system or of a user, or
/// what it forks to start a service, whose name is in parentheses until the service's program runs.
fn is_manager(pid: u32, name: &str) -> bool {
    name.starts_with("systemd") || name.starts_with('(') || (pid == 1 && name == "init")
}

/// The listening sockets of `/proc/net/unix` (unix(7), proc(5)) that have a path: inode and path.
fn listening(table: &str) -> impl Iterator<Item = (u64, &str)> {
    const ACCEPTS: u32 = 0x1_0000;
    table.lines().filter_map(|line| {
        let (words, path) = line.split_at(line.find(" /")?);
        let mut words = words.split_whitespace().skip(3);
        let flags = u32::from_str_radix(words.next()?, 16).ok()?;
        let inode = words.nth(2)?.parse().ok()?;
        (flags & ACCEPTS != 0).then_some((inode, &path[1..]))
    })
}

/// What tells a file from all others, whatever its path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Whether this file is at a path, here or where the first process is: in a container the paths are others.
fn is_at(path: &str, wanted: (u64, u64)) -> bool {
    let outside = || identity(&Path::new("/proc/1/root").join(path.trim_start_matches('/')));
    identity(Path::new(path)) == Some(wanted) || outside() == Some(wanted)
}

/// The processes that hold one of these sockets, and their names.
fn holders(sockets: &[u64]) -> impl Iterator<Item = (Holder, String)> {
    numbers(Path::new("/proc")).filter_map(|pid| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let holder = numbers(&process.join("fd")).find_map(|descriptor| {
            let socket = socket_at(&process.join(format!("fd/{descriptor}")))?;
            sockets.contains(&socket).then_some(Holder { pid, descriptor, socket })
        })?;
        let name = fs::read_to_string(process.join("comm")).ok()?;
        Some((holder, name.trim_end().to_owned()))
    })
}

/// The names in a directory that are numbers.
fn numbers(directory: &Path) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The socket's inode, if that is what a descriptor is.
fn socket_at(descriptor: &Path) -> Option<u64> {
    let target = fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    const TABLE: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 1234 /run/docker.sock\n\
        0000000000000000: 00000003 00000000 00000000 0001 03 1235 /run/docker.sock\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 77 /run/with blank /s\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 78 @/abstract /x\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 79\n\
        odd /\n /\n";

    #[test]
    fn listening_sockets_are_read_from_the_kernels_table() {
        let found: Vec<_> = listening(TABLE).collect();
        assert_eq!(found[..2], [(1234, "/run/docker.sock"), (77, "/run/with blank /s")]);
        // An abstract name may have anything in it; no file has that path.
        assert!(found.len() <= 3, "{found:?}");
    }

    fn decided(holders: &[(u32, &str)]) -> Presence {
        let all = holders
            .iter()
            .map(|(pid, name)| (Holder { pid: *pid, descriptor: 3, socket: 9 }, (*name).to_owned()));
        decide(all)
    }

    #[test]
    fn a_service_manager_is_no_engine() {
        let engine = |pid| Presence::Engine(Holder { pid, descriptor: 3, socket: 9 });
        assert_eq!(decided(&[]), Presence::Hidden);
        for manager in [&[(1, "systemd")][..], &[(1, "init")], &[(1, "systemd"), (77, "(dockerd)")]] {
            assert_eq!(decided(manager), Presence::OnDemand, "{manager:?}");
        }
        assert_eq!(decided(&[(900, "systemd")]), Presence::OnDemand, "that of a user");
        assert_eq!(decided(&[(1, "systemd"), (77, "dockerd")]), engine(77));
        assert_eq!(decided(&[(77, "dockerd"), (1, "systemd")]), engine(77));
        assert_eq!(decided(&[(1, "dockerd")]), engine(1), "in a container of its own");
        assert_eq!(decided(&[(77, "init")]), engine(77));
    }

    #[test]
    fn who_listens_is_seen_without_a_connection() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        assert_eq!(look(&path), Presence::Nobody);
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let Presence::Engine(holder) = look(&path) else { panic!("{:?}", look(&path)) };
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.holds());
        assert!(listener.accept().is_err(), "nobody has connected");
        // By another path, as in a container.
        let other = dir.path().join("other.sock");
        fs::hard_link(&path, &other).unwrap();
        assert!(matches!(look(&other), Presence::Engine(_)));
        let _connected = UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!holder.holds());
        assert_eq!(look(&path), Presence::Hidden, "a file that is left over");
    }
}
