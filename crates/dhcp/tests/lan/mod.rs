//! A LAN in virtual time: DHCP servers, hosts with clients, hosts that take addresses without asking, and a network
//! between them that loses, repeats, delays and reorders. Everything follows from one seed.
//!
//! `world` is the clock and the network, `faults` what goes wrong, `server` and `host` who is on it, `audit` what
//! must hold at any time, `bugs` what a client could do wrong (to see that the audit notices).

#![allow(dead_code, unused_imports, reason = "the test and the example each use a part")]

mod audit;
mod bugs;
mod faults;
mod host;
mod report;
mod rng;
mod server;
mod world;

pub(crate) use bugs::Bug;
pub(crate) use report::Report;
pub(crate) use world::{Scenario, run, run_all};

use std::net::Ipv4Addr;
use std::time::Duration;

use landline_dhcp::Instant;
use landline_dhcp::wire::arp;

/// Microseconds since boot.
pub(crate) type Micros = u64;

pub(crate) const SECOND: Micros = 1_000_000;
pub(crate) const HOUR: Micros = 3600 * SECOND;
pub(crate) const DAY: Micros = 24 * HOUR;

pub(crate) fn instant(at: Micros) -> Instant {
    Instant::from_boot(Duration::from_micros(at))
}

pub(crate) fn micros(at: Instant) -> Micros {
    u64::try_from(at.since_boot().as_micros()).unwrap_or(u64::MAX)
}

/// An address of the LAN, which is 198.51.100.0/24.
pub(crate) fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

/// What goes over the network.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    Dhcp { src: Ipv4Addr, dst: Ipv4Addr, payload: Vec<u8> },
    Arp(arp::Packet),
}
