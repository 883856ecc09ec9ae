//! Answers that are expensive to make: one at a time, and each is good for a moment.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::Mutex;
use tokio::task::JoinError;
use tokio::time::Instant;

/// How long an answer is given again, from when it began to be made. No notice of a change comes sooner
/// ([`super::page::PACE`]), so who asks after a notice sees the change.
const KEPT: Duration = Duration::from_secs(1);

/// The last answer to one question, and when it began to be made.
#[derive(Debug, Default)]
pub(super) struct Recent(Arc<Mutex<Option<(Instant, Bytes)>>>);

impl Recent {
    /// The last answer, or what `look` makes. That goes on if whoever asked is gone, and nobody else looks until it is done: so
    /// requests that are given up at once do not add up to more than one.
    ///
    /// # Errors
    /// Those of `look`, which are not kept, or if it panicked.
    pub(super) async fn get<E>(
        &self,
        look: impl Future<Output = Result<Bytes, E>> + Send + 'static,
    ) -> Result<Bytes, E>
    where
        E: From<JoinError> + Send + 'static,
    {
        let mut last = self.0.clone().lock_owned().await;
        if let Some((_, answer)) = last.as_ref().filter(|(began, _)| began.elapsed() < KEPT) {
            return Ok(answer.clone());
        }
        let made = tokio::spawn(async move {
            let began = Instant::now();
            let answer = look.await?;
            *last = Some((began, answer.clone()));
            Ok(answer)
        });
        made.await?
    }

    /// Whether somebody may be given an answer that began to be made before now.
    pub(super) fn is_kept(&self) -> bool {
        // Who cannot lock it finds somebody looking.
        self.0.try_lock().map_or(true, |last| last.as_ref().is_some_and(|(began, _)| began.elapsed() < KEPT))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Never;

    impl From<JoinError> for Never {
        fn from(_: JoinError) -> Self {
            Self
        }
    }

    /// Counts how many look, and how many did at the same time.
    #[derive(Debug, Default)]
    struct Looks {
        all: AtomicUsize,
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Looks {
        async fn look(self: Arc<Self>) -> Result<Bytes, Never> {
            let number = self.all.fetch_add(1, Ordering::SeqCst) + 1;
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            Ok(Bytes::from(number.to_string()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_are_given_up_do_not_add_up() {
        let (recent, looks) = (Arc::new(Recent::default()), Arc::<Looks>::default());
        for _ in 0..100 {
            let asked = recent.get(looks.clone().look());
            // Whoever asked is gone.
            drop(tokio::time::timeout(Duration::from_millis(10), asked).await);
        }
        let counted = [&looks.all, &looks.most].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(counted, [1, 1], "in one second");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_a_second_from_when_it_began() {
        let (recent, looks) = (Recent::default(), Arc::<Looks>::default());
        let get = async || recent.get(looks.clone().look()).await.unwrap();
        assert!(!recent.is_kept());
        assert_eq!(get().await, "1");
        tokio::time::advance(Duration::from_millis(650)).await;
        assert!(recent.is_kept());
        assert_eq!(get().await, "1");
        tokio::time::advance(Duration::from_millis(60)).await;
        assert!(!recent.is_kept());
        assert_eq!(get().await, "2");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_not_kept() {
        let recent = Recent::default();
        assert!(recent.get(async { Err::<Bytes, _>(Never) }).await.is_err());
        assert_eq!(recent.get(async { Ok::<_, Never>(Bytes::from("1")) }).await.unwrap(), "1");
        let panicked = Recent::default();
        let panics = async || -> Result<Bytes, Never> { panic!("in a test") };
        assert!(panicked.get(async move { panics().await }).await.is_err());
    }
}
