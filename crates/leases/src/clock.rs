//! The clocks of this machine.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use landline_dhcp::Instant;
use landline_kernel::boottime::{self, Alarm};
use landline_model::Now;

/// The clock that leases are on (`CLOCK_BOOTTIME`), and its timers. Clones share them.
#[derive(Debug, Clone)]
pub struct Clock(Alarm);

impl Clock {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the kernel has no timer to give.
    pub fn start() -> io::Result<Self> {
        Ok(Self(Alarm::start()?))
    }

    /// The time since the machine was started.
    pub fn now(&self) -> Instant {
        Instant::from_boot(boottime::now())
    }

    /// What both clocks say.
    pub fn both(&self) -> Now {
        Now { instant: self.now(), wall: wall() }
    }

    /// Sleeps until then, on this clock; `None`: for ever.
    pub async fn sleep_until(&self, deadline: Option<Duration>) {
        match deadline {
            Some(deadline) => self.0.sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

/// Seconds of the wall clock, which may be wrong: for ages, never for leases.
pub fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
