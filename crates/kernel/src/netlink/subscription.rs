//! A socket that the kernel's events come in on, opened again whenever it fails.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::socket::receive;
use crate::sys;

/// The first pause between two attempts; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Makes the socket.
pub(super) type Opener = Box<dyn Fn() -> io::Result<OwnedFd> + Send + Sync>;

/// What came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// This many octets.
    Datagram(usize),
    /// Events are missing: look at everything again.
    Lost,
}

/// The socket.
pub(super) struct Subscription {
    open: Opener,
    fd: Option<AsyncFd<OwnedFd>>,
    /// What is waited for before the next attempt; nothing, if the socket has worked since the last one.
    pause: Duration,
    /// When that attempt may be made.
    due: Instant,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl Subscription {
    /// Opens it. Must be called within a tokio runtime.
    pub(super) fn open(open: Opener) -> io::Result<Self> {
        let fd = Some(sys::register(open()?)?);
        Ok(Self { fd, ..Self::later(open) })
    }

    /// One that is opened when it is first asked; until then everything is [`Heard::Lost`].
    pub(super) fn later(open: Opener) -> Self {
        Self { open, fd: None, pause: Duration::ZERO, due: Instant::now() }
    }

    /// Waits for the next datagram. After an error it opens another socket, as often as it takes, and says that events were
    /// lost. Cancel safe.
    pub(super) async fn receive(&mut self, buffer: &mut [u8]) -> Heard {
        let Some(fd) = &self.fd else {
            self.reopen().await;
            return Heard::Lost;
        };
        let received = fd.async_io(sys::READABLE, |fd| receive(fd, buffer)).await;
        match received {
            Ok(length) => {
                self.pause = Duration::ZERO;
                Heard::Datagram(length)
            }
            Err(error) if lost(&error) => {
                drain(fd.get_ref(), buffer);
                Heard::Lost
            }
            Err(error) => {
                tracing::warn!(%error, "events of the kernel were interrupted; subscribing again");
                self.fd = None;
                self.reopen().await;
                Heard::Lost
            }
        }
    }

    /// Throws away what has come in. Whether that was anything, or may have been.
    pub(super) fn drain(&self, buffer: &mut [u8]) -> bool {
        self.fd.as_ref().is_none_or(|fd| drain(fd.get_ref(), buffer))
    }

    async fn reopen(&mut self) {
        loop {
            tokio::time::sleep_until(self.due).await;
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.due = Instant::now() + self.pause;
            match (self.open)().and_then(sys::register) {
                Ok(fd) => {
                    self.fd = Some(fd);
                    return;
                }
                Err(error) if is_for_good(&error) => std::future::pending().await,
                Err(error) => {
                    let pause = self.pause;
                    tracing::warn!(%error, ?pause, "cannot subscribe to events of the kernel; trying again");
                }
            }
        }
    }
}

/// Whether events are missing: the backlog overflowed, or a datagram was larger than our buffer.
fn lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS) || error.kind() == io::ErrorKind::InvalidData
}

/// Whether the kernel has no such events at all.
fn is_for_good(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT))
}

/// Throws away what is queued. After an overflow the kernel drops every further event, and does not say so
/// again, until the queue has been empty once; only a listing made after that is complete. Whether anything was, or may have been.
fn drain(fd: &OwnedFd, buffer: &mut [u8]) -> bool {
    let mut any = false;
    loop {
        match receive(fd, buffer) {
            Ok(_) => any = true,
            Err(error) if lost(&error) => any = true,
            // Empty; or an error that the next reading meets again.
            Err(error) => return any || error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::netlink::{Event, Group, Monitor};

    /// Something that can be read and is no socket.
    fn no_socket() -> io::Result<OwnedFd> {
        Ok(rustix::event::eventfd(1, rustix::event::EventfdFlags::CLOEXEC)?)
    }

    #[tokio::test]
    async fn a_monitor_goes_on_after_an_error_and_says_that_events_are_missing() {
        let tries = Arc::new(AtomicUsize::new(0));
        let count = tries.clone();
        let broken_once = move || match count.fetch_add(1, Ordering::Relaxed) {
            0 => no_socket(),
            1 => Err(io::Error::from_raw_os_error(libc::EMFILE)),
            _ => super::super::monitor::subscribe(&[Group::Links]),
        };
        let mut monitor = Monitor::over(Subscription::open(Box::new(broken_once)).unwrap());
        assert_eq!(monitor.next().await, Event::Overrun);
        assert_eq!(tries.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_socket_that_always_fails_is_opened_less_and_less_often() {
        let tries = Arc::new(AtomicUsize::new(0));
        let count = tries.clone();
        let broken = move || {
            count.fetch_add(1, Ordering::Relaxed);
            no_socket()
        };
        let mut subscription = Subscription::later(Box::new(broken));
        let start = Instant::now();
        while tries.load(Ordering::Relaxed) < 4 {
            assert_eq!(subscription.receive(&mut [0; 16]).await, Heard::Lost);
        }
        assert!(start.elapsed() >= FIRST_PAUSE * (1 + 2 + 4), "{:?}", start.elapsed());
    }
}
