//! An IPv6 LAN in virtual time: a router, a DHCPv6 server, hosts with clients, perhaps a squatter, and a network
//! between them that loses, repeats and delays. Everything follows from one seed.
//!
//! Hosts hear packets only while their clients want sockets, as in the product; behind some of them a kernel answers
//! for the addresses that are set up, behind others (a link that has not reached its container) nobody does. The
//! server finds a client's hardware address by neighbour discovery before it answers, as servers do.
//!
//! What must hold: an address is used only after it was asked about on the link, and only as long as its server, or the
//! router of its prefix, has said; a leased address that somebody else has is declined; none is used by two hosts
//! (unless a server forgot whose it was) or by a host and a squatter; the identity is the same in every message; no host
//! sends without end; and when the network has been well for a while, everybody has everything.

#![allow(dead_code, reason = "the test and the example each use a part")]

mod gateway;
mod host;
#[path = "../lan/rng.rs"]
#[allow(dead_code, reason = "shared with the other simulator")]
mod rng;
mod server;
mod world;

use std::net::Ipv6Addr;
use std::time::Duration;

use landline_dhcp::Instant;
use landline_types::Mac;

pub(crate) use world::{Report, Scenario, run};

/// Microseconds since boot.
pub(crate) type Micros = u64;

pub(crate) const MILLI: Micros = 1000;
pub(crate) const SECOND: Micros = 1_000_000;
pub(crate) const HOUR: Micros = 3600 * SECOND;

pub(crate) fn instant(at: Micros) -> Instant {
    Instant::from_boot(Duration::from_micros(at))
}

pub(crate) fn micros(at: Instant) -> Micros {
    u64::try_from(at.since_boot().as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn mac(last: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 6, last])
}

/// The link-local address of a node that is no client.
pub(crate) fn link_local(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into())
}

/// An address the server gives.
pub(crate) fn leased(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 1, last.into())
}

/// A frame on the LAN.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) from: Mac,
    pub(crate) to: Mac,
    pub(crate) packet: Vec<u8>,
}
