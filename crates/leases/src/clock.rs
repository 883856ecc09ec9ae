//! The clocks of this machine.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use landline_dhcp::Instant;
use landline_kernel::boottime::{self, Alarm};
use landline_model::Now;

/// The clock that leases are on (`CLOCK_BOOTTIME`), and its timers. Clones share them.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Kernel(Alarm),
    /// tokio's own, which tests can stop.
    #[cfg(any(test, feature = "testing"))]
    Tokio(tokio::time::Instant),
}

impl Clock {
    /// The kernel's. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the kernel has no timer to give.
    pub fn start() -> io::Result<Self> {
        Ok(Self(Source::Kernel(Alarm::start()?)))
    }

    /// tokio's, which stands still and jumps where a test has paused it. It begins at the kernel's time.
    #[cfg(any(test, feature = "testing"))]
    pub fn of_tokio() -> Self {
        let origin = tokio::time::Instant::now();
        Self(Source::Tokio(origin.checked_sub(boottime::now()).unwrap_or(origin)))
    }

    /// The time since the machine was started.
    pub fn now(&self) -> Instant {
        Instant::from_boot(match &self.0 {
            Source::Kernel(_) => boottime::now(),
            #[cfg(any(test, feature = "testing"))]
            Source::Tokio(origin) => origin.elapsed(),
        })
    }

    /// What both clocks say.
    pub fn both(&self) -> Now {
        Now { instant: self.now(), wall: wall() }
    }

    /// Sleeps until then, on this clock; `None`: for ever.
    pub async fn sleep_until(&self, deadline: Option<Duration>) {
        let Some(deadline) = deadline else { return std::future::pending().await };
        match &self.0 {
            Source::Kernel(alarm) => alarm.sleep_until(deadline).await,
            #[cfg(any(test, feature = "testing"))]
            Source::Tokio(origin) => tokio::time::sleep_until(*origin + deadline).await,
        }
    }
}

/// Seconds of the wall clock, which may be wrong: for ages, never for leases.
pub fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
