//! Routers and `DHCPv6` on the LAN.

#[path = "../../../dhcp/tests/lan6/gateway.rs"]
#[allow(dead_code, reason = "the simulator uses all of it")]
mod gateway;
#[path = "../../../dhcp/tests/lan6/server.rs"]
#[allow(dead_code, reason = "the simulator uses all of it")]
mod server;

use std::io;
use std::net::Ipv6Addr;

use landline_dhcp::v6::Transmit;
use landline_dhcp::wire::dhcpv6::{Message, MessageType};
use landline_dhcp::wire::ipv6::{Datagram, Packet};
use landline_dhcp::wire::udp::Check;
use landline_types::Mac;
use tokio::sync::mpsc::UnboundedSender;

use super::{Listener, Micros, SECOND, Socket, receive, say};
use crate::sockets::{Advertisement, Advertisements, Icmp6, Next, Packet6};
use gateway::{Router, Squatter};
use server::Server;

/// A frame on the LAN.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) from: Mac,
    #[allow(dead_code, reason = "everybody hears everything")]
    pub(crate) to: Mac,
    pub(crate) packet: Vec<u8>,
}

pub(super) fn mac(last: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 6, last])
}

/// The link-local address of a node that is no client.
pub(super) fn link_local(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into())
}

/// An address the server gives.
pub(super) fn leased(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 1, last.into())
}

/// Who is there.
pub struct Lan6 {
    router: Router,
    server: Server,
    squatters: Vec<Squatter>,
    routed: bool,
    served: bool,
    pub(super) inboxes: Vec<UnboundedSender<Packet6>>,
    pub(super) listeners: Vec<UnboundedSender<Advertisement>>,
    heard: Vec<MessageType>,
    /// How many neighbour solicitations without a source there were.
    probes: usize,
}

impl Lan6 {
    pub(super) fn new() -> Self {
        Self {
            router: Router::new(),
            server: Server::new(false),
            squatters: Vec::new(),
            routed: true,
            served: true,
            inboxes: Vec::new(),
            listeners: Vec::new(),
            heard: Vec::new(),
            probes: 0,
        }
    }

    /// The router is there, or is away.
    pub fn route(&mut self, there: bool) {
        self.routed = there;
    }

    /// The server answers, or is away.
    pub fn serve(&mut self, up: bool) {
        self.served = up;
    }

    /// Another machine has the address that the server gives first.
    pub fn squat(&mut self) -> Ipv6Addr {
        self.squatters.push(Squatter(leased(1)));
        leased(1)
    }

    /// How many messages of this kind clients have sent.
    pub fn sent(&self, kind: MessageType) -> usize {
        self.heard.iter().filter(|heard| **heard == kind).count()
    }

    /// How many probes for addresses clients have sent.
    pub fn probes(&self) -> usize {
        self.probes
    }

    /// The links that sockets are open on go down, as those do that are moved.
    pub fn unplug(&mut self) {
        self.inboxes.clear();
    }

    pub(super) fn advertise(&mut self, now: Micros) {
        if let Some(frame) = self.router.tick(now, false) {
            let said = Advertisement {
                frame_source: frame.from,
                packet: frame.packet.clone().into(),
                check: Check::Verify,
                own: false,
            };
            say(&mut self.listeners, &said);
            say(&mut self.inboxes, &heard(frame));
        }
    }

    fn transmit(&mut self, now: Micros, from: Mac, transmit: &Transmit) {
        let frame = Frame { from, to: transmit.link_destination(), packet: transmit.to_packet() };
        let probes = matches!(transmit, Transmit::Icmp { src, .. } if src.is_unspecified());
        self.probes += usize::from(probes);
        let message = |packet: &Packet<'_>| Datagram::parse(packet, Check::Skip).map(|d| d.payload.to_vec());
        let said = Packet::parse(&frame.packet).and_then(|packet| message(&packet));
        self.heard.extend(said.and_then(|payload| Message::parse(&payload)).map(|message| message.kind));
        let mut answers = Vec::new();
        if self.routed {
            answers.extend(self.router.receive(now, &frame));
        }
        if self.served {
            answers.extend(self.server.receive(now, &frame));
        }
        answers.extend(self.squatters.iter().filter_map(|squatter| squatter.receive(&frame)));
        for answer in answers {
            say(&mut self.inboxes, &heard(answer));
        }
    }
}

fn heard(frame: Frame) -> Packet6 {
    Packet6 { frame_source: frame.from, packet: frame.packet, check: Check::Verify }
}

impl Icmp6 for Socket<Packet6> {
    fn send(&self, transmit: &Transmit) -> io::Result<()> {
        let (now, from) = (self.lan.now(), Mac::new([2, 0, 0, 0, 7, self.number]));
        self.lan.six(|lan| lan.transmit(now, from, transmit));
        Ok(())
    }

    fn receive(&self) -> Next<'_, Packet6> {
        receive(&self.inbox)
    }
}

impl Advertisements for Listener<Advertisement> {
    fn receive(&self) -> Next<'_, Advertisement> {
        receive(&self.0)
    }
}
