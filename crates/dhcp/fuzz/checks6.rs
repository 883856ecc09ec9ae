//! What the fuzz targets for IPv6 run, and what `tests/corpus.rs` runs on every file of their corpus.

#![allow(dead_code, reason = "each target uses one")]

#[allow(clippy::duplicate_mod, reason = "tests/corpus.rs runs both")]
#[path = "story.rs"]
mod story;

use std::net::Ipv6Addr;
use std::time::Duration;

use landline_dhcp::Instant;
use landline_dhcp::v6::{Client, Config, ConflictCheck, Mode, State6};
use landline_dhcp::wire::dhcpv6::{Duid, IaAddress, IaNa, Message, MessageType, Options, code};
use landline_dhcp::wire::icmpv6;
use landline_dhcp::wire::ipv6::{ALL_NODES, Datagram, ICMP, Packet, solicited_node};
use landline_dhcp::wire::udp::Check;
use landline_types::Mac;
use story::{Counter, Story};

const MAC: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);
const OTHER: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// A UDP payload: what is read can be written and read again.
pub(crate) fn dhcpv6(data: &[u8]) {
    let Some(message) = Message::parse(data) else { return };
    assert_eq!(Message::parse(&message.emit()).as_ref(), Some(&message));
    let options = &message.options;
    for (code, _) in options.iter() {
        for name in options.domains(code) {
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)), "{name:?}");
        }
        let _ = (
            options.addresses(code),
            options.duid(code),
            options.u8(code),
            options.u16(code),
            options.u32(code),
        );
    }
    for association in options.associations() {
        assert_eq!(IaNa::parse(&association.value()).as_ref(), Some(&association));
        for address in association.addresses() {
            assert_eq!(IaAddress::parse(&address.value()).as_ref(), Some(&address));
        }
    }
    let _ = options.status();
}

/// An IPv6 packet: neighbour discovery, or a datagram.
pub(crate) fn discovery(data: &[u8]) {
    let Some(packet) = Packet::parse(data) else { return };
    let again = packet.emit();
    assert_eq!(Packet::parse(&again), Some(Packet::parse(data).expect("it was there before")));
    if let Some(datagram) = Datagram::parse(&packet, Check::Verify) {
        assert_eq!(Datagram::parse(&packet, Check::Skip), Some(datagram));
    }
    let _ = Datagram::parse(&packet, Check::Skip);
    // The fuzzer need not find checksums.
    let Some(message) = icmpv6::Message::parse(packet.src, packet.dst, packet.payload, Check::Skip) else {
        return;
    };
    let emitted = message.emit(packet.src, packet.dst);
    assert_eq!(icmpv6::Message::parse(packet.src, packet.dst, &emitted, Check::Verify), Some(message));
}

/// A client that lives through anything: what it says the link is to be set up with is what its events said, what is
/// due gets done, and no address is used beyond its life.
pub(crate) fn client6(data: &[u8]) {
    let mut story = Story(data);
    let mut life = Life::begin(story.octet().unwrap_or(0));
    while life.step(&mut story).is_some() {
        life.check();
    }
}

struct Life {
    client: Client<Counter>,
    now: Instant,
    question: Option<Message>,
    told: State6,
}

impl Life {
    fn begin(start: u8) -> Self {
        let mut config = Config::new(MAC);
        config.mode = [Mode::Auto, Mode::Dhcp, Mode::Slaac][usize::from(start % 3)];
        config.rapid_commit = start & 0x10 != 0;
        config.listen = start & 0x20 != 0;
        if start & 0x40 != 0 {
            config.conflict_check = ConflictCheck::Wait;
        }
        let now = Instant::from_boot(Duration::from_secs(1000));
        let client = Client::start(config, None, now, Counter(7));
        let mut life = Self { client, now, question: None, told: State6::default() };
        life.drain();
        life
    }

