//! A DHCPv4 message as it came.

use std::net::Ipv4Addr;

use super::message::MessageType;
use super::options::{Options, code};
use super::{BOOTREPLY, BOOTREQUEST, BROADCAST_FLAG, MAGIC, at};
use crate::wire::field;

/// A view of a UDP payload as a DHCPv4 message. Every field can be read; none was judged beyond "there is one".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    fixed: &'a [u8; at::OPTIONS],
    options: Options,
}

impl<'a> Packet<'a> {
    /// Reads a message. `None` if it is shorter than the fixed part, lacks DHCP's magic number, or is neither
    /// request nor reply. Options are never a reason: what can be read of them is there, in the order options,
    /// `file`, `sname` where option 52 says that they continue there (RFC 3396 section 5).
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = payload.split_first_chunk::<{ at::OPTIONS }>()?;
        if fixed[at::MAGIC] != MAGIC || !matches!(fixed[at::OP], BOOTREQUEST | BOOTREPLY) {
            return None;
        }
        let mut options = Options::new();
        options.read(rest);
        let overload = options.u8(code::OVERLOAD).unwrap_or(0);
        if overload & 1 != 0 {
            options.read(&fixed[at::FILE]);
        }
        if overload & 2 != 0 {
            options.read(&fixed[at::SNAME]);
        }
        Some(Self { fixed, options })
    }

    /// Whether it goes from a server to a client.
    pub(crate) fn is_reply(&self) -> bool {
        self.fixed[at::OP] == BOOTREPLY
    }

    /// The kind of link (1: Ethernet).
    pub(crate) fn hardware_type(&self) -> u8 {
        self.fixed[at::HTYPE]
    }

    /// The client's hardware address, as long as the message says it is (at most 16 octets).
    pub fn hardware_address(&self) -> &[u8] {
        let whole = &self.fixed[at::CHADDR];
        whole.get(..usize::from(self.fixed[at::HLEN])).unwrap_or(whole)
    }

    /// The transaction.
    pub fn xid(&self) -> u32 {
        field::u32(self.fixed, at::XID).unwrap_or_default()
    }

    /// Seconds since the client began to ask.
    pub fn secs(&self) -> u16 {
        field::u16(self.fixed, at::SECS).unwrap_or_default()
    }

    /// Whether the client wants its answers broadcast.
    pub fn broadcast(&self) -> bool {
        field::u16(self.fixed, at::FLAGS).unwrap_or_default() & BROADCAST_FLAG != 0
    }

    /// The address the client uses.
    pub fn ciaddr(&self) -> Ipv4Addr {
        self.address(at::CIADDR)
    }

    /// The address the client gets.
    pub fn yiaddr(&self) -> Ipv4Addr {
        self.address(at::YIADDR)
    }

    /// The next server of a network boot.
    pub fn siaddr(&self) -> Ipv4Addr {
        self.address(at::SIADDR)
    }

    /// The relay agent it came through.
    pub fn giaddr(&self) -> Ipv4Addr {
        self.address(at::GIADDR)
    }

    /// What kind of message it says it is.
    pub(crate) fn message_type(&self) -> Option<MessageType> {
        self.options.u8(code::MESSAGE_TYPE).and_then(MessageType::from_code)
    }

    /// Its options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Its options, without the view.
    pub fn into_options(self) -> Options {
        self.options
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        field::ipv4(self.fixed, at).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }
}
