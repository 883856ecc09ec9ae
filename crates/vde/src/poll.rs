//! Waiting for many descriptors at once (epoll(7)), and being woken by another thread.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

/// The token of the wake-up descriptor.
const WAKE: u64 = u64::MAX;

/// What a descriptor is waited for.
pub(crate) const IN: EventFlags = EventFlags::IN;
/// Room to write.
pub(crate) const OUT: EventFlags = EventFlags::OUT;
/// As [`IN`], and for room to write.
pub(crate) const IN_OUT: EventFlags = EventFlags::IN.union(EventFlags::OUT);

/// The descriptors one thread waits for, each with a token.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), IN)?;
        Ok(Self { epoll, wake })
    }

    /// One that waits for nothing: whatever is added to it is refused.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        Self { epoll: wake.try_clone().unwrap(), wake }
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: u64, what: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), what)?)
    }

    pub(crate) fn change(&self, fd: impl AsFd, token: u64, what: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), what)?)
    }

    /// A descriptor that is closed right after need not be removed, unless it was duplicated.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// The tokens that are ready and what for; none when `deadline` has come. Whether somebody asked for attention
    /// does not show: the queue is looked at after every wait.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<(u64, EventFlags)>> {
        let timeout = deadline.map(|at| {
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut room = [const { MaybeUninit::uninit() }; 64];
        let ready = match epoll::wait(&self.epoll, &mut room, timeout.as_ref()) {
            Ok((ready, _)) => &*ready,
            Err(rustix::io::Errno::INTR) => &[],
            Err(error) => return Err(error.into()),
        };
        let tokens = ready.iter().map(|event| (event.data.u64(), event.flags));
        let tokens: Vec<_> = tokens.filter(|(token, _)| *token != WAKE).collect();
        if tokens.len() != ready.len() {
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        Ok(tokens)
    }
}

/// What other threads want of the one that polls.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: Arc<Mutex<Vec<T>>>,
    wake: Arc<OwnedFd>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { waiting: self.waiting.clone(), wake: self.wake.clone() }
    }
}

impl<T> Queue<T> {
    pub(crate) fn new(poll: &Poll) -> Self {
        Self { waiting: Arc::default(), wake: poll.wake.clone() }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, item: T) {
        self.waiting().push(item);
        // It fails only when so many wake-ups are pending that one more makes no difference.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.waiting())
    }
}
