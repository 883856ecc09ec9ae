//! Sockets beneath and beside the IP stack.

mod budget;
mod closing;
mod filter;
mod groups;
mod socket;
mod unicast;

pub use groups::Groups;
pub use socket::{PacketSocket, Received};
pub use unicast::UnicastSocket;
