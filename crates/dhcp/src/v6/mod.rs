//! An IPv6 client for one interface: a link-local address, router advertisements and addresses made of their prefixes
//! (RFC 4861, RFC 4862), DHCPv6 (RFC 9915, which replaced RFC 8415), and duplicate address detection for all of it.
//!
//! [`Client`] is the machine; [`Config`] says who it is and what it wants, [`State6`] is the whole of what its link is
//! to be set up with at a time, [`Event`] tells when that changes.
//!
//! The kernel has no part in it: no `accept_ra`, no `addrgenmode`, addresses installed without its own duplicate
//! address detection (`IFA_F_NODAD`). What it does do, once it has an address, is to answer for it; until then the
//! client answers, because a DHCPv6 server looks for the client's hardware address before it sends a reply.
//!
//! # Sockets
//!
//! One packet socket for IPv6 does for everything: give what arrives to [`Client::handle_packet`], send what
//! [`Transmit::to_packet`] makes to [`Transmit::link_destination`]. It must hear groups that the link does not
//! subscribe to yet (`PACKET_MR_ALLMULTI`). [`Client::handle_dhcp`] is for programs that receive DHCPv6 at a UDP socket.
//!
//! # Between exchanges
//!
//! Routers repeat their advertisements now and then, and a host is meant to listen for ever. With
//! [`Config::listen`] off, [`Client::wants_socket`] is nevertheless false between exchanges: the client asks routers
//! again before half of the shortest lifetime they told is over, and at least every half hour, as if it were a lease.
//! What a router says in between is heard that much later.

mod advertised;
mod client;
mod config;
mod dad;
mod dhcp;
mod heard;
mod interface_id;
mod lease;
mod slaac;
mod solicitor;
mod state;
mod table;
mod timing;

pub use client::{Client, Event, LossReason, StateName, Transmit};
pub use config::{Config, Mode};
pub use interface_id::InterfaceId;
pub use lease::{Information, Lease, LeasedAddress, Remembered};
pub use state::{Address, Dns, OnLink, Origin, Route, Router, Search, State6};

pub use crate::v4::ConflictCheck;
pub use crate::wire::dhcpv6::{Duid, DuidError};
pub use crate::wire::ra::Preference;
