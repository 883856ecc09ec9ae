//! Looking for another user of a static address before it is used (RFC 5227), and saying afterwards who has it.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use landline_dhcp::wire::arp;
use landline_kernel::{Link, LinkKind, Netns, PacketSocket};
use landline_spec::ConflictCheck;
use landline_types::Mac;
use tokio::time::Instant;

/// When probes are sent and how long answers are waited for. The long one is that of RFC 5227 section 1.1 without its
/// random parts; the short one is enough for whoever is there to answer on a LAN.
struct Timing {
    probes: u32,
    gap: Duration,
    last: Duration,
}

const FAST: Timing = Timing { probes: 3, gap: Duration::from_millis(20), last: Duration::from_millis(40) };
const FULL: Timing = Timing { probes: 3, gap: Duration::from_millis(1500), last: Duration::from_secs(2) };

/// Who on the LAN has one of these addresses. The link, in the host's namespace, has `mac`.
pub(crate) async fn look(
    link: &Link,
    mac: Mac,
    addresses: &[Ipv4Addr],
    check: ConflictCheck,
) -> io::Result<Option<(Ipv4Addr, Mac)>> {
    let timing = match check {
        ConflictCheck::Off => return Ok(None),
        ConflictCheck::Fast => FAST,
        ConflictCheck::Wait => FULL,
    };
    // A child of an ipvlan parent hears no answer to a probe: it goes to the parent.
    let heard_at = match link {
        Link { kind: LinkKind::Ipvlan { .. }, parent: Some(parent), .. } => *parent,
        link => link.index,
    };
    let socket = PacketSocket::arp(None, heard_at)?;
    let mut buffer = [0; 128];
    for sent in 1..=timing.probes {
        for address in addresses {
            socket.send(Mac::BROADCAST, &arp::Packet::probe(mac, *address).emit())?;
        }
        let until = Instant::now() + if sent < timing.probes { timing.gap } else { timing.last };
        while let Ok(got) = tokio::time::timeout_at(until, socket.recv(&mut buffer)).await {
            let got = got?;
            let packet =
                arp::Packet::parse(&buffer[..got.len]).filter(|packet| !got.own && packet.sender_mac != mac);
            let Some(packet) = packet else { continue };
            let claimed = addresses.iter().find(|address| {
                let probed = packet.sender_ip.is_unspecified() && packet.target_ip == **address;
                packet.sender_ip == **address || probed
            });
            if let Some(address) = claimed {
                return Ok(Some((*address, packet.sender_mac)));
            }
        }
    }
    Ok(None)
}

/// Announces the addresses over the link where it is now (RFC 5227 section 2.3), once: neighbours that remember another
/// owner learn of the new one.
pub(crate) fn announce(netns: &Netns, index: u32, mac: Mac, addresses: &[Ipv4Addr]) -> io::Result<()> {
    let socket = PacketSocket::arp(Some(netns), index)?;
    addresses
        .iter()
        .try_for_each(|address| socket.send(Mac::BROADCAST, &arp::Packet::announcement(mac, *address).emit()))
}
