//! The socket that asks who has an address.

use std::io;

use landline_dhcp::wire::arp;
use landline_kernel::PacketSocket;
use landline_types::Mac;

use super::dhcp4::LONGEST_ARP;
use super::{Arp, Next, hear, heard};

pub(super) struct Probes(pub(super) PacketSocket);

impl Arp for Probes {
    fn send(&self, packet: &arp::Packet) -> io::Result<()> {
        self.0.send(Mac::BROADCAST, &packet.emit())
    }

    fn receive(&self) -> Next<'_, arp::Heard> {
        Box::pin(async {
            loop {
                let (got, packet) = hear(Some(&self.0), LONGEST_ARP).await?;
                if let Some(heard) = heard(&got, &packet).filter(|_| !got.own) {
                    return Ok(heard);
                }
            }
        })
    }
}
