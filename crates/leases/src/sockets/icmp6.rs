//! The kernel's socket of a client for IPv6, opened where its link is.

use std::io;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use landline_dhcp::v6::Transmit;
use landline_kernel::{Groups, Link, LinkKind, PacketSocket};
use landline_links::Sandbox;
use landline_links::mark::Mark;

use super::dhcp4::index_of;
use super::{Icmp6, Location, Next, Packet6, check_of, hear, link_on_host};

/// The longest packet that is read, from the IPv6 header on: an advertisement is no longer than the least MTU.
pub(super) const LONGEST: usize = 2048;

/// How many advertisements a socket of an endpoint's own takes. More are left to the one that listens for all endpoints.
const ADVERTISEMENTS: u32 = 8;

/// The socket of one exchange.
pub(super) struct Icmp6Socket {
    /// How many advertisements it has heard.
    advertisements: AtomicU32,
    own: PacketSocket,
    index: u32,
    /// Of the addresses that were asked for.
    groups: Groups,
    /// On the parent of an ipvlan, which hears what is for an address that no child has yet.
    above: Option<PacketSocket>,
    /// What routers say to all is heard elsewhere, too.
    listener: bool,
}

impl Icmp6Socket {
    pub(super) fn open(place: &Location, mark: &Mark, listener: bool) -> io::Result<Self> {
        let (netns, link) = match place {
            Location::Host(index) => (None, link_on_host(*index)?),
            Location::Sandbox(path) => {
                let gone = || io::Error::new(io::ErrorKind::NotFound, "the sandbox or its link is gone");
                let sandbox = Sandbox::enter(path, mark).map_err(io::Error::other)?.ok_or_else(gone)?;
                (Some(sandbox.netns), sandbox.link)
            }
            Location::Parent(parent) => (None, link_on_host(index_of(parent)?)?),
        };
        Ok(Self {
            advertisements: AtomicU32::new(0),
            own: PacketSocket::ipv6(netns.as_ref(), link.index)?,
            index: link.index,
            groups: Groups::open(netns.as_ref())?,
            above: above(&link)?,
            listener,
        })
    }

    async fn next(&self) -> io::Result<Packet6> {
        loop {
            let (got, packet) = tokio::select! {
                r = hear(Some(&self.own), LONGEST) => r?,
                r = hear(self.above.as_ref(), LONGEST) => r?,
            };
            if !got.own {
                if self.listener && is_advertisement(&packet) {
                    self.heard_router()?;
                }
                return Ok(Packet6 { frame_source: got.source_mac, check: check_of(&got), packet });
            }
        }
    }

    /// Leaves advertisements out after so many: anybody can send them, and each would be read by every endpoint.
    fn heard_router(&self) -> io::Result<()> {
        if self.advertisements.fetch_add(1, Ordering::Relaxed) + 1 == ADVERTISEMENTS {
            for socket in [Some(&self.own), self.above.as_ref()].into_iter().flatten() {
                socket.leave_out_routers()?;
            }
        }
        Ok(())
    }
}

impl Icmp6 for Icmp6Socket {
    fn send(&self, transmit: &Transmit) -> io::Result<()> {
        if let Transmit::Icmp { src: Ipv6Addr::UNSPECIFIED, dst, .. } = transmit
            && is_solicited_node(*dst)
            && let Err(error) = self.groups.join(self.index, *dst)
        {
            // Switches that go by memberships may keep answers from it.
            tracing::debug!(%error, group = %dst, "a group was not joined");
        }
        self.own.send(transmit.link_destination(), &transmit.to_packet())
    }

    fn receive(&self) -> Next<'_, Packet6> {
        Box::pin(self.next())
    }
}

/// Whether the packet, from the IPv6 header on, is a Router Advertisement.
fn is_advertisement(packet: &[u8]) -> bool {
    (packet.get(6), packet.get(40)) == (Some(&58), Some(&134))
}

/// Whether the group is that of an address, which is joined before the address is probed (RFC 4862 section 5.4.2).
fn is_solicited_node(group: Ipv6Addr) -> bool {
    matches!(group.segments(), [0xff02, 0, 0, 0, 0, 1, high, _] if high >> 8 == 0xff)
}

fn above(link: &Link) -> io::Result<Option<PacketSocket>> {
    match link {
        Link { kind: LinkKind::Ipvlan { .. }, parent: Some(parent), .. } => {
            PacketSocket::ipv6(None, *parent).map(Some)
        }
        _ => Ok(None),
    }
}
