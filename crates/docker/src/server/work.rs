//! Doing the work of one request in a task of its own.

use std::future::Future;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver::DriverError;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    /// The driver says so.
    #[error("{0}")]
    Driver(DriverError),
    /// It took too long.
    #[error("Landline could not do this within {} seconds; its log says more", .0.as_secs_f32())]
    TooSlow(Duration),
    /// It panicked.
    #[error("Landline made a mistake of its own; its log says more")]
    Panicked,
}

/// Limits and housekeeping of one piece of work.
pub(crate) struct Work<'a> {
    /// Where its task is kept account of.
    pub(crate) tasks: &'a TaskTracker,
    /// How long it may take before it is cancelled.
    pub(crate) deadline: Duration,
    /// How long it may then take to undo itself before the error goes out.
    pub(crate) grace: Duration,
}

impl Work<'_> {
    /// Runs `work` and waits for its result.
    ///
    /// The work goes on to its end in any case. The token it gets is cancelled when the future of this function
    /// is dropped (the client is gone) and at the deadline. A result that comes after that is handed to
    /// `undo`, because nobody else knows about it.
    pub(crate) async fn run<T, F, U>(
        self,
        work: impl FnOnce(CancellationToken) -> F,
        undo: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<T, WorkError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DriverError>> + Send + 'static,
        U: Future<Output = ()> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        let abandoned = cancel.clone().drop_guard();
        let (result, mut waiting) = oneshot::channel();
        let work = work(cancel.clone());
        self.tasks.spawn(async move {
            let done = work.await;
            if let Err(Ok(unwanted)) = result.send(done) {
                undo(unwanted).await;
            }
        });
        let mut done = tokio::time::timeout(self.deadline, &mut waiting).await;
        if done.is_err() {
            cancel.cancel();
            done = tokio::time::timeout(self.grace, &mut waiting).await;
        }
        let done = done.map_err(|_| WorkError::TooSlow(self.deadline))?;
        // The work may have given the token to something that lives on.
        abandoned.disarm();
        match done {
            Ok(done) => done.map_err(WorkError::Driver),
            // The sender was dropped without a word.
            Err(_) => Err(WorkError::Panicked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use tokio::sync::mpsc;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(20);

    fn work(tasks: &TaskTracker, deadline: Duration) -> Work<'_> {
        Work { tasks, deadline, grace: SOON }
    }

    #[tokio::test]
    async fn results_errors_and_panics_come_through() {
        let tasks = TaskTracker::new();
        let done = work(&tasks, LATE).run(|_| ready(Ok(1)), |_| ready(())).await;
        assert!(matches!(done, Ok(1)));
        let failed =
            work(&tasks, LATE).run(|_| ready(Err::<(), _>(std::fmt::Error.into())), |()| ready(())).await;
        assert!(matches!(failed, Err(WorkError::Driver(_))));
        let panicked = work(&tasks, LATE)
            .run(|_| async { if true { panic!("on purpose") } else { Ok(()) } }, |()| ready(()))
            .await;
        assert!(matches!(panicked, Err(WorkError::Panicked)));
    }

    #[tokio::test]
    async fn at_the_deadline_the_work_is_cancelled_and_may_say_why() {
        let tasks = TaskTracker::new();
        let stubborn = work(&tasks, SOON).run(|_| pending::<Result<(), DriverError>>(), |()| ready(())).await;
        assert!(matches!(stubborn, Err(WorkError::TooSlow(_))));
        let obedient = work(&tasks, SOON)
            .run(
                |cancel| async move {
                    cancel.cancelled().await;
                    Err::<(), _>(std::fmt::Error.into())
                },
                |()| ready(()),
            )
            .await;
        assert!(matches!(obedient, Err(WorkError::Driver(_))));
    }

    #[tokio::test]
    async fn what_comes_after_the_client_left_is_undone() {
        let tasks = TaskTracker::new();
        let (undone, mut seen) = mpsc::unbounded_channel();
        let (started, has_started) = oneshot::channel();
        let running = work(&tasks, LATE).run(
            |cancel| async move {
                let _ = started.send(());
                cancel.cancelled().await;
                Ok(7)
            },
            move |result| async move {
                let _ = undone.send(result);
            },
        );
        tokio::select! {
            _ = running => panic!("nobody cancelled it"),
            started = has_started => started.unwrap(),
        }
        assert_eq!(tokio::time::timeout(LATE, seen.recv()).await.unwrap(), Some(7));
    }
}
