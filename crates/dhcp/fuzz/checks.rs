//! What the fuzz targets run, and what `tests/corpus.rs` runs on every file of the corpus.

#![allow(dead_code, reason = "each target uses one")]

#[allow(clippy::duplicate_mod, reason = "tests/corpus.rs runs both")]
#[path = "story.rs"]
mod story;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use landline_dhcp::Instant;
use landline_dhcp::v4::{
    Client, Config, ConflictCheck, Event, Lease, LeaseOptions, Remembered, StateName, Transmit,
};
use landline_dhcp::wire::dhcpv4::{MessageType, Packet, Repr, code};
use landline_dhcp::wire::{arp, udp};
use landline_types::Mac;
use story::{Counter, Story};

const MAC: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);

/// A UDP payload: what is read can be written and read again.
pub(crate) fn dhcpv4(data: &[u8]) {
    let Some(packet) = Packet::parse(data) else { return };
    let options = LeaseOptions::from_raw(packet.options().clone().into_vec());
    assert_eq!(LeaseOptions::from_raw(options.raw.clone()), options);
    for name in options.search.iter().chain(&options.domain) {
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)), "{name:?}");
    }
    assert!(options.mtu.is_none_or(|mtu| mtu >= 68));
    assert!(options.routes().all(|route| route.destination == route.destination.trunc()));
    if let Some(repr) = Repr::parse(&packet) {
        let again = repr.emit();
        assert_eq!(Packet::parse(&again).and_then(|packet| Repr::parse(&packet)), Some(repr));
    }
}

/// An IPv4 packet, and an ARP packet.
pub(crate) fn link(data: &[u8]) {
    if let Some(datagram) = udp::parse(data, udp::Check::Verify) {
        assert_eq!(udp::parse(data, udp::Check::Skip), Some(datagram));
        let again = udp::emit(datagram.src, datagram.dst, datagram.payload);
        assert_eq!(udp::parse(&again, udp::Check::Verify), Some(datagram));
    }
    let _ = udp::parse(data, udp::Check::Skip);
    if let Some(packet) = arp::Packet::parse(data) {
        assert_eq!(packet.emit(), data[..arp::LEN]);
    }
}

/// A client that lives through anything. Its events and its lease tell one story, what is due gets done, and no
/// address is used when its lease is over.
pub(crate) fn client(data: &[u8]) {
    let mut story = Story(data);
    let mut life = Life::begin(&mut story);
    while life.step(&mut story).is_some() {
        life.check();
    }
}

struct Life {
    client: Client<Counter>,
    now: Instant,
    question: Option<Repr>,
    in_use: Option<Ipv4Addr>,
}

impl Life {
    fn begin(story: &mut Story<'_>) -> Self {
        let mut config = Config::new(MAC);
        let start = story.octet().unwrap_or(0);
        config.conflict_check =
            [ConflictCheck::Fast, ConflictCheck::Wait, ConflictCheck::Off][usize::from(start % 3)];
        config.rapid_commit = start & 0x10 != 0;
        let now = Instant::from_boot(Duration::from_secs(1000));
        let address = Ipv4Addr::new(192, 0, 2, 10);
        let seconds = |n: u32| Duration::from_secs(u64::from(n));
        let times = [story.number(), story.number(), story.number()].map(Option::unwrap_or_default);
        let lease = Lease {
            address,
            prefix_len: 24,
            server: Ipv4Addr::new(192, 0, 2, 1),
            obtained: Instant::from_boot(Duration::ZERO),
            t1: Some(Instant::from_boot(seconds(times[0]))),
            t2: Some(Instant::from_boot(seconds(times[1]))),
            expires: Some(Instant::from_boot(seconds(times[2]))),
            options: LeaseOptions::default(),
        };
        let remembered = match start >> 6 {
            0 => None,
            1 => Some(Remembered::Address(address)),
            2 => Some(Remembered::from(lease.clone())),
            _ => {
                let client = Client::resume(config, lease, now, Counter(7));
                return Self { client, now, question: None, in_use: Some(address) }.drained();
            }
        };
        let client = Client::start(config, remembered, now, Counter(7));
        let in_use = client.lease().map(|lease| lease.address);
        Self { client, now, question: None, in_use }.drained()
    }

    fn drained(mut self) -> Self {
        self.drain();
        self
    }

    fn step(&mut self, story: &mut Story<'_>) -> Option<()> {
        match story.octet()? {
            0..0x20 => {
                let len = usize::from(story.octet()?);
                let src = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 67);
                self.client.handle_datagram(self.now, src, story.some(len));
            }
            what @ 0x20..0x80 => self.answer(what, story)?,
            0x80..0x90 => {
                if let Some(packet) = arp::Packet::parse(story.some(arp::LEN)) {
                    self.client.handle_arp(self.now, packet);
                }
            }
            what @ 0x90..0xa0 => {
                let address = self.in_use.unwrap_or(Ipv4Addr::new(192, 0, 2, 10));
                let other = Mac::new([2, 0, 0, 0, 0, 1]);
                let packet = if what & 1 == 0 {
                    arp::Packet::probe(other, address)
                } else {
                    arp::Packet::announcement(other, address)
                };
                self.client.handle_arp(self.now, packet);
            }
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
                self.in_use = None;
            }
        }
        self.drain();
        Some(())
    }

    /// An answer to the last question, with options from the story.
    fn answer(&mut self, what: u8, story: &mut Story<'_>) -> Option<()> {
        let kind = [MessageType::Offer, MessageType::Ack, MessageType::Nak][usize::from(what % 3)];
        let last = story.octet()?;
        let len = usize::from(story.octet()? % 64);
        let more = story.some(len);
        let question = self.question.as_ref()?;
        let mut reply = Repr::from_client(kind, question.xid, MAC);
        reply.yiaddr = Ipv4Addr::new(192, 0, 2, last);
        if what & 0x40 == 0 {
            reply.options.append(code::SERVER_ID, &[192, 0, 2, 1]);
        }
        let mut rest = more;
        while let [code, len, tail @ ..] = rest {
            let (value, tail) = tail.split_at(usize::from(*len).min(tail.len()));
            if !matches!(*code, code::PAD | code::END) {
                reply.options.append(*code, value);
            }
            rest = tail;
        }
        self.client.handle_datagram(
            self.now,
            SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 67),
            &reply.emit(),
        );
        Some(())
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.client.poll_transmit() {
            if let Transmit::Dhcp { payload, .. } = transmit {
                let message =
                    Packet::parse(&payload).and_then(|packet| Repr::parse(&packet)).expect("a message");
                if matches!(message.kind, MessageType::Discover | MessageType::Request) {
                    self.question = Some(message);
                }
            }
        }
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Bound(lease) => self.in_use = Some(lease.address),
                Event::Renewed(lease) => assert_eq!(self.in_use, Some(lease.address)),
                Event::Lost { address, .. } => assert_eq!(self.in_use.take(), Some(address)),
                Event::Conflict { by, .. } => assert_ne!(by, MAC),
                Event::Refused { .. } => panic!("no address is taken"),
            }
        }
    }

    fn check(&self) {
        let lease = self.client.lease();
        assert_eq!(lease.map(|lease| lease.address), self.in_use);
        let asking = self.client.state() == StateName::Rebooting;
        assert!(lease.is_none_or(|lease| lease.is_live(self.now)) || asking);
        assert!(self.client.poll_timeout().is_none_or(|due| due > self.now));
    }
}
