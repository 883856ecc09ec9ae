//! Words every part of Landline shares: hardware addresses, interface names, and how errors and text from outside are printed.
//!
//! The crates at the bottom (`dhcp`, `kernel`, `spec`) do not know each other; what they have in common
//! is here and nothing else is.

mod chain;
mod ifname;
mod mac;
mod shown;
mod text;
mod timings;

pub use chain::chain;
pub use ifname::{IfName, IfNameError};
pub use mac::{Mac, MacError};
pub use shown::Shown;
pub use timings::{Timings, TimingsSeen};
