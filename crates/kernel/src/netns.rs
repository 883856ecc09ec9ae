//! Network namespaces as open descriptors (`network_namespaces(7)`).

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic;
use std::path::Path;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::sys;

/// Magic number of the file system namespaces live in (`include/uapi/linux/magic.h`).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// An open network namespace.
///
/// The namespace lives at least as long as this value: do not keep one for a container that may end.
pub struct Netns(OwnedFd);

/// Which namespace it is: equal for two descriptors of one namespace, whatever path they came from.
///
/// The kernel may give the number of a namespace that ended to a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetnsId {
    device: u64,
    inode: u64,
}

impl Netns {
    /// The namespace of the calling thread.
    pub fn current() -> io::Result<Self> {
        // thread-self: another thread of this process may be elsewhere for a moment.
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The namespace of the main thread of a process.
    pub fn of_pid(pid: u32) -> io::Result<Self> {
        Self::open(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    /// The namespace a path refers to: `/proc/PID/ns/net`, a bind mount of one, Docker's `SandboxKey`.
    ///
    /// Fails with `InvalidInput` when the path is something else, such as the empty file over which a
    /// namespace has not been mounted yet.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Should the path be a FIFO, opening it must not wait for a writer.
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        let file = File::options().read(true).custom_flags(flags.cast_signed()).open(path)?;
        let kind = rustix::fs::fstatfs(&file)?.f_type;
        if u64::try_from(kind) != Ok(NSFS_MAGIC) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a namespace"));
        }
        Ok(Self(file.into()))
    }

    /// A new, empty namespace that nobody else knows: `lo`, down, and nothing else.
    pub fn create() -> io::Result<Self> {
        thread::scope(|scope| {
            join(thread::Builder::new().name("netns-new".into()).spawn_scoped(scope, || {
                sys::unshare_net()?;
                Self::current()
            })?)
        })
    }

    /// Which namespace this is.
    pub fn id(&self) -> io::Result<NetnsId> {
        let meta = File::from(self.0.try_clone()?).metadata()?;
        Ok(NetnsId { device: meta.dev(), inode: meta.ino() })
    }

    /// A number that no other namespace has or will have until the next boot (`SO_NETNS_COOKIE`, since Linux 5.14).
    pub fn cookie(&self) -> io::Result<u64> {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let socket = || {
            rustix::net::socket_with(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::DGRAM,
                flags,
                None,
            )
        };
        sys::netns_cookie(self.run(socket)??.as_fd())
    }

    /// A second descriptor of the same namespace.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Runs `f` on a thread of its own inside the namespace and waits for it; a panic in `f` goes on in the
    /// caller. The calling thread stays where it is.
    ///
    /// Sockets, netlink and packet ones included, stay in the namespace they were made in, and so do files
    /// opened under `/proc/sys/net`; so `f` opens them and hands them back. A throw-away thread costs some
    /// 40 µs and leaves no way for a runtime thread to end up in the wrong namespace.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            join(thread::Builder::new().name("netns-run".into()).spawn_scoped(scope, || {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(f())
            })?)
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Netns> for OwnedFd {
    fn from(ns: Netns) -> Self {
        ns.0
    }
}

impl fmt::Debug for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            Ok(id) => write!(f, "Netns({})", id.inode),
            Err(_) => f.write_str("Netns(?)"),
        }
    }
}

impl NetnsId {
    /// The number `lsns` and `/proc/PID/ns/net` show.
    pub const fn inode(self) -> u64 {
        self.inode
    }
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}

fn join<T>(handle: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    handle.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
}
