//! Packets: views of bytes that came from a network, and values that become bytes.
//!
//! Nothing here trusts its input, and nothing here keeps state.

pub mod arp;
pub mod dhcpv4;
pub(crate) mod field;
pub(crate) mod names;
pub mod udp;
