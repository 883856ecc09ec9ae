//! Announcing addresses over a link where it is now: neighbours that remember another owner learn of the new one.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use landline_dhcp::v6::Transmit;
use landline_dhcp::wire::arp;
use landline_dhcp::wire::icmpv6::Message;
use landline_dhcp::wire::ipv6::{ALL_NODES, multicast_mac};
use landline_kernel::{Netns, PacketSocket};
use landline_types::Mac;

/// Announces the addresses over the link with this index and hardware address, once (RFC 5227 section 2.3; RFC 4861 section
/// 7.2.6).
///
/// # Errors
/// A socket cannot be opened, or the link takes no packets.
pub fn announce(
    netns: &Netns,
    index: u32,
    mac: Mac,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> io::Result<()> {
    addresses.into_iter().try_for_each(|address| match address {
        IpAddr::V4(address) => {
            let announcement = arp::Packet::announcement(mac, address).emit();
            PacketSocket::arp(Some(netns), index)?.send(Mac::BROADCAST, &announcement)
        }
        IpAddr::V6(address) => advertise(netns, index, mac, address),
    })
}

/// An unsolicited Neighbour Advertisement.
fn advertise(netns: &Netns, index: u32, mac: Mac, target: Ipv6Addr) -> io::Result<()> {
    let message = Message::NeighbourAdvertisement {
        target,
        target_mac: Some(mac),
        router: false,
        solicited: false,
        overrides: true,
    };
    let payload = message.emit(target, ALL_NODES);
    let transmit = Transmit::Icmp { to: multicast_mac(ALL_NODES), src: target, dst: ALL_NODES, payload };
    PacketSocket::ipv6(Some(netns), index)?.send(transmit.link_destination(), &transmit.to_packet())
}
