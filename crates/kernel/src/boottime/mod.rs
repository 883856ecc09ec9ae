//! Time that runs on while the machine sleeps (`CLOCK_BOOTTIME`, `clock_gettime(2)`), and the name of the boot
//! it counts from.

mod alarm;

use std::io;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub use alarm::{Alarm, Sleep};

/// The time since the machine was started, time asleep included.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    // The clock starts at zero and its nanoseconds are less than a second.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A text that is different after every start of the machine (`random(4)`): times of [`now`] mean something
/// only together with it.
pub fn boot_id() -> io::Result<String> {
    let mut id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    id.truncate(id.trim_end().len());
    Ok(id)
}
