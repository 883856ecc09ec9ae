//! The seam between what clients say and the packets that go over a link.
//!
//! [`Sockets`] opens sockets where links are. The kernel's are the ones that count; tests have a LAN of their own
//! (`fake`).

mod counted;
mod dhcp4;
mod icmp6;
mod parent;
mod probes;
mod release;
mod traced;

pub(crate) use counted::Counted;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use landline_dhcp::wire::arp;
use landline_dhcp::wire::udp::Check;
use landline_dhcp::{v4, v6};
use landline_kernel::{Link, LinkKind, Netlink, PacketSocket};
use landline_links::facts_of;
use landline_links::mark::Mark;
use landline_options::NetworkOptions;
use landline_types::{IfName, Mac};

/// Where an endpoint's link is, or what else its packets go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the host's namespace, with this index: Docker has not moved it yet.
    Host(u32),
    /// In the sandbox this path names.
    Sandbox(PathBuf),
    /// Wherever it is, the host speaks for it over this interface: it routes between the link and the LAN.
    Parent(IfName),
}

impl Location {
    /// The interface by which the host speaks for links of networks with these options; `None`: their packets go by the links.
    pub fn on_behalf(options: &NetworkOptions) -> Option<Self> {
        facts_of(options.mode).host_routes().then(|| Self::Parent(options.parent.clone()))
    }
}

/// What is waited for at a socket. Cancel-safe.
pub type Next<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Opens sockets. Each call blocks for a short time.
pub trait Sockets: Send + Sync {
    /// For the exchanges of an endpoint's DHCP client and its conflict checks.
    fn dhcp4(&self, place: &Location, mark: &Mark) -> io::Result<Box<dyn Dhcp4>>;

    /// The same for an address that is in use on this link of the host's own.
    fn dhcp4_here(&self, index: u32) -> io::Result<Box<dyn Dhcp4>>;

    /// For the exchanges of an endpoint with IPv6. `listener`: what routers say to all is heard elsewhere, too.
    fn icmp6(&self, place: &Location, mark: &Mark, listener: bool) -> io::Result<Box<dyn Icmp6>>;

    /// On a link of the host's, for questions about addresses.
    fn arp(&self, index: u32) -> io::Result<Box<dyn Arp>>;

    /// On the parent of links, for claims of their addresses.
    fn claims(&self, parent: &IfName) -> io::Result<Box<dyn Claims>>;

    /// On a link to the LAN, for others with hardware addresses of containers.
    fn stations(&self, link: &IfName) -> io::Result<Box<dyn Stations>>;

    /// On the parent of links, for what routers say to all.
    fn advertisements(&self, parent: &IfName) -> io::Result<Box<dyn Advertisements>>;
}

/// The sockets of a DHCP client.
pub trait Dhcp4: Send + Sync {
    /// Sends one packet of the client.
    fn send(&mut self, transmit: &v4::Transmit) -> io::Result<()>;

    /// Sends a message past the kernel, to one hardware address.
    fn send_to(&self, to: Mac, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> io::Result<()>;

    /// Whether the kernel finds the way to a server: the client's address is on the link.
    fn routes(&self) -> bool;

    /// Waits for the next packet that the client may care about.
    fn receive(&self) -> Next<'_, Received>;
}

/// The socket of a client for IPv6.
pub trait Icmp6: Send + Sync {
    /// Sends one packet of the client.
    fn send(&self, transmit: &v6::Transmit) -> io::Result<()>;

    /// Waits for the next packet that the client may care about.
    fn receive(&self) -> Next<'_, Packet6>;
}

/// Asks who has an address.
pub trait Arp: Send + Sync {
    /// Sends a packet to all.
    fn send(&self, packet: &arp::Packet) -> io::Result<()>;

    /// Waits for the next packet of another machine.
    fn receive(&self) -> Next<'_, arp::Heard>;
}

/// Hears who claims addresses.
pub trait Claims: Send + Sync {
    /// These addresses are used by these hardware addresses; what others say of them is heard.
    fn watch(&self, own: &[(Ipv4Addr, Mac)]) -> io::Result<()>;

