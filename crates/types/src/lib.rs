//! Words every part of Landline shares: hardware addresses and interface names.
//!
//! The crates at the bottom (`dhcp`, `kernel`, `spec`) do not know each other; what they have in common
//! is here and nothing else is.

mod ifname;
mod mac;

pub use ifname::{IfName, IfNameError};
pub use mac::{Mac, MacError};
