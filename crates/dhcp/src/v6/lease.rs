//! What DHCPv6 servers gave.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::state::State6;
use super::table::is_live;
use crate::time::Instant;
use crate::wire::dhcpv6::Duid;

/// The addresses of the client's identity association, and what else came with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The server, which renewals name.
    pub server: Duid,
    /// When it was asked for, which is what its times count from.
    pub obtained: Instant,
    /// When to renew it with its server; `None`: never.
    pub t1: Option<Instant>,
    /// When to ask any server; `None`: never.
    pub t2: Option<Instant>,
    /// The addresses, at least one.
    pub addresses: Vec<LeasedAddress>,
    /// Option 23.
    pub dns: Vec<Ipv6Addr>,
    /// Option 24, in lower case.
    pub search: Vec<String>,
}

/// An address of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeasedAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Until when it is to be used for anything new; `None`: for ever.
    pub preferred_until: Option<Instant>,
    /// Until when it may be used; `None`: for ever.
    pub valid_until: Option<Instant>,
}

impl Lease {
    /// Whether any of its addresses may still be used.
    pub fn is_live(&self, now: Instant) -> bool {
        self.addresses.iter().any(|leased| is_live(leased.valid_until, now))
    }

    /// When the last of its addresses is over; `None`: never.
    pub fn expires(&self) -> Option<Instant> {
        // Never is later than any time.
        let last = self.addresses.iter().map(|leased| leased.valid_until);
        last.max_by_key(|end| (end.is_none(), *end)).flatten()
    }
}

/// Parameters without addresses (RFC 9915 section 18.2.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Information {
    /// Option 23.
    pub dns: Vec<Ipv6Addr>,
    /// Option 24, in lower case.
    pub search: Vec<String>,
    /// When they are asked for again; `None`: never.
    pub refresh: Option<Instant>,
}

/// What is known from before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remembered {
    /// Addresses to request, but no times that count on this boot's clock.
    Addresses(Vec<Ipv6Addr>),
    /// The last state, its times on this boot's clock. What of it has not ended may be used at once; see
    /// [`Client::start`](super::Client::start).
    State(Box<State6>),
}

impl From<State6> for Remembered {
    fn from(state: State6) -> Self {
        Self::State(Box::new(state))
    }
}
