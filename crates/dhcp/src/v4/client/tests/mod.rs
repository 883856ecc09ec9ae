//! Transcripts: what goes out, what comes in, what the caller is told. Times are milliseconds since the start.

mod acquire;
mod conflict;
mod extend;
mod hostile;
mod refuse;
mod remember;
mod table;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use landline_types::Mac;

use super::{Client, Event, LossReason, StateName, Transmit, Unusable};
use crate::random::Random;
use crate::time::Instant;
use crate::v4::{Config, ConflictCheck, Lease, Remembered};
use crate::wire::arp;
use crate::wire::dhcpv4::{MessageType, Packet, Repr, code};

const MAC: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);
const OTHER: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 99]);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const ALL: Ipv4Addr = Ipv4Addr::BROADCAST;
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
/// When the scripts begin.
const START: Instant = Instant::from_boot(Duration::from_secs(100_000));

/// A small generator (xorshift32), so that a test is the same every time.
#[derive(Debug, Clone)]
struct Seeded(u32);

impl Random for Seeded {
    fn next_u32(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

/// A DHCP message the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    message: Repr,
}

impl Sent {
    fn address(&self, option: u8) -> Option<Ipv4Addr> {
        self.message.options.ipv4(option)
    }
}

struct Script {
    client: Client<Seeded>,
    now: Instant,
    /// ARP packets that were sent and not looked at yet, with when.
    arps: Vec<(u64, arp::Packet)>,
    sent: Vec<Sent>,
}

fn no_check() -> Config {
    Config { conflict_check: ConflictCheck::Off, ..Config::new(MAC) }
}

fn at(ms: u64) -> Instant {
    START + Duration::from_millis(ms)
}

impl Script {
    fn start(config: Config) -> Self {
        Self::of(Client::start(config, None, START, Seeded(7)))
    }

    fn remember(config: Config, known: impl Into<Remembered>) -> Self {
        Self::of(Client::start(config, Some(known.into()), START, Seeded(7)))
    }

    fn of(client: Client<Seeded>) -> Self {
        let mut script = Self { client, now: START, arps: Vec::new(), sent: Vec::new() };
        script.drain();
        script
    }

    /// A client that has just been granted [`ADDRESS`] by [`SERVER`] for so many seconds.
    fn bound(config: Config, seconds: u32) -> Self {
        let mut script = Self::start(config);
        let discover = script.message(MessageType::Discover);
        script.offer(&discover, SERVER, ADDRESS, seconds);
        let request = script.message(MessageType::Request);
        script.ack(&request, SERVER, ADDRESS, seconds);
        script.run_to(script.ms() + 30);
        assert!(matches!(script.events()[..], [Event::Bound(_)]));
        assert_eq!(script.client.state(), StateName::Bound);
        script
    }

    fn ms(&self) -> u64 {
        u64::try_from(self.now.saturating_since(START).as_millis()).expect("short tests")
    }

    /// Lets time pass, with a call at each deadline.
    fn run_to(&mut self, ms: u64) {
        while let Some(due) = self.client.poll_timeout().filter(|&due| due <= at(ms)) {
            assert!(due > self.now, "a deadline that has passed: {due:?} at {:?}", self.now);
            self.now = due;
            self.client.handle_timeout(due);
            self.drain();
        }
        self.now = at(ms);
    }

    /// Sleeps: time passes, and nobody calls until then.
    fn sleep_to(&mut self, ms: u64) {
        self.now = at(ms);
        self.client.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        let ms = self.ms();
        while let Some(transmit) = self.client.poll_transmit() {
            match transmit {
                Transmit::Arp(packet) => self.arps.push((ms, packet)),
                Transmit::Dhcp { src, dst, payload } => {
                    let packet = Packet::parse(&payload).expect("a DHCP packet");
                    let message = Repr::parse(&packet).expect("a DHCP message");
                    self.sent.push(Sent { src, dst, message });
                }
            }
        }
        assert!(self.client.poll_timeout().is_none_or(|due| due > self.now), "something due was not done");
    }

    /// The one message that was sent.
    fn message(&mut self, kind: MessageType) -> Sent {
        let mut sent = std::mem::take(&mut self.sent);
        assert_eq!(sent.iter().map(|s| s.message.kind).collect::<Vec<_>>(), [kind]);
        sent.remove(0)
    }

    /// The kinds of all messages that were sent.
    fn kinds(&mut self) -> Vec<MessageType> {
        std::mem::take(&mut self.sent).iter().map(|s| s.message.kind).collect()
    }

    fn arps(&mut self) -> Vec<(u64, arp::Packet)> {
        std::mem::take(&mut self.arps)
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    fn offer(&mut self, to: &Sent, server: Ipv4Addr, address: Ipv4Addr, seconds: u32) {
        self.receive(&reply(MessageType::Offer, to, server, address, seconds));
    }

    fn ack(&mut self, to: &Sent, server: Ipv4Addr, address: Ipv4Addr, seconds: u32) {
        self.receive(&reply(MessageType::Ack, to, server, address, seconds));
    }

    fn nak(&mut self, to: &Sent, server: Ipv4Addr) {
        self.receive(&reply(MessageType::Nak, to, server, ANY, 0));
    }

    fn receive(&mut self, reply: &Repr) {
        let server = reply.options.ipv4(code::SERVER_ID).unwrap_or(SERVER);
        self.client.handle_datagram(self.now, SocketAddrV4::new(server, 67), &reply.emit());
        self.drain();
    }

    fn arp(&mut self, packet: &arp::Packet) {
        self.client.handle_arp(self.now, packet);
        self.drain();
    }
}

fn reply(kind: MessageType, to: &Sent, server: Ipv4Addr, address: Ipv4Addr, seconds: u32) -> Repr {
    let mut reply = Repr::from_client(kind, to.message.xid, to.message.mac);
    reply.yiaddr = address;
    reply.options.append(code::SERVER_ID, &server.octets());
    if kind != MessageType::Nak {
        reply.options.append(code::SUBNET_MASK, &[255, 255, 255, 0]);
        reply.options.append(code::ROUTERS, &SERVER.octets());
        reply.options.append(code::LEASE_TIME, &seconds.to_be_bytes());
    }
    reply
}

/// A lease of [`ADDRESS`] from [`SERVER`] with these times in seconds since the start; negative: before it.
fn lease(obtained: i64, t1: i64, t2: i64, expires: i64) -> Lease {
    let point = |secs: i64| {
        let secs = START.since_boot().as_secs().checked_add_signed(secs).expect("after boot");
        Instant::from_boot(Duration::from_secs(secs))
    };
    Lease {
        address: ADDRESS,
        prefix_len: 24,
        server: SERVER,
        obtained: point(obtained),
        t1: Some(point(t1)),
        t2: Some(point(t2)),
        expires: Some(point(expires)),
        options: crate::v4::LeaseOptions::default(),
    }
}

fn lost(reason: LossReason) -> Event {
    Event::Lost { address: ADDRESS, reason }
}
