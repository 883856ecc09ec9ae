//! Unicast datagrams from a DHCP client's port through the IP stack.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::filter;
use crate::netns::Netns;
use crate::sys;

/// A UDP socket that only sends, from one address and port on one link.
///
/// Datagrams take the namespace's routes and neighbours, as a renewal to a server behind a router must (RFC
/// 2131 section 4.3.2). While the socket is open the stack does not answer datagrams to its port with "port
/// unreachable"; the answers are read from a [`PacketSocket`](super::PacketSocket) instead, and a filter keeps
/// them from piling up here.
#[derive(Debug)]
pub struct UnicastSocket(Socket);

impl UnicastSocket {
    /// A socket bound to this source address and port, and to the link with this index, in the given
    /// namespace or the calling thread's. The address must be on the host (`AddrNotAvailable` otherwise); the
    /// port may be shared with other sockets that allow it.
    pub fn open(ns: Option<&Netns>, ifindex: u32, source: SocketAddrV4) -> io::Result<Self> {
        Self::open_as(ns, ifindex, source, Source::Own)
    }

    /// The same for an address that may be another machine's, which the namespace routes for (`IP_TRANSPARENT`, ip(7)).
    pub fn open_on_behalf(ns: Option<&Netns>, ifindex: u32, source: SocketAddrV4) -> io::Result<Self> {
        Self::open_as(ns, ifindex, source, Source::Foreign)
    }

    fn open_as(ns: Option<&Netns>, ifindex: u32, source: SocketAddrV4, whose: Source) -> io::Result<Self> {
        let open = || bound_socket(ifindex, source, whose);
        match ns {
            Some(ns) => ns.run(open)?,
            None => open(),
        }
        .map(Self)
    }

    /// Sends one datagram. Never waits: fails with `WouldBlock` when there is no room for it, and with the
    /// stack's own errors when there is no way to the destination.
    pub fn send_to(&self, destination: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        self.0.send_to(payload, &SocketAddr::from(destination).into()).map(drop)
    }
}

/// Whose a source address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Own,
    Foreign,
}

fn bound_socket(ifindex: u32, source: SocketAddrV4, whose: Source) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::IPV4, kind, Some(Protocol::UDP))?;
    socket.attach_filter(&filter::deaf())?;
    socket.set_reuse_address(true)?;
    let ifindex = i32::try_from(ifindex).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, ifindex)?;
    if whose == Source::Foreign {
        sys::set_option(socket.as_fd(), libc::SOL_IP, libc::IP_TRANSPARENT, 1)?;
    }
    socket.bind(&SocketAddr::from(source).into())?;
    Ok(socket)
}
