//! The machine's sockets, opened where the link is.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use landline_dhcp::Random;
use landline_dhcp::v4::{Client, Lease, Transmit};
use landline_dhcp::wire::{arp, udp};
use landline_kernel::{Link, LinkKind, Netlink, Netns, PacketSocket, UnicastSocket};
use landline_links::Sandbox;
use landline_links::mark::Mark;
use landline_types::Mac;

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// The longest DHCP packet and the longest ARP packet that are read.
const LONGEST: usize = 2048;
const LONGEST_ARP: usize = 128;

/// Where an endpoint's link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the host's namespace, with this index: Docker has not moved it yet.
    Host(u32),
    /// In the sandbox this path names.
    Sandbox(std::path::PathBuf),
}

/// The sockets of one exchange.
pub struct DhcpSockets {
    dhcp: PacketSocket,
    arp: PacketSocket,
    /// Where more is heard.
    above: Option<Above>,
    /// Sends renewals through the sandbox's own IP stack; its address must be on the link.
    unicast: Option<(SocketAddrV4, UnicastSocket)>,
    /// The sandbox, while the sockets are open (they hold its namespace anyway).
    inside: Option<(Netns, u32)>,
}

/// What came in.
pub enum Received {
    /// A DHCP message.
    Datagram {
        /// Who sent it.
        from: SocketAddrV4,
        /// What it carries.
        payload: Vec<u8>,
    },
    /// An ARP packet.
    Arp(arp::Heard),
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

/// The link with this index in the host's namespace.
pub fn link_on_host(index: u32) -> io::Result<Link> {
    let found = Netlink::open()?.link_by_index(index).map_err(io::Error::other)?;
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the link is gone"))
}

impl DhcpSockets {
    /// Opens the sockets; blocks for a short time.
    pub fn open(place: &Location, mark: &Mark) -> io::Result<Self> {
        match place {
            Location::Host(index) => Self::open_on_host(*index),
            Location::Sandbox(path) => Self::open_inside(path, mark),
        }
    }

    fn open_on_host(index: u32) -> io::Result<Self> {
        Ok(Self {
            dhcp: PacketSocket::dhcp4(None, index)?,
            arp: PacketSocket::arp(None, index)?,
            above: Above::open(&link_on_host(index)?)?,
            unicast: None,
            inside: None,
        })
    }

