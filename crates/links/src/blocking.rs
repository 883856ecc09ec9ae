//! Blocking work, off the runtime.

/// Looks at the host until that works: with a pause, which grows, after each failure.
pub async fn look_again<T: Send + 'static>(
    what: &'static str,
    look: impl Fn() -> std::io::Result<T> + Clone + Send + 'static,
) -> T {
    const FIRST: std::time::Duration = std::time::Duration::from_millis(100);
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(10);
    let mut pause = FIRST;
    loop {
        match blocking(look.clone()).await {
            Ok(seen) => return seen,
            // One line for each time it began to fail.
            Err(error) if pause == FIRST => tracing::warn!(%error, "cannot list {what}; trying again"),
            Err(error) => tracing::debug!(%error, ?pause, "cannot list {what}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Runs blocking work without holding up the runtime; a panic in it goes on here.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // A panic goes on where it would have been without the thread; a runtime that is shutting down drops
        // this task at its next await anyway.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
