//! How much a socket reads in a second.
//!
//! Anybody on the link can send as fast as the wire carries it, and every packet that is read wakes a task. So a socket that
//! has read its share gets a filter that lets nothing through for the rest of the second: the kernel drops what comes, which
//! costs next to nothing, and what comes after that is new.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::time::Instant;

use super::filter;

const SECOND: Duration = Duration::from_secs(1);

/// What one socket may read.
#[derive(Debug)]
pub(super) struct Budget {
    /// Packets a second.
    most: u32,
    spent: Mutex<Spent>,
}

#[derive(Debug)]
struct Spent {
    filter: Vec<SockFilter>,
    since: Instant,
    packets: u32,
    deaf: bool,
}

impl Budget {
    /// For a socket with this filter.
    pub(super) fn new(most: u32, filter: Vec<SockFilter>) -> Self {
        Self { most, spent: Mutex::new(Spent { filter, since: Instant::now(), packets: 0, deaf: false }) }
    }

    /// Waits until more may be read. Cancel safe.
    pub(super) async fn rest(&self, fd: &OwnedFd) -> io::Result<()> {
        let until = {
            let spent = self.lock();
            if !spent.deaf {
                return Ok(());
            }
            spent.since + SECOND
        };
        tokio::time::sleep_until(until).await;
        let mut spent = self.lock();
        SockRef::from(fd).attach_filter(&spent.filter)?;
        (spent.deaf, spent.packets, spent.since) = (false, 0, Instant::now());
        Ok(())
    }

    /// A packet was read. If it was the last of this second, the socket hears nothing more and nothing is left to be read.
    pub(super) fn spend(&self, fd: &OwnedFd) -> io::Result<()> {
        let mut spent = self.lock();
        let now = Instant::now();
        if now.duration_since(spent.since) >= SECOND {
            (spent.packets, spent.since) = (0, now);
        }
        spent.packets += 1;
        if spent.packets >= self.most && !spent.deaf {
            SockRef::from(fd).attach_filter(&filter::deaf())?;
            spent.deaf = true;
            // What was queued before that would be stale.
            loop {
                match rustix::net::recv(fd, &mut [0_u8; 0], rustix::net::RecvFlags::DONTWAIT) {
                    Ok(_) => {}
                    Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// The socket has another filter from now on.
    pub(super) fn filter(&self, fd: &OwnedFd, filter: Vec<SockFilter>) -> io::Result<()> {
        let mut spent = self.lock();
        if !spent.deaf {
            SockRef::from(fd).attach_filter(&filter)?;
        }
        spent.filter = filter;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
