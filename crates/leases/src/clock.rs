//! The clocks of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use landline_dhcp::Instant;
use landline_kernel::boottime;
use landline_model::Now;

/// What both clocks say.
pub fn now() -> Now {
    Now { instant: Instant::from_boot(boottime::now()), wall: wall() }
}

/// Seconds of the wall clock, which may be wrong: for ages, never for leases.
pub fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
