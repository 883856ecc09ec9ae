//! The kernel's sockets of a DHCP client, opened where its link is.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use landline_dhcp::v4::Transmit;
use landline_dhcp::wire::udp;
use landline_kernel::{Link, LinkKind, Netns, PacketSocket, UnicastSocket};
use landline_links::Sandbox;
use landline_links::mark::Mark;
use landline_types::{IfName, Mac};

use super::{Dhcp4, Location, Next, Received, check_of, hear, heard, link_on_host};

/// The parent's index. That it is missing says nothing of the sandbox.
pub(super) fn index_of(parent: &IfName) -> io::Result<u32> {
    super::parent::index(parent).map_err(io::Error::other)
}

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// The longest DHCP packet and the longest ARP packet that are read.
const LONGEST: usize = 2048;
pub(super) const LONGEST_ARP: usize = 128;

/// The sockets of one exchange.
pub(super) struct DhcpSockets {
    dhcp: PacketSocket,
    arp: PacketSocket,
    /// Where more is heard.
    above: Option<Above>,
    /// Sends renewals through the sandbox's own IP stack; its address must be on the link.
    unicast: Option<(SocketAddrV4, UnicastSocket)>,
    /// The sandbox, while the sockets are open (they hold its namespace anyway).
    inside: Option<(Netns, u32)>,
    /// Renewals leave from an address that is not of the namespace's own.
    foreign: bool,
}

/// Sockets on the parent of an ipvlan, which shares its hardware address with its children. The kernel hands a packet to
/// the child that has its target address, and what is for none of them to the parent: the answer to an ARP probe (RFC
/// 5227 section 1.1: the probe's sender is 0.0.0.0), and a broadcast offer in a frame to that hardware address, as Kea
/// sends it. The parent is in our own namespace wherever the child is.
struct Above {
    dhcp: PacketSocket,
    /// Hears all that `DhcpSockets::arp` does, except for what other children say; that needs not be heard, as the kernel
    /// gives an address to one child only.
    arp: PacketSocket,
}

impl Above {
    fn open(link: &Link) -> io::Result<Option<Self>> {
        match link {
            Link { kind: LinkKind::Ipvlan { .. }, parent: Some(parent), .. } => Ok(Some(Self {
                dhcp: PacketSocket::dhcp4(None, *parent)?,
                arp: PacketSocket::arp(None, *parent)?,
            })),
            _ => Ok(None),
        }
    }
}

impl DhcpSockets {
    pub(super) fn open(place: &Location, mark: &Mark) -> io::Result<Self> {
        match place {
            Location::Host(index) => Self::open_on_host(*index),
            Location::Sandbox(path) => Self::open_inside(path, mark),
            Location::Parent(parent) => Self::open_for_routed(index_of(parent)?),
        }
    }

    fn open_on_host(index: u32) -> io::Result<Self> {
        Ok(Self {
            dhcp: PacketSocket::dhcp4(None, index)?,
            arp: PacketSocket::arp(None, index)?,
            above: Above::open(&link_on_host(index)?)?,
            unicast: None,
            inside: None,
            foreign: false,
        })
    }

    /// Opens them for an address that is in use on this link of the host's own.
    pub(super) fn open_here(index: u32) -> io::Result<Self> {
        let mut wire = Self::open_on_host(index)?;
        wire.inside = Some((Netns::current()?, index));
        Ok(wire)
    }

    /// Opens them on the parent of a link that the host routes to. Renewals leave from the container's address, which is not the host's.
    fn open_for_routed(index: u32) -> io::Result<Self> {
        Ok(Self { foreign: true, ..Self::open_here(index)? })
    }

    fn open_inside(path: &Path, mark: &Mark) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the sandbox or its link is gone");
        let sandbox = Sandbox::enter(path, mark).map_err(io::Error::other)?.ok_or_else(gone)?;
        let index = sandbox.link.index;
        Ok(Self {
            dhcp: PacketSocket::dhcp4(Some(&sandbox.netns), index)?,
            arp: PacketSocket::arp(Some(&sandbox.netns), index)?,
            above: Above::open(&sandbox.link)?,
            unicast: None,
            inside: Some((sandbox.netns, index)),
            foreign: false,
        })
    }

    /// The datagram goes to everybody on the segment, and only the server takes it.
    fn broadcast(&self, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        self.send_to(Mac::BROADCAST, src, dst, payload)
    }

    fn unicast(&mut self, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        // On the host's side the link has no address to send from.
        let Some((netns, index)) = &self.inside else { return self.broadcast(src, dst, payload) };
        let from = SocketAddrV4::new(src, CLIENT_PORT);
        let socket = match &self.unicast {
            Some((bound, socket)) if *bound == from => socket,
            _ => {
                let open = if self.foreign { UnicastSocket::open_on_behalf } else { UnicastSocket::open };
                let socket = open(Some(netns), *index, from)?;
                &self.unicast.insert((from, socket)).1
            }
        };
        socket.send_to(SocketAddrV4::new(dst, SERVER_PORT), payload)
    }

    async fn next(&self) -> io::Result<Received> {
        let listening = self.above.as_ref().map_or(&self.arp, |above| &above.arp);
        loop {
            let (is_arp, (got, packet)) = tokio::select! {
                r = hear(Some(&self.dhcp), LONGEST) => (false, r?),
                // One in a broadcast frame is heard twice; networks do that too.
                r = hear(self.above.as_ref().map(|above| &above.dhcp), LONGEST) => (false, r?),
                r = hear(Some(listening), LONGEST_ARP) => (true, r?),
            };
            if got.own {
                continue;
            }
            if is_arp {
                if let Some(heard) = heard(&got, &packet) {
                    return Ok(Received::Arp(heard));
                }
            } else if let Some(datagram) = udp::parse(&packet, check_of(&got)) {
                return Ok(Received::Datagram { from: datagram.src, payload: datagram.payload.to_vec() });
            }
        }
    }
}

impl Dhcp4 for DhcpSockets {
    fn send(&mut self, transmit: &Transmit) -> io::Result<()> {
        match transmit {
            Transmit::Arp(packet) => self.arp.send(Mac::BROADCAST, &packet.emit()),
            Transmit::Dhcp { src, dst, payload } if *dst == Ipv4Addr::BROADCAST => {
                self.broadcast(*src, *dst, payload)
            }
            Transmit::Dhcp { src, dst, payload } => self.unicast(*src, *dst, payload),
        }
    }

    fn send_to(&self, to: Mac, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        let (from, server) = (SocketAddrV4::new(src, CLIENT_PORT), SocketAddrV4::new(dst, SERVER_PORT));
        self.dhcp.send(to, &udp::emit(from, server, payload))
    }

    fn routes(&self) -> bool {
        self.inside.is_some()
    }

    fn receive(&self) -> Next<'_, Received> {
        Box::pin(self.next())
    }
}
