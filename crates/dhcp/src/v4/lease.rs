//! A lease: its address, its times, and what came with it.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

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

    /// Who on the link takes a packet for this address: itself, or the router on the way to it.
    pub fn next_hop(&self, to: Ipv4Addr) -> Ipv4Addr {
        let subnet = Ipv4Net::new_assert(self.address, self.prefix_len.min(32));
        if subnet.contains(&to) {
            return to;
        }
        let routes = self.options.routes().filter(|route| route.destination.contains(&to));
        match routes.max_by_key(|route| route.destination.prefix_len()) {
            Some(route) => route.via().unwrap_or(to),
            None => self.options.gateway().unwrap_or(to),
        }
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

#[cfg(test)]
mod tests {
    use super::super::options::ClasslessRoute;
    use super::*;

    #[test]
    fn a_packet_goes_by_the_narrowest_route() {
        let mut lease = Lease {
            address: Ipv4Addr::new(192, 0, 2, 10),
            prefix_len: 24,
            server: Ipv4Addr::new(203, 0, 113, 2),
            obtained: Instant::from_boot(std::time::Duration::ZERO),
            t1: None,
            t2: None,
            expires: None,
            options: LeaseOptions::default(),
        };
        let near = Ipv4Addr::new(192, 0, 2, 200);
        assert_eq!(lease.next_hop(near), near);
        assert_eq!(lease.next_hop(lease.server), lease.server, "nobody else is known");
        lease.options.routers = vec![Ipv4Addr::new(192, 0, 2, 1)];
        assert_eq!(lease.next_hop(lease.server).octets(), [192, 0, 2, 1]);
        let route = |destination: &str, last| ClasslessRoute {
            destination: destination.parse().expect("a network"),
            gateway: Ipv4Addr::new(192, 0, 2, last),
        };
        lease.options.classless_routes =
            Some(vec![route("0.0.0.0/0", 2), route("203.0.113.0/24", 3), route("203.0.112.0/23", 4)]);
        assert_eq!(lease.next_hop(lease.server).octets(), [192, 0, 2, 3]);
        assert_eq!(lease.next_hop(Ipv4Addr::new(198, 51, 100, 1)).octets(), [192, 0, 2, 2]);
    }
}
