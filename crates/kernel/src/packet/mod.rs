//! Sockets beneath and beside the IP stack.

mod filter;
mod socket;
mod unicast;

pub use socket::{PacketSocket, Received};
pub use unicast::UnicastSocket;
