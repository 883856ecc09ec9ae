//! Leases.

use std::net::Ipv4Addr;

use super::options::LeaseOptions;
use crate::time::Instant;

/// What a server granted, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The length of its subnet's prefix, 1 to 32.
    pub prefix_len: u8,
    /// The server's identifier (option 54), where renewals go.
    pub server: Ipv4Addr,
    /// When it was asked for, which is what its times count from (RFC 2131 section 4.4.1).
    pub obtained: Instant,
    /// When to renew it with its server; `None` with an infinite lease.
    pub t1: Option<Instant>,
    /// When to ask any server; `None` with an infinite lease.
    pub t2: Option<Instant>,
    /// When the address must no longer be used; `None`: never.
    pub expires: Option<Instant>,
    /// What else the server said.
    pub options: LeaseOptions,
}

impl Lease {
    /// Whether the address may still be used.
    pub fn is_live(&self, now: Instant) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

/// What is known from before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remembered {
    /// An address, but no lease that counts on this boot's clock.
    Address(Ipv4Addr),
    /// A lease. If it is still live the address may be used while the client asks for it again; see
    /// [`Client::start`](super::Client::start).
    Lease(Box<Lease>),
}

impl Remembered {
    /// The address.
    pub fn address(&self) -> Ipv4Addr {
        match self {
            Self::Address(address) => *address,
            Self::Lease(lease) => lease.address,
        }
    }
}

impl From<Lease> for Remembered {
    fn from(lease: Lease) -> Self {
        Self::Lease(Box::new(lease))
    }
}

impl From<Ipv4Addr> for Remembered {
    fn from(address: Ipv4Addr) -> Self {
        Self::Address(address)
    }
}
