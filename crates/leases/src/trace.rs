//! The last messages of each endpoint, for people who want to see what was said on the LAN: in memory, bounded, never on disk.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use landline_dhcp::wire::{arp, udp};
use landline_dhcp::{v4, v6};
use landline_options::EndpointId;
use landline_types::{IfName, Mac};
use tokio::sync::watch;

use crate::sockets::{Advertisement, Packet6, Received};

/// How many messages of one endpoint are kept, and how many octets of them.
const MESSAGES: usize = 64;
const OCTETS: usize = 8192;
/// The longest message that is kept whole.
const LONGEST: usize = 1514;
/// Of how many endpoints and parents messages are kept: those that spoke last.
const RINGS: usize = 1024;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// What stands for a hardware address that the sockets do not tell.
const UNKNOWN: Mac = Mac::new([0; 6]);

/// Whose messages they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    /// Those of an endpoint.
    Endpoint(EndpointId),
    /// What routers said to all on a parent.
    Parent(IfName),
}

/// A message, as an Ethernet frame. Headers that the kernel wrote or removed are made again; a hardware address that is not
/// known is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Counted over all messages, from 1.
    pub number: u64,
    /// When it was sent or received, since 1970.
    pub at: Duration,
    /// Whether the endpoint sent it.
    pub sent: bool,
    /// The frame.
    pub frame: Vec<u8>,
}

/// The last messages of all endpoints.
#[derive(Debug, Default)]
pub struct Traces {
    rings: Mutex<HashMap<Whose, VecDeque<Traced>>>,
    /// The number of the latest one.
    latest: watch::Sender<u64>,
}

impl Traces {
    fn rings(&self) -> MutexGuard<'_, HashMap<Whose, VecDeque<Traced>>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The messages of an endpoint and of the routers on its parent, without those up to this number; the oldest first.
    pub fn of(&self, endpoint: &EndpointId, parent: &IfName, after: u64) -> Vec<Traced> {
        let rings = self.rings();
        let whose = [Whose::Endpoint(endpoint.clone()), Whose::Parent(parent.clone())];
        let found = whose.iter().filter_map(|whose| rings.get(whose)).flatten();
        let mut found: Vec<Traced> = found.filter(|message| message.number > after).cloned().collect();
        found.sort_by_key(|message| message.number);
        found
    }

    /// Another receiver of the number of the latest message.
    pub fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// A message of a DHCP client that was sent.
    pub(crate) fn sent_v4(&self, whose: &Whose, transmit: &v4::Transmit) {
        match transmit {
            v4::Transmit::Arp(packet) => self.arp(whose, true, packet, packet.sender_mac),
            v4::Transmit::Dhcp { src, dst, payload } => {
                let to = if *dst == Ipv4Addr::BROADCAST { Mac::BROADCAST } else { UNKNOWN };
                self.dhcp(whose, *src, *dst, to, payload);
            }
        }
    }

    /// A message of a DHCP client that was sent to this hardware address.
    pub(crate) fn dhcp(&self, whose: &Whose, src: Ipv4Addr, dst: Ipv4Addr, to: Mac, payload: &[u8]) {
        let (from, server) = (SocketAddrV4::new(src, CLIENT_PORT), SocketAddrV4::new(dst, SERVER_PORT));
        self.add(whose, true, frame(to, client_of(payload), IPV4, &udp::emit(from, server, payload)));
    }

    /// A packet that came in for a DHCP client.
    pub(crate) fn received_v4(&self, whose: &Whose, received: &Received) {
        match received {
            Received::Arp(heard) => self.arp(whose, false, &heard.packet, heard.frame_source),
            Received::Datagram { from, payload } => {
                let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
                let packet = udp::emit(*from, to, payload);
                self.add(whose, false, frame(client_of(payload), UNKNOWN, IPV4, &packet));
            }
        }
    }

    fn arp(&self, whose: &Whose, sent: bool, packet: &arp::Packet, source: Mac) {
        self.add(whose, sent, frame(Mac::BROADCAST, source, ARP, &packet.emit()));
    }

    /// A packet of a client for IPv6 that was sent.
    pub(crate) fn sent_v6(&self, whose: &Whose, transmit: &v6::Transmit) {
        self.add(whose, true, frame(transmit.link_destination(), UNKNOWN, IPV6, &transmit.to_packet()));
    }

    /// A packet that came in for a client for IPv6.
    pub(crate) fn received_v6(&self, whose: &Whose, packet: &Packet6) {
        self.add(whose, false, frame(UNKNOWN, packet.frame_source, IPV6, &packet.packet));
    }

