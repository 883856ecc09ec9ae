//! What a client has to say that was told to release its lease. Nothing is sent after it: the link may be removed then.

use std::net::Ipv4Addr;
use std::time::Duration;

use landline_dhcp::wire::arp;
use landline_dhcp::{Random, v4, v6};
use landline_types::Mac;

use super::{Dhcp4, Icmp6, Received};
use crate::clock::Clock;

impl dyn Dhcp4 + '_ {
    /// Sends it (`lease`: what is given back; `None`: an offer), and returns when it has left this host.
    pub async fn send_release<R: Random>(
        &mut self,
        client: &mut v4::Client<R>,
        own: Mac,
        lease: Option<&v4::Lease>,
    ) {
        while let Some(transmit) = client.poll_transmit() {
            let v4::Transmit::Dhcp { src, dst, payload } = &transmit else { continue };
            let hop = lease.map_or(*dst, |lease| lease.next_hop(*dst));
            // On the host's side the kernel has no address to ask from. Who does not answer gets it in a frame to all.
            let to = if self.routes() { None } else { self.locate(own, hop).await };
            // Nobody acknowledges a release. Without an answer to what follows it, it may be lost as well.
            for _ in 0..2 {
                let sent = match to {
                    Some(to) => self.send_to(to, *src, *dst, payload),
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
    async fn locate(&mut self, own: Mac, neighbour: Ipv4Addr) -> Option<Mac> {
        const ANSWER: Duration = Duration::from_millis(100);
        self.send(&v4::Transmit::Arp(arp::Packet::probe(own, neighbour))).ok()?;
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
}

impl dyn Icmp6 + '_ {
    /// Sends it until a server has answered or there was time for it: nothing depends on the answer but that the message
    /// is not lost.
    pub async fn send_release<R: Random>(&self, client: &mut v6::Client<R>, clock: &Clock) {
        const ANSWER: Duration = Duration::from_millis(1500);
        let end = clock.now() + ANSWER;
        loop {
            while let Some(transmit) = client.poll_transmit() {
                if let Err(error) = self.send(&transmit) {
                    tracing::debug!(%error, "not sent");
                }
            }
            if !client.wants_dhcp() || clock.now() >= end {
                return;
            }
            let next = client.poll_timeout().map_or(end, |at| at.min(end));
            tokio::select! {
                received = self.receive() => match received {
                    Ok(heard) => {
                        client.handle_packet(clock.now(), heard.frame_source, &heard.packet, heard.check);
                    }
                    Err(_) => return,
                },
                () = clock.sleep_until(Some(next.since_boot())) => client.handle_timeout(clock.now()),
            }
        }
    }
}
