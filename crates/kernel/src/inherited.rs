//! Sockets that were there before the program: socket activation (`sd_listen_fds(3)`).

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, sockopt};

use crate::sys;

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;
/// More than anybody hands over.
const MOST: i32 = 16;

/// What the service manager handed to this process.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The listening unix sockets.
    pub listeners: Vec<UnixListener>,
    /// The numbers that were announced and are no such socket. Those that were open are closed.
    pub unusable: Vec<i32>,
}

impl Inherited {
    /// Takes over what `LISTEN_PID` and `LISTEN_FDS` announce. To be called first of all in `main`: only then are the
    /// numbers those of descriptors that the process was started with, however many were announced. A second call, and
    /// one in a process that has more than one thread already, finds nothing.
    pub fn adopt() -> Self {
        static GIVEN: AtomicBool = AtomicBool::new(false);
        let number = |name: &str| std::env::var(name).ok()?.parse::<i64>().ok();
        let for_us = number("LISTEN_PID") == Some(i64::from(std::process::id()));
        if !for_us || GIVEN.swap(true, Ordering::Relaxed) || !is_alone().unwrap_or(false) {
            return Self::default();
        }
        Self::among(announced(number("LISTEN_FDS").unwrap_or(0)))
    }

    fn among(numbers: Range<i32>) -> Self {
        let mut inherited = Self::default();
        for number in numbers {
            match sys::adopt(number).and_then(listener) {
                Ok(Some(listener)) => inherited.listeners.push(listener),
                Ok(None) | Err(_) => inherited.unusable.push(number),
            }
        }
        inherited
    }
}

/// The numbers of so many descriptors.
fn announced(count: i64) -> Range<i32> {
    FIRST..FIRST + i32::try_from(count.clamp(0, i64::from(MOST))).unwrap_or(0)
}

/// Whether the process has one thread.
fn is_alone() -> io::Result<bool> {
    Ok(std::fs::read_dir("/proc/self/task")?.count() == 1)
}

fn listener(fd: OwnedFd) -> io::Result<Option<UnixListener>> {
    fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    let listens = sockopt::socket_domain(&fd)? == AddressFamily::UNIX && sockopt::socket_acceptconn(&fd)?;
    Ok(listens.then(|| fd.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_too_large() {
        assert_eq!(announced(0), 3..3);
        assert_eq!(announced(2), 3..5);
        assert_eq!(announced(-1), 3..3);
        assert_eq!(announced(i64::MAX), 3..19);
    }

    #[test]
    fn a_process_with_threads_is_given_nothing() {
        std::thread::scope(|scope| {
            let (end, begin) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || begin.recv());
            assert!(!is_alone().unwrap());
            drop(end);
        });
    }

    #[test]
    fn what_is_no_listening_socket_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let bound = UnixListener::bind(dir.path().join("socket")).unwrap();
        assert!(listener(bound.into()).unwrap().is_some());
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(listener(stream.into()).unwrap().is_none());
        assert!(listener(std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }
}
