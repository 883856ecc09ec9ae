//! Sockets on the parent of links, in the host's namespace.

use std::io;
use std::net::Ipv4Addr;

use landline_dhcp::wire::arp;
use landline_kernel::{Netlink, PacketSocket};
use landline_types::{IfName, Mac};

use super::icmp6::LONGEST;
use super::{Advertisement, Advertisements, Claims, Next, Stations, check_of, hear, heard};

/// ARP packets that a filter chooses.
pub(super) struct Watcher(pub(super) PacketSocket);

impl Claims for Watcher {
    fn watch(&self, own: &[(Ipv4Addr, Mac)]) -> io::Result<()> {
        self.0.watch_claims(own)
    }

    fn receive(&self) -> Next<'_, arp::Packet> {
        Box::pin(async { Ok(self.next().await?.packet) })
    }
}

impl Stations for Watcher {
    fn watch(&self, own: &[Mac]) -> io::Result<()> {
        self.0.watch_stations(own)
    }

    fn receive(&self) -> Next<'_, arp::Heard> {
        Box::pin(self.next())
    }
}

impl Watcher {
    async fn next(&self) -> io::Result<arp::Heard> {
        let mut buffer = [0; 128];
        loop {
            let got = self.0.recv(&mut buffer).await?;
            if let Some(heard) = heard(&got, &buffer) {
                return Ok(heard);
            }
        }
    }
}

/// Router advertisements.
pub(super) struct Routers(pub(super) PacketSocket);

impl Advertisements for Routers {
    fn receive(&self) -> Next<'_, Advertisement> {
        Box::pin(async {
            let (got, packet) = hear(Some(&self.0), LONGEST).await?;
            let (check, frame_source, own) = (check_of(&got), got.source_mac, got.own);
            Ok(Advertisement { frame_source, packet: packet.into(), check, own })
        })
    }
}

/// The parent's index, if it is there.
pub(super) fn index(name: &IfName) -> io::Result<u32> {
    let link = Netlink::open()?.link_by_name(name).map_err(io::Error::other)?;
    Ok(link.ok_or(io::ErrorKind::NotFound)?.index)
}
