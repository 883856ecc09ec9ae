//! Whether a machine on the LAN has an address (RFC 5227 section 2.1.1, shortened).

use std::net::Ipv4Addr;
use std::time::Duration;

use landline_dhcp::wire::arp::Packet;
use landline_kernel::PacketSocket;
use landline_types::Mac;

use super::is_of_host;
use crate::sockets::heard;

/// How many probes are sent, one of which a busy machine may miss.
const PROBES: u32 = 3;
/// How long an answer to each is waited for.
const WAIT: Duration = Duration::from_millis(150);

/// Asks on a link; the hardware address of whoever answers.
///
/// # Errors
/// The link cannot be listened on, or is down.
pub async fn user(index: u32, own: Mac, address: Ipv4Addr) -> std::io::Result<Option<Mac>> {
    let socket = PacketSocket::arp(None, index)?;
    let mut buffer = [0; 128];
    for _ in 0..PROBES {
        socket.send(Mac::BROADCAST, &Packet::probe(own, address).emit())?;
        let answer = async {
            loop {
                let received = socket.recv(&mut buffer).await?;
                let Some(heard) = heard(&received, &buffer).filter(|_| !received.own) else { continue };
                if heard.claims(address, own) && !is_of_host(heard.packet.sender_mac).await {
                    return Ok::<_, std::io::Error>(heard.packet.sender_mac);
                }
            }
        };
        if let Ok(user) = tokio::time::timeout(WAIT, answer).await {
            return user.map(Some);
        }
    }
    Ok(None)
}
