//! A host: a client, and what a program does around it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use landline_dhcp::v6::{Client, Config, ConflictCheck, Event, InterfaceId, LossReason, State6};
use landline_dhcp::wire::dhcpv6;
use landline_dhcp::wire::icmpv6::Message;
use landline_dhcp::wire::ipv6::{self, Datagram, Packet};
use landline_dhcp::wire::udp::Check;
use landline_types::Mac;

use super::gateway::{discovery, frame};
use super::rng::Rng;
use super::server::pool;
use super::world::{Report, Scenario};
use super::{Frame, Micros, SECOND, instant, mac, micros};

/// Hosts have hardware addresses from here on.
pub(crate) const FIRST: u8 = 0x10;

const MINUTE: Micros = 60 * SECOND;

pub(crate) struct Host {
    number: u8,
    config: Config,
    client: Client<Rng>,
    rng: Rng,
    /// Whether a kernel answers for the addresses that are set up.
    kernel: bool,
    /// What the link is set up with, as events say.
    pub(crate) link: State6,
    /// Until then nobody runs.
    pub(crate) asleep_until: Micros,
    /// What was asked about (duplicate address detection) since the container started.
    probed: BTreeSet<Ipv6Addr>,
    /// Leased addresses that somebody else has too, and since when that is known.
    contested: BTreeMap<Ipv6Addr, Micros>,
    /// Packets sent since the last time somebody looked.
    pub(crate) sent: u32,
}

impl Host {
    pub(crate) fn new(number: u8, scenario: &Scenario, now: Micros, mut rng: Rng) -> Self {
        let mut config = Config::new(mac(FIRST + number));
        if rng.percent(50) {
            config.interface_id = InterfaceId::Stable {
                secret: vec![number; 32],
                interface: vec![number],
                network: b"lan".to_vec(),
            };
        }
        if scenario.thorough {
            config.conflict_check = ConflictCheck::Wait;
            config.listen = rng.percent(50);
        }
        config.rapid_commit = rng.percent(50);
        let kernel = scenario.forgetful || rng.percent(70);
        let client = Client::start(config.clone(), None, instant(now), rng.fork());
        Self {
            number,
            config,
            client,
            rng,
            kernel,
            link: State6::default(),
            asleep_until: 0,
            probed: BTreeSet::new(),
            contested: BTreeMap::new(),
            sent: 0,
        }
    }

    pub(crate) fn mac(&self) -> Mac {
        self.config.mac
    }

    /// The leased and autoconfigured addresses that are used.
    pub(crate) fn current(&self) -> &State6 {
        self.client.current()
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.client.is_settled()
    }

    pub(crate) fn due(&self) -> Option<Micros> {
        self.client.poll_timeout().map(|at| micros(at).saturating_add(1).max(self.asleep_until))
    }

    pub(crate) fn tick(&mut self, now: Micros) {
        if now >= self.asleep_until {
            self.client.handle_timeout(instant(now));
        }
    }

    /// The program ends and starts again; it has what it stored.
    pub(crate) fn resume(&mut self, now: Micros) {
        let rng = self.rng.fork();
        self.contested.clear();
        self.client = Client::resume(self.config.clone(), self.link.clone(), instant(now), rng);
    }

    /// The container starts again.
    pub(crate) fn begin(&mut self, now: Micros) {
        let known = Some(std::mem::take(&mut self.link).into());
        self.probed.clear();
        self.contested.clear();
        let rng = self.rng.fork();
        self.client = Client::start(self.config.clone(), known, instant(now), rng);
    }

    /// The link flaps.
    pub(crate) fn link_up(&mut self, now: Micros) {
        self.contested.clear();
        self.client.link_up(instant(now));
    }

    pub(crate) fn receive(&mut self, now: Micros, received: &Frame) -> Option<Frame> {
        let packet = Packet::parse(&received.packet)?;
        let open = if packet.next_header == ipv6::ICMP {
            self.client.wants_icmp()
        } else {
            self.client.wants_dhcp()
        };
        let answer = self.kernel.then(|| self.kernel_answer(received)).flatten();
        if open && now >= self.asleep_until {
            self.client.handle_packet(instant(now), received.from, &received.packet, Check::Verify);
        }
        answer
    }

    /// What a kernel says that has the addresses.
    fn kernel_answer(&self, received: &Frame) -> Option<Frame> {
        let (src, message) = discovery(received)?;
        let Message::NeighbourSolicitation { target, source_mac, .. } = message else { return None };
        let addresses = self.link.addresses.iter().map(|address| address.net.addr());
        if received.from == self.mac() || !addresses.chain(self.link.link_local).any(|own| own == target) {
            return None;
        }
        let claim = Message::NeighbourAdvertisement {
            target,
            target_mac: Some(self.mac()),
            router: false,
            solicited: !src.is_unspecified(),
            overrides: true,
        };
        let dst: Ipv6Addr = if src.is_unspecified() { ipv6::ALL_NODES } else { src };
        let mut out = frame(FIRST + self.number, target, dst, &claim);
        out.to = source_mac.unwrap_or(out.to);
        Some(out)
    }

    /// An address that is used though nobody was asked whether it is free.
    pub(crate) fn unprobed(&self) -> Option<Ipv6Addr> {
        self.link.addresses.iter().map(|address| address.net.addr()).find(|ip| !self.probed.contains(ip))
    }

    /// A leased address that is known to be another's for a minute and was not declined.
    pub(crate) fn not_declined(&self, now: Micros) -> Option<Ipv6Addr> {
        self.contested.iter().find(|(_, since)| **since + MINUTE < now).map(|(address, _)| *address)
    }

    /// Takes note of what a packet of ours asks and says.
    fn note(&mut self, packet: &[u8]) {
        let Some(packet) = Packet::parse(packet) else { return };
        if packet.next_header == ipv6::ICMP {
            let message = Message::parse(packet.src, packet.dst, packet.payload, Check::Verify);
            if let Some(Message::NeighbourSolicitation { target, .. }) = message
                && packet.src.is_unspecified()
            {
                self.probed.insert(target);
            }
            return;
        }
        let datagram = Datagram::parse(&packet, Check::Verify);
        let Some(message) = datagram.and_then(|datagram| dhcpv6::Message::parse(datagram.payload)) else {
            return;
        };
        if message.kind == dhcpv6::MessageType::Decline {
            for address in message.options.associations().flat_map(|ia| ia.addresses().collect::<Vec<_>>()) {
                self.contested.remove(&address.address);
            }
        }
    }

    /// Sends what there is and listens to what is told.
    pub(crate) fn drain(&mut self, now: Micros, report: &mut Report) -> Vec<Frame> {
        let mut out = Vec::new();
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Changed(state) => {
                    if state.lease.is_some() && self.link.lease.is_none() {
                        report.count("client: bound");
                    }
                    self.link = state;
                }
                Event::Renewed(state) => {
                    report.count("client: renewed");
                    self.link = state;
                }
                Event::Lost { reason: LossReason::Expired, .. } => report.count("client: lost by expiry"),
                Event::Lost { .. } => report.count("client: lost because it was withdrawn"),
                Event::Refused { .. } => report.count("client: taken address refused"),
                Event::Conflict { address, .. } => {
                    report.count("client: conflict seen");
                    if pool().any(|leased| leased == address) {
                        self.contested.entry(address).or_insert(now);
                    }
                }
            }
        }
        while let Some(transmit) = self.client.poll_transmit() {
            self.sent += 1;
            self.note(&transmit.to_packet());
            out.push(Frame {
                from: self.mac(),
                to: transmit.link_destination(),
                packet: transmit.to_packet(),
            });
        }
        out
    }
}