    /// Opens them for an address that is in use on this link of the host's own.
    pub fn open_here(index: u32) -> io::Result<Self> {
        let mut wire = Self::open_on_host(index)?;
        wire.inside = Some((Netns::current()?, index));
        Ok(wire)
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
        })
    }

    /// Sends one packet of the machine.
    pub fn send(&mut self, transmit: &Transmit) -> io::Result<()> {
        match transmit {
            Transmit::Arp(packet) => self.arp.send(Mac::BROADCAST, &packet.emit()),
            Transmit::Dhcp { src, dst, payload } if *dst == Ipv4Addr::BROADCAST => {
                self.broadcast(*src, *dst, payload)
            }
            Transmit::Dhcp { src, dst, payload } => self.unicast(*src, *dst, payload),
        }
    }

    fn broadcast(&self, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        self.past_the_kernel(Mac::BROADCAST, src, dst, payload)
    }

    fn past_the_kernel(&self, to: Mac, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        let (from, server) = (SocketAddrV4::new(src, CLIENT_PORT), SocketAddrV4::new(dst, SERVER_PORT));
        self.dhcp.send(to, &udp::emit(from, server, payload))
    }

    fn unicast(&mut self, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        // On the host's side the link has no address to send from: the datagram goes to everybody on the
        // segment, and only the server takes it.
        let Some((netns, index)) = &self.inside else { return self.broadcast(src, dst, payload) };
        let from = SocketAddrV4::new(src, CLIENT_PORT);
        let socket = match &self.unicast {
            Some((bound, socket)) if *bound == from => socket,
            _ => {
                let socket = UnicastSocket::open(Some(netns), *index, from)?;
                &self.unicast.insert((from, socket)).1
            }
        };
        socket.send_to(SocketAddrV4::new(dst, SERVER_PORT), payload)
    }

    /// Sends what a client that was told to release its lease (`None`: an offer) has to say, and returns when that has
    /// left this host: the link may be removed then.
    pub async fn send_release<R: Random>(&mut self, client: &mut Client<R>, own: Mac, lease: Option<&Lease>) {
        while let Some(transmit) = client.poll_transmit() {
            let Transmit::Dhcp { src, dst, payload } = &transmit else { continue };
            let hop = lease.map_or(*dst, |lease| lease.next_hop(*dst));
            // On the host's side the kernel has no address to ask from. Who does not answer gets it in a frame to all.
            let to = match &self.inside {
                None => self.locate(own, hop).await,
                Some(_) => None,
            };
            // Nobody acknowledges a release. Without an answer to what follows it, it may be lost as well.
            for _ in 0..2 {
                let sent = match to {
                    Some(to) => self.past_the_kernel(to, *src, *dst, payload),
                    None => self.send(&transmit),
                };
                if let Err(error) = sent {
                    tracing::debug!(%error, "not sent");
                } else if self.locate(own, hop).await.is_some() {
                    break;
                }
            }
        }
    }

    /// The hardware address of a neighbour, by an ARP probe (sender 0.0.0.0, RFC 5227 section 1.1). Once it has
    /// answered, or had time to, what was sent before on the same way has left this host. The kernel throws away
    /// what is still queued at a link that is removed.
    async fn locate(&self, own: Mac, neighbour: Ipv4Addr) -> Option<Mac> {
        const ANSWER: Duration = Duration::from_millis(100);
        let probe = arp::Packet::probe(own, neighbour);
        self.arp.send(Mac::BROADCAST, &probe.emit()).ok()?;
        let answered = async {
            loop {
                match self.receive().await {
                    Ok(Received::Arp(heard)) if heard.packet.sender_ip == neighbour => {
                        return Some(heard.packet.sender_mac);
                    }
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(ANSWER, answered).await.ok()?
    }

    /// Waits for the next packet the machine may care about. Cancel-safe.
    pub(crate) async fn receive(&self) -> io::Result<Received> {
        let listening = self.above.as_ref().map_or(&self.arp, |above| &above.arp);
        loop {
            let (got, packet, is_arp) = tokio::select! {
                r = hear(Some(&self.dhcp), LONGEST) => { let (got, packet) = r?; (got, packet, false) }
                // One in a broadcast frame is heard twice; networks do that too.
                r = hear(self.above.as_ref().map(|above| &above.dhcp), LONGEST) => { let (got, packet) = r?; (got, packet, false) }
                r = hear(Some(listening), LONGEST_ARP) => { let (got, packet) = r?; (got, packet, true) }
            };
            if got.own {
                continue;
            }
            if is_arp {
                if let Some(heard) = heard(&got, &packet) {
                    return Ok(Received::Arp(heard));
                }
                continue;
            }
            let check = if got.checksum_valid_or_unknown { udp::Check::Skip } else { udp::Check::Verify };
            if let Some(datagram) = udp::parse(&packet, check) {
                return Ok(Received::Datagram { from: datagram.src, payload: datagram.payload.to_vec() });
            }
        }
    }
}

/// An ARP packet that came in, if it is one.
pub fn heard(got: &landline_kernel::Received, buffer: &[u8]) -> Option<arp::Heard> {
    let packet = buffer.get(..got.len).and_then(arp::Packet::parse)?;
    Some(arp::Heard { packet, frame_source: got.source_mac, to_all: got.to_all })
}

/// Waits for the next packet of at most this length, if there is a socket to listen at. Cancel-safe.
pub(crate) async fn hear(
    socket: Option<&PacketSocket>,
    longest: usize,
) -> io::Result<(landline_kernel::Received, Vec<u8>)> {
    let Some(socket) = socket else { return std::future::pending().await };
    // On the heap: this is part of every endpoint's task.
    let mut packet = vec![0; longest];
    let got = socket.recv(&mut packet).await?;
    packet.truncate(got.len);
    Ok((got, packet))
}
