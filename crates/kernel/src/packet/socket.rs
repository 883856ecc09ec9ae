//! Packet sockets: DHCP, ARP and neighbour discovery on a link that has no address yet (`packet(7)`).

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use landline_types::Mac;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use super::budget::Budget;
use super::closing::ClosedElsewhere;
use super::filter;
use crate::netns::Netns;
use crate::sys::{self, Frames, LinkAddr};

/// A socket that receives one kind of packet on one link and sends such packets, whatever the IP stack thinks.
///
/// It stays in the namespace it was made in. When the link goes down, is deleted or moves away, receiving
/// fails once with `ENETDOWN`; after a move the socket hears nothing any more.
///
/// It reads so many packets a second and no more; the kernel drops what comes beyond that.
#[derive(Debug)]
pub struct PacketSocket {
    fd: ClosedElsewhere,
    budget: Budget,
    protocol: u16,
    ifindex: u32,
}

/// `include/uapi/linux/if_packet.h`.
const PACKET_IGNORE_OUTGOING: i32 = 23;
/// How many packets a second are read: more than a client on a busy link hears while it asks for something.
const PACKETS: u32 = 256;
/// How many Router Advertisements: more than a LAN has routers.
const ADVERTISEMENTS: u32 = 16;

/// What [`PacketSocket::recv`] says about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its length: the packet is in the first so many bytes of the buffer.
    pub len: usize,
    /// The hardware address in its frame; all zero on links without such addresses.
    pub source_mac: Mac,
    /// Whether the transport checksum is not to be verified: the kernel knows it to be good, or it was left to
    /// hardware and never filled in, as on packets that never left this machine (`TP_STATUS_CSUM_VALID`,
    /// `TP_STATUS_CSUMNOTREADY`).
    pub checksum_valid_or_unknown: bool,
    /// Whether this host sent it (`PACKET_OUTGOING`).
    pub own: bool,
    /// Whether its frame was for all stations (`PACKET_BROADCAST`).
    pub to_all: bool,
}

impl PacketSocket {
    /// A socket for DHCP clients: receives unfragmented IPv4 UDP packets to port 68 that are for this station,
    /// from the IP header on, and sends IPv4 packets.
    ///
    /// The link is the one with this index in the given namespace, or in the calling thread's. Must be called
    /// within a tokio runtime.
    pub fn dhcp4(ns: Option<&Netns>, ifindex: u32) -> io::Result<Self> {
        Self::open(ns, ifindex, PACKETS, libc::ETH_P_IP, filter::dhcp4())
    }

    /// A socket for ARP: receives ARP packets for IPv4 on Ethernet that are for this station or for all, and
    /// sends ARP packets. Otherwise as [`Self::dhcp4`].
    pub fn arp(ns: Option<&Netns>, ifindex: u32) -> io::Result<Self> {
        Self::open(ns, ifindex, PACKETS, libc::ETH_P_ARP, filter::arp())
    }

    /// A socket that receives nothing but ARP packets in which somebody else claims an address (see
    /// [`Self::watch_claims`]). Otherwise as [`Self::arp`].
    pub fn claims(ns: Option<&Netns>, ifindex: u32) -> io::Result<Self> {
        Self::open(ns, ifindex, PACKETS, libc::ETH_P_ARP, filter::claims(&[]))
    }

    /// Has the socket receive ARP packets whose sender has one of these addresses and none of the hardware addresses: the
    /// kernel drops all others. Of more than 256 the last are not watched.
    pub fn watch_claims(&self, own: &[(Ipv4Addr, Mac)]) -> io::Result<()> {
        self.budget.filter(self.fd.get_ref(), filter::claims(own))
    }

