//! DHCPv4 messages (RFC 2131, RFC 2132), as [`Packet`] (what came, every field readable even if it is nonsense) and
//! [`Repr`] (what a message means, and what becomes octets).

mod message;
mod options;
mod packet;

pub use message::{MessageType, Repr};
pub use options::{Options, code};
pub use packet::Packet;

/// The port servers listen on.
pub const SERVER_PORT: u16 = 67;
/// The port clients listen on.
pub const CLIENT_PORT: u16 = 68;
/// Option 51, 58 or 59 with this value: for ever.
pub const INFINITE: u32 = u32::MAX;

const BOOTREQUEST: u8 = 1;
const BOOTREPLY: u8 = 2;
const ETHERNET: u8 = 1;
const BROADCAST_FLAG: u16 = 0x8000;
/// What tells DHCP from plain BOOTP at the head of the options.
const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// Where the fields of the fixed part are.
mod at {
    use std::ops::Range;

    pub(super) const OP: usize = 0;
    pub(super) const HTYPE: usize = 1;
    pub(super) const HLEN: usize = 2;
    pub(super) const XID: usize = 4;
    pub(super) const SECS: usize = 8;
    pub(super) const FLAGS: usize = 10;
    pub(super) const CIADDR: usize = 12;
    pub(super) const YIADDR: usize = 16;
    pub(super) const SIADDR: usize = 20;
    pub(super) const GIADDR: usize = 24;
    pub(super) const CHADDR: Range<usize> = 28..44;
    pub(super) const SNAME: Range<usize> = 44..108;
    pub(super) const FILE: Range<usize> = 108..236;
    pub(super) const MAGIC: Range<usize> = 236..240;
    /// Where the options begin.
    pub(super) const OPTIONS: usize = 240;
}
