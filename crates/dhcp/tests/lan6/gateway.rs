//! The router, and the squatter: who only answers.

use std::net::Ipv6Addr;

use landline_dhcp::wire::icmpv6::Message;
use landline_dhcp::wire::ipv6::{self, Packet, multicast_mac};
use landline_dhcp::wire::ra::{Dns, Prefix, RouterAdvertisement};
use landline_dhcp::wire::udp::Check;

use super::{Frame, Micros, SECOND, link_local, mac};

const ROUTER: u8 = 1;
const SQUATTER: u8 = 99;

/// What is in a frame, if it is neighbour discovery.
pub(crate) fn discovery(frame: &Frame) -> Option<(Ipv6Addr, Message)> {
    let packet = Packet::parse(&frame.packet)?;
    assert!(packet.next_header != ipv6::ICMP || packet.hop_limit == 255);
    let message = Message::parse(packet.src, packet.dst, packet.payload, Check::Verify);
    (packet.next_header == ipv6::ICMP).then_some(())?;
    Some((packet.src, message.expect("what nodes here send is well formed")))
}

pub(crate) fn frame(from: u8, src: Ipv6Addr, dst: Ipv6Addr, message: &Message) -> Frame {
    let payload = message.emit(src, dst);
    let packet = Packet { src, dst, hop_limit: 255, next_header: ipv6::ICMP, payload: &payload };
    Frame { from: mac(from), to: multicast_mac(dst), packet: packet.emit() }
}

/// A router with one prefix.
pub(crate) struct Router {
    /// The end of the longest life it has told.
    pub(crate) prefix_until: Micros,
    pub(crate) until: Micros,
    next: Micros,
}

impl Router {
    pub(crate) fn new() -> Self {
        Self { prefix_until: 0, until: 0, next: 0 }
    }

    pub(crate) fn due(&self) -> Micros {
        self.next
    }

    /// Says it to all, now and then, unless it is away.
    pub(crate) fn tick(&mut self, now: Micros, is_out: bool) -> Option<Frame> {
        self.next = now + 300 * SECOND;
        (!is_out).then(|| self.advertise(now))
    }

    pub(crate) fn receive(&mut self, now: Micros, received: &Frame) -> Option<Frame> {
        match discovery(received)?.1 {
            Message::RouterSolicitation { .. } => Some(self.advertise(now)),
            _ => None,
        }
    }

    fn advertise(&mut self, now: Micros) -> Frame {
        let (valid, preferred, lifetime) = (3000, 1500, 900);
        self.prefix_until = self.prefix_until.max(now + u64::from(valid) * SECOND);
        self.until = self.until.max(now + u64::from(lifetime) * SECOND);
        let prefix = "2001:db8:0:1::/64".parse().expect("a prefix");
        let said = RouterAdvertisement {
            managed: true,
            lifetime,
            prefixes: vec![Prefix { prefix, on_link: true, autonomous: true, valid, preferred }],
            dns: vec![Dns {
                lifetime: 900,
                servers: vec![Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53)],
            }],
            ..RouterAdvertisement::default()
        };
        frame(ROUTER, link_local(ROUTER), ipv6::ALL_NODES, &Message::RouterAdvertisement(said))
    }
}

/// Somebody who has an address without asking.
pub(crate) struct Squatter(pub(crate) Ipv6Addr);

impl Squatter {
    pub(crate) fn receive(&self, received: &Frame) -> Option<Frame> {
        match discovery(received)?.1 {
            Message::NeighbourSolicitation { target, .. } if target == self.0 => {
                let claim = Message::NeighbourAdvertisement {
                    target,
                    target_mac: Some(mac(SQUATTER)),
                    router: false,
                    solicited: false,
                    overrides: true,
                };
                Some(frame(SQUATTER, target, ipv6::ALL_NODES, &claim))
            }
            _ => None,
        }
    }
}