    /// A socket that receives nothing but ARP packets from hardware addresses that this host's containers have (see
    /// [`Self::watch_stations`]). What this host sends over the link is not among them. A bridge takes what its
    /// ports receive; this hears it before. Otherwise as [`Self::arp`].
    pub fn stations(ns: Option<&Netns>, ifindex: u32) -> io::Result<Self> {
        let socket = Self::open(ns, ifindex, PACKETS, libc::ETH_P_ALL, filter::stations(&[]))?;
        // So that the kernel makes no copy of what it sends for the filter to drop. Before Linux 4.20 it does.
        let _ = sys::set_option(socket.fd.get_ref().as_fd(), libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
        Ok(socket)
    }

    /// Has the socket receive ARP packets from these hardware addresses, by their last four octets: the kernel drops all others. Of more
    /// than 256 the last are not watched.
    pub fn watch_stations(&self, own: &[Mac]) -> io::Result<()> {
        self.budget.filter(self.fd.get_ref(), filter::stations(own))
    }

    /// A socket for an IPv6 client: receives router and neighbour discovery and UDP packets to port 546 (`DHCPv6`),
    /// for whatever groups, from the IPv6 header on, and sends IPv6 packets. Otherwise as [`Self::dhcp4`].
    ///
    /// While it is open the link takes all multicast frames (`PACKET_MR_ALLMULTI`): what asks for an address that the
    /// stack does not have goes to a group that it has not joined.
    pub fn ipv6(ns: Option<&Netns>, ifindex: u32) -> io::Result<Self> {
        let socket = Self::open(ns, ifindex, PACKETS, libc::ETH_P_IPV6, filter::ipv6())?;
        sys::take_multicast(socket.fd.get_ref().as_fd(), ifindex, Frames::All)?;
        Ok(socket)
    }

    /// Has a socket of [`Self::ipv6`] receive no Router Advertisements any more.
    pub fn leave_out_routers(&self) -> io::Result<()> {
        self.budget.filter(self.fd.get_ref(), filter::ipv6_but_routers())
    }

    /// A socket that receives Router Advertisements to all nodes or to this station, from the IPv6 header on.
    /// Otherwise as [`Self::dhcp4`].
    pub fn router_advertisements(ns: Option<&Netns>, ifindex: u32) -> io::Result<Self> {
        /// All nodes (RFC 4291 section 2.7.1) on Ethernet. A stack without IPv6 has not joined it.
        const ALL_NODES: Mac = Mac::new([0x33, 0x33, 0, 0, 0, 1]);
        let socket =
            Self::open(ns, ifindex, ADVERTISEMENTS, libc::ETH_P_IPV6, filter::router_advertisements())?;
        sys::take_multicast(socket.fd.get_ref().as_fd(), ifindex, Frames::Group(ALL_NODES))?;
        Ok(socket)
    }

    fn open(
        ns: Option<&Netns>,
        ifindex: u32,
        most: u32,
        protocol: i32,
        filter: Vec<SockFilter>,
    ) -> io::Result<Self> {
        let protocol = u16::try_from(protocol).map_err(io::Error::other)?;
        let open = || bound_socket(ifindex, protocol, &filter);
        let fd = match ns {
            Some(ns) => ns.run(open)??,
            None => open()?,
        };
        let fd = ClosedElsewhere::register(fd.into())?;
        Ok(Self { fd, budget: Budget::new(most, filter), protocol, ifindex })
    }

    /// Waits for the next packet and copies it into the buffer. Cancel safe. Packets longer than the buffer
    /// are dropped: half a packet means nothing.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            self.budget.rest(self.fd.get_ref()).await?;
            let received = self.fd.async_io(sys::READABLE, |fd| receive(fd, buffer)).await?;
            self.budget.spend(self.fd.get_ref())?;
            if let Some(received) = received {
                return Ok(received);
            }
        }
    }

    /// Sends a packet, from its network header on, in a frame to this station. Never waits: fails with
    /// `WouldBlock` or `ENOBUFS` when the link's queue is full, and with `ENETDOWN` when it is down.
    pub fn send(&self, to: Mac, packet: &[u8]) -> io::Result<()> {
        let address =
            LinkAddr { protocol: self.protocol, ifindex: self.ifindex, packet_type: 0, mac: Some(to) };
        SockRef::from(self.fd.get_ref()).send_to(packet, &address.to_socket()?).map(drop)
    }
}

fn bound_socket(ifindex: u32, protocol: u16, filter: &[SockFilter]) -> io::Result<Socket> {
    if ifindex == 0 {
        // To the kernel this means every link.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Protocol 0 keeps the socket deaf until it is bound, so that no packet slips past the filter.
    let deaf = Some(Protocol::from(0));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), deaf)?;
    socket.attach_filter(filter)?;
    sys::set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    let address = LinkAddr { protocol, ifindex, packet_type: 0, mac: None };
    socket.bind(&address.to_socket()?)?;
    Ok(socket)
}

/// Reads one packet; `None` if it did not fit.
fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    let packet = sys::receive_packet(fd.as_fd(), buffer)?;
    if packet.truncated {
        tracing::debug!(ifindex = packet.from.ifindex, "packet longer than the buffer dropped");
        return Ok(None);
    }
    let trusted = libc::TP_STATUS_CSUM_VALID | libc::TP_STATUS_CSUMNOTREADY;
    Ok(Some(Received {
        len: packet.len,
        source_mac: packet.from.mac.unwrap_or(Mac::new([0; 6])),
        checksum_valid_or_unknown: packet.status.is_some_and(|status| status & trusted != 0),
        own: packet.from.packet_type == libc::PACKET_OUTGOING,
        to_all: packet.from.packet_type == libc::PACKET_BROADCAST,
    }))
}
