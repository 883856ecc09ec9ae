//! Packet sockets (`packet(7)`) for DHCP, ARP and neighbour discovery, and UDP sockets bound to one link.

mod budget;
mod closing;
mod filter;
mod groups;
mod socket;
mod unicast;

pub use groups::Groups;
pub use socket::{PacketSocket, Received};
pub use unicast::UnicastSocket;
