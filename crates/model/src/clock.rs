//! The time, as records need it.

use std::time::Duration;

use landline_dhcp::Instant;

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// On the clock of this boot (`CLOCK_BOOTTIME`), by which leases run.
    pub instant: Instant,
    /// On the wall clock, in seconds since 1970. It may be wrong; it only tells how much time a reboot took.
    pub wall: u64,
}

impl Now {
    /// The time since the machine was started, time asleep included.
    pub const fn since_boot(self) -> Duration {
        self.instant.since_boot()
    }
}
