//! Closing packet sockets. The kernel waits in `close(2)` until no packet can be on its way to the socket any more (an RCU grace
//! period, some 15 ms), and the thread that closes waits with it: so threads for blocking work do it.

use std::collections::VecDeque;
use std::io;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use crate::sys;

/// How many are closed at the same time. They wait for the same thing, so that more gain nothing.
const AT_ONCE: usize = 4;

static CLOSING: Mutex<Closing> = Mutex::new(Closing { waiting: VecDeque::new(), closers: 0 });

struct Closing {
    waiting: VecDeque<OwnedFd>,
    /// How many threads are at it.
    closers: usize,
}

impl Closing {
    fn lock() -> MutexGuard<'static, Self> {
        CLOSING.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A descriptor that is read with the runtime's reactor, and closed in another thread.
#[derive(Debug)]
pub(super) struct ClosedElsewhere(Option<AsyncFd<OwnedFd>>);

impl ClosedElsewhere {
    /// Registers it. Fails outside a tokio runtime.
    pub(super) fn register(fd: OwnedFd) -> io::Result<Self> {
        sys::register(fd).map(|fd| Self(Some(fd)))
    }
}

impl Deref for ClosedElsewhere {
    type Target = AsyncFd<OwnedFd>;

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Some(fd) => fd,
            None => unreachable!("it is there until it is dropped"),
        }
    }
}

impl Drop for ClosedElsewhere {
    fn drop(&mut self) {
        let Some(fd) = self.0.take().map(AsyncFd::into_inner) else { return };
        // Without a runtime nobody is kept waiting but whoever drops it.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut closing = Closing::lock();
        closing.waiting.push_back(fd);
        if closing.closers < AT_ONCE {
            closing.closers += 1;
            let closer = Closer { counted: true };
            runtime.spawn_blocking(|| closer.run());
        }
    }
}

/// One of the threads. A runtime that ends may not run it any more.
struct Closer {
    counted: bool,
}

impl Closer {
    /// Closes what there is to be closed.
    fn run(mut self) {
        loop {
            let mut closing = Closing::lock();
            let Some(fd) = closing.waiting.pop_front() else {
                closing.closers -= 1;
                self.counted = false;
                return;
            };
            drop(closing);
            drop(fd);
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        if self.counted {
            Closing::lock().closers -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).max_blocking_threads(1).enable_all().build().unwrap()
    }

    /// Registers a descriptor and lets go of it; what reads until it is closed.
    fn dropped() -> UnixStream {
        let (one, other) = UnixStream::pair().unwrap();
        other.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        drop(ClosedElsewhere::register(one.into()).unwrap());
        other
    }

    fn is_closed(mut other: UnixStream) -> bool {
        other.read(&mut [0]).is_ok_and(|read| read == 0)
    }

    #[test]
    fn all_are_closed_by_another_thread() {
        let runtime = runtime();
        let (held, blocking) = mpsc::channel::<()>();
        let others: Vec<UnixStream> = runtime.block_on(async {
            let busy = tokio::task::spawn_blocking(move || _ = blocking.recv());
            let others: Vec<UnixStream> = (0..100).map(|_| dropped()).collect();
            others[0].set_nonblocking(true).unwrap();
            let error = (&others[0]).read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "it was closed by whoever dropped it");
            others[0].set_nonblocking(false).unwrap();
            drop(held);
            busy.await.unwrap();
            others
        });
        assert!(others.into_iter().all(is_closed));
    }

    #[test]
    fn what_an_ended_runtime_has_left_is_closed_with_the_next() {
        let (ended, held) = (runtime(), mpsc::channel::<()>());
        let left = ended.block_on(async {
            tokio::task::spawn_blocking(move || _ = held.1.recv());
            [dropped(), dropped()]
        });
        ended.shutdown_background();
        drop(held.0);
        let next = runtime().block_on(async { dropped() });
        assert!(is_closed(next) && left.into_iter().all(is_closed));
    }
}
