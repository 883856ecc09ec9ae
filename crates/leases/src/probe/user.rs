//! Whether a machine on the LAN has an address (RFC 5227 section 2.1.1, shortened).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::wire::arp::Packet;
use landline_kernel::Link;
use landline_links::mark::End;
use landline_links::{Namespaces, blocking, mark_of};
use landline_types::Mac;

use crate::sockets::Sockets;

/// How many probes are sent, one of which a busy machine may miss.
const PROBES: u32 = 3;
/// How long an answer to each is waited for.
const WAIT: Duration = Duration::from_millis(150);

/// Where questions about addresses are asked, and what is known without asking.
#[derive(Clone)]
pub struct Prober {
    /// Opens the sockets.
    pub sockets: Arc<dyn Sockets>,
    /// Has the host's links.
    pub namespaces: Arc<dyn Namespaces>,
}

impl Prober {
    /// Asks on a link of the host's, which has the hardware address `own`; the hardware address of whoever answers.
    ///
    /// # Errors
    /// The link cannot be listened on, or is down.
    pub async fn user(&self, index: u32, own: Mac, address: Ipv4Addr) -> std::io::Result<Option<Mac>> {
        let sockets = self.sockets.clone();
        let socket = blocking(move || sockets.arp(index)).await?;
        for _ in 0..PROBES {
            socket.send(&Packet::probe(own, address))?;
            let answer = async {
                loop {
                    let heard = socket.receive().await?;
                    if heard.claims(address, own) && !self.is_of_host(heard.packet.sender_mac).await {
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

    /// Whether a hardware address is one of this host's. With `arp_ignore=0` it answers on every interface for the addresses
    /// of all; which those are is known without asking.
    async fn is_of_host(&self, mac: Mac) -> bool {
        let namespaces = self.namespaces.clone();
        let links = blocking(move || namespaces.host().ok().and_then(|mut host| host.links().ok())).await;
        let is_own = |link: &Link| {
            let containers = mark_of(link).is_some_and(|mark| mark.end == End::Container);
            link.mac == Some(mac) && !containers
        };
        links.is_some_and(|links| links.iter().any(is_own))
    }
}
