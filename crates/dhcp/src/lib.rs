//! The DHCP and ARP protocols as values and state machines: no sockets, no clock, no threads.
//!
//! - [`wire`] turns bytes into values and back: IPv4/UDP datagrams, ARP, DHCPv4; IPv6 packets,
//!   neighbour discovery, DHCPv6. Parsers are total: any input gives
//!   a value or `None`, never a panic.
//! - [`v4`] is a DHCPv4 client (RFC 2131) with conflict detection (RFC 5227), one [`v4::Client`] per leased address.
//! - [`v6`] is an IPv6 client (router advertisements, autoconfiguration, DHCPv6, duplicate address detection), one
//!   [`v6::Client`] per interface. It is driven the same way.
//!
//! # When to poll
//!
//! A client only changes inside a call that is given the time. After each of them (`start`, `resume`, `handle_*`,
//! `renew`, `set_hostname`, `release`, `restart`, `link_up`):
//!
//! 1. send everything [`v4::Client::poll_transmit`] gives, until `None`;
//! 2. act on everything [`v4::Client::poll_event`] gives, until `None`;
//! 3. arm one timer for [`v4::Client::poll_timeout`], and call [`v4::Client::handle_timeout`] when it is over. Early
//!    and spurious calls are harmless, late ones are made up for;
//! 4. keep sockets open while [`v4::Client::wants_socket`], and only then.
//!
//! Time is [`Instant`], a point on `CLOCK_BOOTTIME`, so that a lease goes on ageing while the machine sleeps.
//! Randomness comes from a [`Random`] the caller gives. The same calls with the same random numbers give the same
//! packets.
//!
//! # What it does not do
//!
//! No BOOTP servers, no INFORM, no FORCERENEW (it needs authentication to be safe), no relay agent, no options of
//! RFC 3118. Client and server are on one Ethernet-like link.

#![forbid(unsafe_code)]

mod backoff;
mod link_up;
mod random;
mod taken;
mod time;
pub mod v4;
pub mod v6;
pub mod wire;

pub use random::Random;
pub use taken::Taken;
pub use time::Instant;
