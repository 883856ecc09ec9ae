//! Being a listener of IPv6 groups without an address on the link.

use std::io;
use std::net::Ipv6Addr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;

/// Memberships in IPv6 groups, as long as this lives. The stack tells the link's switches and routers of each (MLD, RFC
/// 3810), so that they send here what goes to it; a packet socket alone says nothing. Nothing is received.
#[derive(Debug)]
pub struct Groups(Socket);

impl Groups {
    /// No membership yet, in the given namespace or the calling thread's.
    pub fn open(ns: Option<&Netns>) -> io::Result<Self> {
        let open = || Socket::new(Domain::IPV6, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP));
        match ns {
            Some(ns) => ns.run(open)?,
            None => open(),
        }
        .map(Self)
    }

    /// Becomes a member on the link with this index. Being one already is fine.
    pub fn join(&self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        match self.0.join_multicast_v6(&group, ifindex) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            joined => joined,
        }
    }
}
