//! Sockets beneath and beside the IP stack.

mod filter;
mod groups;
mod socket;
mod unicast;

pub use groups::Groups;
pub use socket::{PacketSocket, Received};
pub use unicast::UnicastSocket;
