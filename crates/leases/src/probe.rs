//! Looking for another user of a static address before it is used (RFC 5227), and saying afterwards who has it.

mod contest;
mod user;

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use landline_dhcp::Random;
use landline_dhcp::wire::arp;
use landline_links::blocking;
use landline_options::{ConflictCheck, NetworkOptions};
use landline_types::Mac;
use tokio::time::Instant;

use crate::lease::Services;
use crate::sockets::Location;

pub use contest::{Contest, contest};
pub use user::Prober;

/// When probes are sent and how long answers are waited for. The long one is that of RFC 5227 section 1.1 without its
/// random parts; the short one is enough for whoever is there to answer on a LAN.
struct Timing {
    probes: u32,
    gap: Duration,
    last: Duration,
}

const FAST: Timing = Timing { probes: 3, gap: Duration::from_millis(20), last: Duration::from_millis(40) };
const FULL: Timing = Timing { probes: 3, gap: Duration::from_millis(1500), last: Duration::from_secs(2) };

/// Who on the LAN has one of these addresses. The link with this index, in the host's namespace, has `mac`.
///
/// # Errors
/// The link cannot be listened on, or is down.
pub async fn look(
    services: &Services,
    index: u32,
    mac: Mac,
    addresses: &[Ipv4Addr],
    check: ConflictCheck,
) -> io::Result<Option<(Ipv4Addr, Mac)>> {
    Look { services, index, mac }.anyone(addresses, check).await
}

/// The link of the host's over which the LAN is asked about addresses on a link with this index, of a network with these options.
///
/// # Errors
/// It is not there, or the kernel does not say.
pub async fn asked_over(services: &Services, options: &NetworkOptions, index: u32) -> io::Result<u32> {
    let Some(Location::Parent(parent)) = Location::on_behalf(options) else { return Ok(index) };
    let namespaces = services.namespaces.clone();
    let link = blocking(move || namespaces.host()?.link_by_name(&parent).map_err(io::Error::other)).await?;
    link.map(|link| link.index).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Looks for others on the LAN of one of the host's links.
struct Look<'a> {
    services: &'a Services,
    /// The link.
    index: u32,
    /// Its hardware address, or what that will be.
    mac: Mac,
}

impl Look<'_> {
    /// Who has one of these addresses.
    async fn anyone(
        &self,
        addresses: &[Ipv4Addr],
        check: ConflictCheck,
    ) -> io::Result<Option<(Ipv4Addr, Mac)>> {
        let timing = match check {
            ConflictCheck::Off => return Ok(None),
            ConflictCheck::Fast => FAST,
            ConflictCheck::Wait => FULL,
        };
        let (sockets, index, mac) = (self.services.sockets.clone(), self.index, self.mac);
        let socket = blocking(move || sockets.arp(index)).await?;
        for sent in 1..=timing.probes {
            for address in addresses {
                socket.send(&arp::Packet::probe(mac, *address))?;
            }
            let until = Instant::now() + if sent < timing.probes { timing.gap } else { timing.last };
            while let Ok(heard) = tokio::time::timeout_at(until, socket.receive()).await {
                let heard = heard?;
                let contests =
                    |address: &&Ipv4Addr| heard.claims(**address, mac) || heard.competes(**address, mac);
                let contested = addresses.iter().find(contests);
                let sender = heard.packet.sender_mac;
                if let Some(address) = contested.filter(|_| !self.services.link_table.is_of_host(sender)) {
                    return Ok(Some((*address, sender)));
                }
            }
        }
        Ok(None)
    }

    /// Whether whoever answered for an address of this subnet answers for any, as a router does that does proxy ARP (RFC
    /// 1027): for two more of it, drawn at random.
    async fn answers_for_all(&self, net: Ipv4Net, by: Mac, random: &mut impl Random) -> io::Result<bool> {
        let [one, other] = [(); 2].map(|()| another(net, random));
        let (Some(one), Some(other)) = (one, other) else { return Ok(false) };
        for address in [one, other] {
            let answered = self.anyone(&[address], ConflictCheck::Fast).await?;
            if answered.is_none_or(|(_, who)| who != by) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Another host's address in the subnet; `None`: it is too small for that to say anything.
fn another(net: Ipv4Net, random: &mut impl Random) -> Option<Ipv4Addr> {
    const LEAST: u8 = 28;
    if net.prefix_len() > LEAST {
        return None;
    }
    let hosts = (net.broadcast().to_bits() - net.network().to_bits()).checked_sub(1)?;
    let drawn = (0..8).map(|_| net.network().to_bits() + 1 + random.next_u32() % hosts);
    drawn.map(Ipv4Addr::from_bits).find(|address| *address != net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    #[test]
    fn another_address_is_a_host_of_the_subnet() {
        for _ in 0..200 {
            let net: Ipv4Net = "192.0.2.65/28".parse().unwrap();
            let drawn = another(net, &mut OsRandom).unwrap();
            assert!(net.contains(&drawn) && drawn != net.addr());
            assert!(drawn != net.network() && drawn != net.broadcast());
        }
        for small in ["192.0.2.65/29", "192.0.2.65/31", "192.0.2.65/32"] {
            assert_eq!(another(small.parse().unwrap(), &mut OsRandom), None);
        }
        assert!(another("10.0.0.1/0".parse().unwrap(), &mut OsRandom).is_some());
    }
}
