//! Packets: views of bytes that came from a network, and values that become bytes.
//!
//! Nothing here trusts its input, and nothing here keeps state.

pub mod arp;
mod checksum;
pub mod dhcpv4;
pub mod dhcpv6;
pub(crate) mod field;
pub mod icmpv6;
pub mod ipv6;
pub(crate) mod labels;
pub(crate) mod names;
pub mod ra;
pub mod udp;
