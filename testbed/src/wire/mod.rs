//! What goes over the wire: captured, taken apart, and, where no real server would do it, made up.

mod capture;
mod dhcp;
mod fake_server;
mod frame;

pub use capture::Capture;
pub use dhcp::{DhcpKind, DhcpMessage};
pub use fake_server::{FakeServer, Reply};
pub use frame::{Arp, Frame, Udp};
