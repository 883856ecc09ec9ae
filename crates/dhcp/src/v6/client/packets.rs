//! What arrives, and what is sent.

use std::net::Ipv6Addr;

use landline_types::Mac;

use super::event::HOP_LIMIT;
use super::{Client, Event, Transmit};
use crate::random::Random;
use crate::time::Instant;
use crate::v6::config::Mode;
use crate::v6::dad::Out;
use crate::v6::dhcp::Dhcp;
use crate::v6::heard::Heard;
use crate::v6::timing::DOUBT;
use crate::wire::dhcpv6::{CLIENT_PORT, Message as DhcpMessage};
use crate::wire::icmpv6::Message;
use crate::wire::ipv6::{self, Datagram, Packet, multicast_mac, solicited_node};
use crate::wire::ra::RouterAdvertisement;
use crate::wire::udp::Check;

impl<R: Random> Client<R> {
    pub(super) fn take_packet(&mut self, now: Instant, frame_source: Mac, packet: &[u8], check: Check) {
        let Some(packet) = Packet::parse(packet) else { return };
        if packet.next_header == ipv6::ICMP && packet.hop_limit == HOP_LIMIT {
            self.take_icmp(now, frame_source, &packet, check);
        } else if let Some(datagram) = Datagram::parse(&packet, check)
            && datagram.dst_port == CLIENT_PORT
        {
            self.take_dhcp(now, packet.src, datagram.payload);
        }
    }

    pub(super) fn take_icmp(&mut self, now: Instant, frame_source: Mac, packet: &Packet<'_>, check: Check) {
        let src = packet.src;
        let Some(message) = Message::parse(src, packet.dst, packet.payload, check) else { return };
        if let Message::RouterAdvertisement(said) = &message {
            // Routers speak from link-local addresses (RFC 4861 section 6.1.2).
            if src.is_unicast_link_local() && !self.stopped {
                self.hear_router(now, src, said);
            }
            return;
        }
        let heard = Heard { frame_source, src, message: &message };
        if let Some((address, by)) = self.watch.handle(now, &heard) {
            self.contested.push(address);
            self.events.push_back(Event::Conflict { address, by });
        } else if let Message::NeighbourSolicitation { target, source_mac, nonce: _ } = message
            && self.watch.is_clear(target)
            && !self.watch.is_own(&heard)
        {
            self.answer_neighbour(src, target, source_mac);
        }
    }

    pub(super) fn take_dhcp(&mut self, now: Instant, _src: Ipv6Addr, payload: &[u8]) {
        if let Some(message) = DhcpMessage::parse(payload) {
            self.with_dhcp(now, |dhcp, io| dhcp.handle_message(io, &message));
        }
    }

    fn hear_router(&mut self, now: Instant, router: Ipv6Addr, said: &RouterAdvertisement) {
        self.advertised.hear(now, router, said);
        if self.config.mode != Mode::Dhcp {
            for prefix in &said.prefixes {
                self.slaac.hear(now, &self.config, prefix);
            }
        }
        self.patience = None;
        self.managed |= said.managed;
        if !self.heard_router {
            self.heard_router = true;
            let doubted = self.advertised.is_doubted() || self.slaac.is_doubted();
            self.doubt_until = doubted.then(|| now + DOUBT);
        }
        self.refresh_solicitor(now);
        self.obey_flags(now, said);
    }

    /// Which part of DHCPv6 is wanted.
    fn obey_flags(&mut self, now: Instant, said: &RouterAdvertisement) {
        match self.config.mode {
            Mode::Auto if self.managed => self.dhcp.want_addresses(now),
            Mode::Auto => {
                self.dhcp.drop_requested();
                if said.other {
                    self.with_dhcp(now, Dhcp::want_information);
                }
            }
            Mode::Slaac if said.managed || said.other => self.with_dhcp(now, Dhcp::want_information),
            Mode::Slaac | Mode::Dhcp => {}
        }
    }

    pub(super) fn refresh_solicitor(&mut self, now: Instant) {
        let ends = self.advertised.ends().chain(self.slaac.ends());
        self.solicitor.hear(now, ends, &mut self.rng);
    }

    /// Somebody looks for an address of ours, or wants to take it. As long as the kernel does not have it, nobody else
    /// answers; once it does, it says the same.
    fn answer_neighbour(&mut self, src: Ipv6Addr, target: Ipv6Addr, source_mac: Option<Mac>) {
        let (to, dst, solicited) = if src.is_unspecified() {
            (multicast_mac(ipv6::ALL_NODES), ipv6::ALL_NODES, false)
        } else if let Some(mac) = source_mac.filter(|mac| !mac.is_multicast()) {
            (mac, src, true)
        } else {
            return;
        };
        let answer = Message::NeighbourAdvertisement {
            target,
            target_mac: Some(self.config.mac),
            router: false,
            solicited,
            overrides: true,
        };
        self.send_icmp(to, target, dst, &answer);
    }

    /// A step of duplicate address detection.
    pub(super) fn send_watch(&mut self, out: &Out) {
        match *out {
            Out::Probe(target, nonce) => {
                let dst = solicited_node(target);
                let probe = Message::NeighbourSolicitation { target, source_mac: None, nonce: Some(nonce) };
                self.send_icmp(multicast_mac(dst), Ipv6Addr::UNSPECIFIED, dst, &probe);
            }
            Out::Announce(target) => {
                let announcement = Message::NeighbourAdvertisement {
                    target,
                    target_mac: Some(self.config.mac),
                    router: false,
                    solicited: false,
                    overrides: true,
                };
                self.send_icmp(multicast_mac(ipv6::ALL_NODES), target, ipv6::ALL_NODES, &announcement);
            }
        }
    }

    /// Asks routers.
    pub(super) fn send_router_solicitation(&mut self, src: Ipv6Addr) {
        // Without an address there is nobody to remember the hardware address for (RFC 4861 section 4.1).
        let source_mac = (!src.is_unspecified()).then_some(self.config.mac);
        let dst = ipv6::ALL_ROUTERS;
        self.send_icmp(multicast_mac(dst), src, dst, &Message::RouterSolicitation { source_mac });
    }

    fn send_icmp(&mut self, to: Mac, src: Ipv6Addr, dst: Ipv6Addr, message: &Message) {
        let payload = message.emit(src, dst);
        self.transmits.push_back(Transmit::Icmp { to, src, dst, payload });
    }

    /// Sends messages to all servers. Without an address to send from they are as good as lost, and repeated as soon
    /// as there is one.
    pub(super) fn send_dhcp(&mut self, now: Instant, messages: &[DhcpMessage]) {
        let src = self.link_local.address;
        if !self.watch.is_clear(src) {
            if !messages.is_empty() {
                self.dhcp.hurry(now);
            }
            return;
        }
        for message in messages {
            let payload = message.emit();
            self.transmits.push_back(Transmit::Dhcp { src, dst: ipv6::ALL_DHCP_SERVERS, payload });
        }
    }
}
