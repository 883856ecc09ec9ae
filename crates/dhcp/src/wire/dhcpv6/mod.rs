//! DHCPv6 messages between clients and servers (RFC 9915, which replaced RFC 8415): [`Message`] with its [`Options`],
//! the nested [`IaNa`], and [`Duid`].

mod duid;
mod ia;
mod message;
mod options;

pub use duid::{Duid, DuidError};
pub use ia::{IaAddress, IaNa};
pub use message::{Message, MessageType};
pub use options::{Options, Status, code, status};

/// The port servers and relay agents listen on.
pub const SERVER_PORT: u16 = 547;
/// The port clients listen on.
pub const CLIENT_PORT: u16 = 546;
/// A time with this value: for ever.
pub const INFINITE: u32 = u32::MAX;