    /// What a router has said to all.
    pub(crate) fn advertisement(&self, whose: &Whose, heard: &Advertisement) {
        self.add(whose, false, frame(UNKNOWN, heard.frame_source, IPV6, &heard.packet));
    }

    fn add(&self, whose: &Whose, sent: bool, frame: Vec<u8>) {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut rings = self.rings();
        let number = *self.latest.borrow() + 1;
        let ring = rings.entry(whose.clone()).or_default();
        ring.push_back(Traced { number, at, sent, frame });
        let octets = |ring: &VecDeque<Traced>| ring.iter().map(|message| message.frame.len()).sum::<usize>();
        while ring.len() > MESSAGES || octets(ring) > OCTETS {
            ring.pop_front();
        }
        if rings.len() > RINGS {
            let spoke = |ring: &VecDeque<Traced>| ring.back().map_or(0, |message| message.number);
            let oldest = rings.iter().min_by_key(|(_, ring)| spoke(ring)).map(|(whose, _)| whose.clone());
            oldest.and_then(|oldest| rings.remove(&oldest));
        }
        // Still under the lock, so that numbers are told in their order.
        self.latest.send_replace(number);
    }
}

fn frame(to: Mac, from: Mac, kind: u16, packet: &[u8]) -> Vec<u8> {
    let header = [&to.octets()[..], &from.octets(), &kind.to_be_bytes()].concat();
    header.iter().chain(packet).copied().take(LONGEST).collect()
}

/// The client's hardware address, which DHCP messages name (RFC 2131 section 2: `chaddr`).
fn client_of(payload: &[u8]) -> Mac {
    payload.get(28..).and_then(|rest| rest.first_chunk::<6>()).map_or(UNKNOWN, |octets| Mac::new(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(n: usize) -> EndpointId {
        format!("{n:064x}").parse().unwrap()
    }

    fn say(traces: &Traces, n: usize, length: usize) {
        traces.add(&Whose::Endpoint(endpoint(n)), true, vec![0; length]);
    }

    fn numbers(traces: &Traces, n: usize, after: u64) -> Vec<u64> {
        traces.of(&endpoint(n), &"br0".parse().unwrap(), after).iter().map(|message| message.number).collect()
    }

    #[test]
    fn an_endpoint_has_its_last_messages_and_those_of_its_routers() {
        let traces = Traces::default();
        let mut latest = traces.latest();
        say(&traces, 1, 300);
        say(&traces, 2, 300);
        traces.add(&Whose::Parent("br0".parse().unwrap()), false, vec![0; 100]);
        traces.add(&Whose::Parent("br1".parse().unwrap()), false, vec![0; 100]);
        say(&traces, 1, 300);
        assert_eq!(numbers(&traces, 1, 0), [1, 3, 5]);
        assert_eq!(numbers(&traces, 1, 3), [5]);
        assert_eq!((latest.has_changed().unwrap(), *latest.borrow_and_update()), (true, 5));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let traces = Traces::default();
        for _ in 0..100 {
            say(&traces, 1, 60);
            say(&traces, 2, 1500);
        }
        assert_eq!(numbers(&traces, 1, 0).len(), MESSAGES);
        assert_eq!(numbers(&traces, 2, 0).len(), OCTETS / 1500);
        for n in 3..=RINGS + 2 {
            say(&traces, n, 60);
        }
        assert_eq!(traces.rings().len(), RINGS);
        assert!(numbers(&traces, 1, 0).is_empty(), "it spoke first");
        assert!(!numbers(&traces, 3, 0).is_empty());
    }

    #[test]
    fn frames_are_whole_again() {
        let traces = Traces::default();
        let whose = Whose::Endpoint(endpoint(1));
        let mut payload = vec![0; 300];
        payload[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
        let transmit = v4::Transmit::Dhcp { src: Ipv4Addr::UNSPECIFIED, dst: Ipv4Addr::BROADCAST, payload };
        traces.sent_v4(&whose, &transmit);
        let frame = &traces.of(&endpoint(1), &"br0".parse().unwrap(), 0)[0].frame;
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[6..14], [2, 0, 0, 0, 0, 7, 8, 0]);
        let datagram = udp::parse(&frame[14..], udp::Check::Verify).unwrap();
        assert_eq!((datagram.src.port(), datagram.payload.len()), (CLIENT_PORT, 300));
    }
}
