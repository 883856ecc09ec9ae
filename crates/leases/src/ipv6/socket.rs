//! The machine's socket, opened where the link is.

use std::io;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use landline_dhcp::v6::Transmit;
use landline_dhcp::wire::udp::Check;
use landline_kernel::{Groups, Link, LinkKind, PacketSocket};
use landline_links::Sandbox;
use landline_links::mark::Mark;
use landline_types::Mac;

use super::ra_listeners::check_of;
use crate::lease::{Location, hear, link_on_host};

/// The longest packet that is read, from the IPv6 header on: an advertisement is no longer than the least MTU.
pub(super) const LONGEST: usize = 2048;

/// How many advertisements a socket of an endpoint's own takes. More are left to the one that listens for all endpoints.
const ADVERTISEMENTS: u32 = 8;

/// A packet that came in, from its IPv6 header on.
pub(crate) struct Heard {
    /// The source of its frame.
    pub(super) frame_source: Mac,
    pub(super) packet: Vec<u8>,
    pub(super) check: Check,
}

/// The socket of one exchange.
pub(crate) struct Icmp6Socket {
    /// How many advertisements it has heard.
    advertisements: AtomicU32,
    own: PacketSocket,
    index: u32,
    /// Of the addresses that were asked for.
    groups: Groups,
    /// On the parent of an ipvlan, which hears what is for an address that no child has yet.
    above: Option<PacketSocket>,
    /// What routers say to all is heard elsewhere, too.
    ears: bool,
}

impl Icmp6Socket {
    /// Opens the socket; blocks for a short time. `ears`: what routers say to all is heard elsewhere, too.
    pub(crate) fn open(place: &Location, mark: &Mark, ears: bool) -> io::Result<Self> {
        let (netns, link) = match place {
            Location::Host(index) => (None, link_on_host(*index)?),
            Location::Sandbox(path) => {
                let gone = || io::Error::new(io::ErrorKind::NotFound, "the sandbox or its link is gone");
                let sandbox = Sandbox::enter(path, mark).map_err(io::Error::other)?.ok_or_else(gone)?;
                (Some(sandbox.netns), sandbox.link)
            }
        };
        Ok(Self {
            advertisements: AtomicU32::new(0),
            own: PacketSocket::ipv6(netns.as_ref(), link.index)?,
            index: link.index,
            groups: Groups::open(netns.as_ref())?,
            above: above(&link)?,
            ears,
        })
    }

    /// Sends one packet of the machine.
    pub(crate) fn send(&self, transmit: &Transmit) -> io::Result<()> {
        if let Transmit::Icmp { src: Ipv6Addr::UNSPECIFIED, dst, .. } = transmit
            && is_solicited_node(*dst)
            && let Err(error) = self.groups.join(self.index, *dst)
        {
            // Switches that go by memberships may keep answers from it.
            tracing::debug!(%error, group = %dst, "a group was not joined");
        }
        self.own.send(transmit.link_destination(), &transmit.to_packet())
    }

    /// Waits for the next packet the machine may care about. Cancel-safe.
    pub(crate) async fn receive(&self) -> io::Result<Heard> {
        loop {
            let (got, packet) = tokio::select! {
                r = hear(Some(&self.own), LONGEST) => r?,
                r = hear(self.above.as_ref(), LONGEST) => r?,
            };
            if !got.own {
                if self.ears && is_advertisement(&packet) {
                    self.heard_router()?;
                }
                return Ok(Heard { frame_source: got.source_mac, check: check_of(&got), packet });
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
