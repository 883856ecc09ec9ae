//! What goes over the wire: captured, taken apart, held against the RFCs, and, where no real server would do it, made up.

mod arp_audit;
mod audit;
mod capture;
mod dhcp;
mod fake_server;
mod frame;
mod squatter;

pub use arp_audit::ArpAudit;
pub use audit::{DhcpAudit, Purpose};
pub use capture::Capture;
pub use dhcp::{DhcpKind, DhcpMessage};
pub use fake_server::{FakeServer, Reply};
pub use frame::{Arp, Frame, Udp};
pub use squatter::{Squatter, Squatting};