    /// Waits for the next claim.
    fn receive(&self) -> Next<'_, arp::Packet>;
}

/// Hears who else has hardware addresses of this host's containers.
pub trait Stations: Send + Sync {
    /// These are listened for.
    fn watch(&self, own: &[Mac]) -> io::Result<()>;

    /// Waits for the next packet from one of them.
    fn receive(&self) -> Next<'_, arp::Heard>;
}

/// Hears router advertisements.
pub trait Advertisements: Send + Sync {
    /// Waits for the next one.
    fn receive(&self) -> Next<'_, Advertisement>;
}

/// What comes in for a DHCP client.
#[derive(Debug, Clone)]
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

/// What comes in for a client of IPv6.
#[derive(Debug, Clone)]
pub struct Packet6 {
    /// The source of its frame.
    pub frame_source: Mac,
    /// The packet, from its IPv6 header on.
    pub packet: Vec<u8>,
    /// Whether its checksum is to be looked at.
    pub check: Check,
}

/// A router advertisement, from the IPv6 header on.
#[derive(Debug, Clone)]
pub struct Advertisement {
    /// The source of its frame.
    pub frame_source: Mac,
    /// The packet.
    pub packet: Arc<[u8]>,
    /// Whether its checksum is to be looked at.
    pub check: Check,
    /// This host sent it.
    pub own: bool,
}

pub(crate) use traced::TracedSockets;

/// The kernel's.
#[derive(Debug, Clone, Copy)]
pub struct LinuxSockets;

impl Sockets for LinuxSockets {
    fn dhcp4(&self, place: &Location, mark: &Mark) -> io::Result<Box<dyn Dhcp4>> {
        Ok(Box::new(dhcp4::DhcpSockets::open(place, mark)?))
    }

    fn dhcp4_here(&self, index: u32) -> io::Result<Box<dyn Dhcp4>> {
        Ok(Box::new(dhcp4::DhcpSockets::open_here(index)?))
    }

    fn icmp6(&self, place: &Location, mark: &Mark, listener: bool) -> io::Result<Box<dyn Icmp6>> {
        Ok(Box::new(icmp6::Icmp6Socket::open(place, mark, listener)?))
    }

    fn arp(&self, index: u32) -> io::Result<Box<dyn Arp>> {
        // A child of an ipvlan parent hears no answer to a probe: it goes to the parent.
        let heard_at = match link_on_host(index)? {
            Link { kind: LinkKind::Ipvlan { .. }, parent: Some(parent), .. } => parent,
            link => link.index,
        };
        Ok(Box::new(probes::Probes(PacketSocket::arp(None, heard_at)?)))
    }

    fn claims(&self, parent: &IfName) -> io::Result<Box<dyn Claims>> {
        Ok(Box::new(parent::Watcher(PacketSocket::claims(None, parent::index(parent)?)?)))
    }

    fn stations(&self, link: &IfName) -> io::Result<Box<dyn Stations>> {
        Ok(Box::new(parent::Watcher(PacketSocket::stations(None, parent::index(link)?)?)))
    }

    fn advertisements(&self, parent: &IfName) -> io::Result<Box<dyn Advertisements>> {
        let socket = PacketSocket::router_advertisements(None, parent::index(parent)?)?;
        Ok(Box::new(parent::Routers(socket)))
    }
}

/// The link with this index in the host's namespace.
pub fn link_on_host(index: u32) -> io::Result<Link> {
    let found = Netlink::open()?.link_by_index(index).map_err(io::Error::other)?;
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the link is gone"))
}

/// An ARP packet that came in, if it is one.
pub fn heard(got: &landline_kernel::Received, buffer: &[u8]) -> Option<arp::Heard> {
    let packet = buffer.get(..got.len).and_then(arp::Packet::parse)?;
    Some(arp::Heard { packet, frame_source: got.source_mac, to_all: got.to_all })
}

/// Whether a packet's checksums are to be looked at.
fn check_of(got: &landline_kernel::Received) -> Check {
    if got.checksum_valid_or_unknown { Check::Skip } else { Check::Verify }
}

/// Waits for the next packet of at most this length, if there is a socket to listen at. Cancel-safe.
async fn hear(
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
