//! The service manager's watchdog (`WatchdogSec=`, systemd.service(5)): it hears from the daemon only while the daemon works.

use std::sync::Arc;
use std::time::Duration;

use landline_engine::Engine;
use landline_links::blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How many signs of life the daemon owes within the service manager's limit, so that a slow one is no end.
const SIGNS: u32 = 3;

/// Tells the service manager again and again that the daemon works, if it wants to know.
pub(crate) async fn follow(engine: Arc<Engine>, cancel: CancellationToken) {
    if let Some(limit) = sd_notify::watchdog_enabled() {
        let works = || async {
            let engine = engine.clone();
            blocking(move || drop(engine.network_views())).await;
        };
        let told =
            signs(limit / SIGNS, works, || super::daemon::tell_systemd(&[sd_notify::NotifyState::Watchdog]));
        cancel.run_until_cancelled(told).await;
    }
}

/// Gives a sign every `period`, each only after everything has been gone through that a request needs: the runtime and its timers,
/// a thread for what blocks, and the engine's locks.
async fn signs<F: Future<Output = ()>>(period: Duration, works: impl Fn() -> F, tell: impl Fn()) {
    let mut due = interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        works().await;
        tell();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::signs;

    #[tokio::test(start_paused = true)]
    async fn there_are_signs_while_it_works() {
        let told = AtomicU32::new(0);
        let tell = || {
            told.fetch_add(1, Ordering::Relaxed);
        };
        let ended = timeout(Duration::from_secs(35), signs(Duration::from_secs(10), || async {}, tell)).await;
        assert!(ended.is_err());
        assert_eq!(told.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_none_once_it_hangs() {
        let told = AtomicU32::new(0);
        let tell = || {
            told.fetch_add(1, Ordering::Relaxed);
        };
        let hangs = || async {
            if told.load(Ordering::Relaxed) == 2 {
                std::future::pending::<()>().await;
            }
        };
        let ended = timeout(Duration::from_hours(1), signs(Duration::from_secs(10), hangs, tell)).await;
        assert!(ended.is_err());
        assert_eq!(told.load(Ordering::Relaxed), 2);
    }
}