    fn step(&mut self, story: &mut Story<'_>) -> Option<()> {
        match story.octet()? {
            0..0x18 => {
                let len = usize::from(story.octet()?);
                self.client.handle_packet(self.now, OTHER, story.some(len), Check::Skip);
            }
            0x18..0x40 => {
                let len = usize::from(story.octet()?);
                self.hear(ROUTER, ALL_NODES, story.some(len));
            }
            what @ 0x40..0x90 => self.answer(what, story)?,
            what @ 0x90..0xa0 => self.claim(what),
            0xa0..0xd0 => {
                if let Some(due) = self.client.poll_timeout().filter(|&due| due >= self.now) {
                    self.now = due;
                }
                self.client.handle_timeout(self.now);
            }
            0xd0..0xe0 => {
                self.now = self.now + Duration::from_millis(u64::from(story.number()?));
                self.client.handle_timeout(self.now);
            }
            0xe0..0xe8 => self.client.renew(self.now),
            0xe8..0xf0 => self.client.restart(self.now),
            0xf0..0xf8 => {
                let name = String::from_utf8_lossy(story.some(4)).into_owned();
                self.client.set_hostname(self.now, Some(name));
            }
            _ => {
                self.drain();
                self.client.release(self.now);
                self.told = State6::default();
            }
        }
        self.drain();
        Some(())
    }

    /// Somebody else has one of the addresses, or wants it.
    fn claim(&mut self, what: u8) {
        let addresses = &self.client.current().addresses;
        let Some(target) = addresses.first().map(|address| address.net.addr()) else { return };
        let message = if what & 1 == 0 {
            icmpv6::Message::NeighbourAdvertisement {
                target,
                target_mac: Some(OTHER),
                router: false,
                solicited: false,
                overrides: true,
            }
        } else {
            icmpv6::Message::NeighbourSolicitation { target, source_mac: None, nonce: None }
        };
        let (src, dst) =
            if what & 1 == 0 { (target, ALL_NODES) } else { (Ipv6Addr::UNSPECIFIED, solicited_node(target)) };
        self.hear(src, dst, &message.emit(src, dst));
    }

    /// An `ICMPv6` message comes in.
    fn hear(&mut self, src: Ipv6Addr, dst: Ipv6Addr, payload: &[u8]) {
        let packet = Packet { src, dst, hop_limit: 255, next_header: ICMP, payload };
        self.client.handle_packet(self.now, OTHER, &packet.emit(), Check::Skip);
    }

    /// An answer to the last question, with times and options from the story.
    fn answer(&mut self, what: u8, story: &mut Story<'_>) -> Option<()> {
        let kind = [MessageType::Advertise, MessageType::Reply][usize::from(what & 1)];
        let (last, preferred, valid) = (story.octet()?, story.number()?, story.number()?);
        let len = usize::from(story.octet()? % 64);
        let more = story.some(len);
        let question = self.question.as_ref()?;
        let mut reply = Message::new(kind, question.xid);
        reply.options.push(code::CLIENT_ID, question.options.get(code::CLIENT_ID)?);
        reply.options.push(code::SERVER_ID, Duid::from_mac(OTHER).as_bytes());
        if let Some(asked) = question.options.associations().next() {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 1, last.into());
            let mut association = IaNa::asking(asked.iaid, []);
            let granted = IaAddress { address, preferred, valid, options: Options::new() };
            association.options.push(code::IA_ADDRESS, &granted.value());
            reply.options.push(code::IA_NA, &association.value());
        }
        if what & 0x08 != 0 {
            reply.options.push(code::RAPID_COMMIT, &[]);
        }
        let mut payload = reply.emit();
        payload.extend(more);
        self.client.handle_dhcp(self.now, ROUTER, &payload);
        Some(())
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.client.poll_transmit() {
            let packet = transmit.to_packet();
            let packet = Packet::parse(&packet).expect("what is sent is IPv6");
            if packet.next_header == ICMP {
                let message = icmpv6::Message::parse(packet.src, packet.dst, packet.payload, Check::Verify);
                assert!(message.is_some(), "what is sent is neighbour discovery");
            } else {
                let datagram = Datagram::parse(&packet, Check::Verify).expect("what is sent is a datagram");
                self.question = Some(Message::parse(datagram.payload).expect("what is sent is DHCPv6"));
            }
        }
        while let Some(event) = self.client.poll_event() {
            use landline_dhcp::v6::Event;
            match event {
                Event::Changed(state) | Event::Renewed(state) => self.told = state,
                Event::Lost { .. } | Event::Conflict { .. } | Event::Refused { .. } => {}
            }
        }
    }

    fn check(&self) {
        let current = self.client.current();
        let addresses = |state: &State6| -> Vec<_> {
            state.addresses.iter().map(|address| (address.net, address.deprecated)).collect()
        };
        assert_eq!(addresses(current), addresses(&self.told));
        for address in &current.addresses {
            assert!(address.valid_until.is_none_or(|end| end > self.now), "{address:?} at {:?}", self.now);
        }
        assert!(self.client.poll_timeout().is_none_or(|due| due > self.now));
    }
}
