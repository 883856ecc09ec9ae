//! The thread that writes: it takes all changes that wait into one transaction, and answers them when that is on disk.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use landline_types::chain;
use tokio::sync::oneshot;

use super::StoreError;
use super::disk::{Change, Disk};

type Answer = oneshot::Sender<Result<(), StoreError>>;

/// Changes that belong together, and who waits for them.
struct Request {
    changes: Vec<Change>,
    answer: Answer,
}

/// Ends, with the file closed, when it is dropped; what was asked for until then is written.
///
/// The queue needs no bound of its own: there is one record per endpoint, network and so on, and whoever changes one waits
/// for the answer before the next change of it.
pub(super) struct Writer {
    /// There until it is dropped.
    queue: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

/// What became of the writes.
#[derive(Debug, Default)]
struct Counts {
    commits: AtomicU64,
    /// Why the last one failed, if it did.
    failure: Mutex<Option<String>>,
}

impl Writer {
    pub(super) fn start(disk: Disk) -> Result<Self, StoreError> {
        let (queue, requests) = channel();
        let counts = Arc::<Counts>::default();
        let counter = counts.clone();
        let thread = std::thread::Builder::new()
            .name("landline-store".into())
            .spawn(move || run(disk, &requests, &counter))
            .map_err(redb::Error::Io)?;
        Ok(Self { queue: Some(queue), thread: Some(thread), counts })
    }

    pub(super) fn write(&self, changes: Vec<Change>) -> Stored {
        let (answer, stored) = oneshot::channel();
        // If the thread has ended the sender of the answer is dropped with the request, which is heard.
        if let Some(queue) = &self.queue {
            drop(queue.send(Request { changes, answer }));
        }
        #[cfg(any(test, feature = "testing"))]
        let stored = in_no_time(stored);
        Stored(stored)
    }

    pub(super) fn commits(&self) -> u64 {
        self.counts.commits.load(Ordering::Relaxed)
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.counts.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A clock of tokio's that a test has stopped goes on when nothing is left to be done, and knows of what its own threads do.
#[cfg(any(test, feature = "testing"))]
fn in_no_time<T: Send + 'static>(stored: oneshot::Receiver<T>) -> oneshot::Receiver<T> {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return stored };
    let (answer, waits) = oneshot::channel();
    runtime.spawn_blocking(move || stored.blocking_recv().map(|stored| answer.send(stored)));
    waits
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        // A panic of the thread was logged as such.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("commits", &self.commits()).finish_non_exhaustive()
    }
}

fn run(mut disk: Disk, requests: &Receiver<Request>, counts: &Counts) {
    while let Ok(first) = requests.recv() {
        let (mut changes, mut answers) = (Vec::new(), Vec::new());
        for request in std::iter::once(first).chain(requests.try_iter()) {
            changes.extend(request.changes);
            answers.push(request.answer);
        }
        let written = disk.write(&changes);
        if written.is_ok() {
            counts.commits.fetch_add(1, Ordering::Relaxed);
        }
        *counts.failure.lock().unwrap_or_else(PoisonError::into_inner) =
            written.as_ref().err().map(|error| chain(error));
        for answer in answers {
            // Who does not wait for it does not mind.
            drop(answer.send(written.clone()));
        }
    }
}

/// The answer to a write, once it is on disk. The write happens whether this is waited for or not.
#[derive(Debug)]
#[must_use = "what is not waited for may be lost with the power"]
pub struct Stored(oneshot::Receiver<Result<(), StoreError>>);

impl Stored {
    /// A write that is not even tried.
    pub(super) fn refused(error: StoreError) -> Self {
        let (answer, stored) = oneshot::channel();
        drop(answer.send(Err(error)));
        Self(stored)
    }

    #[cfg(test)]
    pub(super) fn try_answer(&mut self) -> Option<Result<(), StoreError>> {
        self.0.try_recv().ok()
    }

    /// Waits on this thread, which must be one that may block.
    ///
    /// # Errors
    /// If it could not be written.
    pub fn wait(self) -> Result<(), StoreError> {
        self.0.blocking_recv().unwrap_or(Err(StoreError::Ended))
    }
}

impl Future for Stored {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(StoreError::Ended)))
    }
}
