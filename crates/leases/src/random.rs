//! Randomness from the operating system.

/// Draws from getrandom(2).
#[derive(Debug, Clone, Copy)]
pub struct OsRandom;

impl landline_dhcp::Random for OsRandom {
    fn next_u32(&mut self) -> u32 {
        // Only a kernel without getrandom can fail here; timers and transaction ids then lose their jitter,
        // nothing else.
        getrandom::u32().unwrap_or(0x4c4c_4c4c)
    }
}
