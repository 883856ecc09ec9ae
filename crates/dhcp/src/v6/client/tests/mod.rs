//! Transcripts: what goes out, what comes in, what the caller is told. Times are milliseconds since the start.

mod conflict;
mod extend;
mod hostile;
mod lease;
mod remember;
mod routers;
mod table;

use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use landline_types::Mac;

use super::{Client, Event, LossReason, StateName};
use crate::random::Random;
use crate::time::Instant;
use crate::v6::{Config, ConflictCheck, Duid, InterfaceId, Mode, Origin, Remembered, State6};
use crate::wire::dhcpv6::{self, IaAddress, IaNa, MessageType, Options, code, status};
use crate::wire::icmpv6::Message;
use crate::wire::ipv6::{self, Datagram, Packet};
use crate::wire::ra::{self, Preference, RouterAdvertisement};
use crate::wire::udp::Check;

const MAC: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);
const OTHER: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 99]);
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
/// The client's, of EUI-64 form.
const OWN_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x42, 0xc0ff, 0xfe00, 0x20a);
const OWN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0x42, 0xc0ff, 0xfe00, 0x20a);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ROUTER2: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const LEASED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0x10);
const SECOND: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0x20);
const DNS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53);
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

/// A message of neighbour discovery the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Nd {
    ms: u64,
    to: Mac,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    message: Message,
}

/// A DHCPv6 message the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    ms: u64,
    message: dhcpv6::Message,
}

impl Sent {
    /// The addresses of its association.
    fn addresses(&self) -> Vec<Ipv6Addr> {
        let associations: Vec<_> = self.message.options.associations().collect();
        assert!(associations.iter().all(|ia| ia.iaid == [0xc0, 0, 2, 10]), "always the same");
        associations.iter().flat_map(IaNa::addresses).map(|address| address.address).collect()
    }
}

struct Script {
    client: Client<Seeded>,
    now: Instant,
    nd: Vec<Nd>,
    sent: Vec<Sent>,
}

fn no_check(mode: Mode) -> Config {
    Config { mode, conflict_check: ConflictCheck::Off, ..Config::new(MAC) }
}

fn fast(mode: Mode) -> Config {
    Config { mode, ..Config::new(MAC) }
}

fn stable(mode: Mode) -> Config {
    let interface_id =
        InterfaceId::Stable { secret: vec![7; 32], interface: b"web".to_vec(), network: b"lan".to_vec() };
    Config { mode, interface_id, ..Config::new(MAC) }
}

fn at(ms: u64) -> Instant {
    START + Duration::from_millis(ms)
}

fn server(n: u8) -> Duid {
    Duid::from_mac(Mac::new([2, 0, 0, 0, 1, n]))
}

/// What a usual router says: `2001:db8:0:1::/64` on the link and for autoconfiguration, for a day and four hours.
fn advertisement() -> RouterAdvertisement {
    RouterAdvertisement {
        hop_limit: 64,
        lifetime: 1800,
        mtu: Some(1492),
        prefixes: vec![prefix("2001:db8:0:1::/64", 86_400, 14_400)],
        dns: vec![ra::Dns { lifetime: 1200, servers: vec![DNS] }],
        search: vec![ra::Search { lifetime: 1200, domains: vec!["lan".to_owned()] }],
        ..RouterAdvertisement::default()
    }
}

fn prefix(text: &str, valid: u32, preferred: u32) -> ra::Prefix {
    ra::Prefix { prefix: text.parse().expect("a prefix"), on_link: true, autonomous: true, valid, preferred }
}

fn managed() -> RouterAdvertisement {
    let mut said = RouterAdvertisement { managed: true, ..advertisement() };
    said.prefixes[0].autonomous = false;
    said
}

impl Script {
    fn start(config: Config) -> Self {
        Self::of(Client::start(config, None, START, Seeded(7)))
    }

    fn remember(config: Config, known: impl Into<Remembered>) -> Self {
        Self::of(Client::start(config, Some(known.into()), START, Seeded(7)))
    }

    fn of(client: Client<Seeded>) -> Self {
        let mut script = Self { client, now: START, nd: Vec::new(), sent: Vec::new() };
        script.drain();
        script
    }

    /// A client that has just been granted [`LEASED`] by the first server for so many seconds.
    fn bound(config: Config, preferred: u32, valid: u32) -> Self {
        let mut script = Self::start(config);
        script.run_to(script.ms() + 50);
        let solicit = script.message(MessageType::Solicit);
        script.reply(&solicit, &[(LEASED, preferred, valid)]);
        script.run_to(script.ms() + 50);
        assert_eq!(script.client.state(), StateName::Bound);
        script.events();
        script.nd.clear();
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
            let bytes = transmit.to_packet();
            let packet = Packet::parse(&bytes).expect("a packet");
            let to = transmit.link_destination();
            if packet.next_header == ipv6::ICMP {
                assert_eq!(packet.hop_limit, 255);
                let message = Message::parse(packet.src, packet.dst, packet.payload, Check::Verify);
                let message = message.expect("a message");
                self.nd.push(Nd { ms, to, src: packet.src, dst: packet.dst, message });
            } else {
                let datagram = Datagram::parse(&packet, Check::Verify).expect("a datagram");
                assert_eq!((datagram.src_port, datagram.dst_port), (546, 547));
                assert_eq!(
                    (packet.dst, to.to_string().as_str()),
                    (ipv6::ALL_DHCP_SERVERS, "33:33:00:01:00:02")
                );
                assert!(packet.src.is_unicast_link_local());
                let message = dhcpv6::Message::parse(datagram.payload).expect("a message");
                let from = message.options.duid(code::CLIENT_ID);
                assert_eq!(from, Some(Duid::from_mac(MAC)), "in every message");
                self.sent.push(Sent { ms, message });
            }
        }
        assert!(self.client.poll_timeout().is_none_or(|due| due > self.now), "something due was not done");
    }

    /// The one DHCPv6 message that was sent.
    fn message(&mut self, kind: MessageType) -> Sent {
        let mut sent = std::mem::take(&mut self.sent);
        assert_eq!(sent.iter().map(|s| s.message.kind).collect::<Vec<_>>(), [kind]);
        sent.remove(0)
    }

    /// The kinds of all DHCPv6 messages that were sent.
    fn kinds(&mut self) -> Vec<MessageType> {
        std::mem::take(&mut self.sent).iter().map(|s| s.message.kind).collect()
    }

    /// When DHCPv6 messages were sent.
    fn times(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.sent).iter().map(|s| s.ms).collect()
    }

    fn nd(&mut self) -> Vec<Nd> {
        std::mem::take(&mut self.nd)
    }

    /// When, and from where, routers were asked.
    fn solicitations(&mut self) -> Vec<(u64, Ipv6Addr)> {
        let asked =
            |nd: &Nd| matches!(nd.message, Message::RouterSolicitation { .. }).then_some((nd.ms, nd.src));
        self.nd().iter().filter_map(asked).collect()
    }

    /// When an address was probed.
    fn probes(&mut self, address: Ipv6Addr) -> Vec<u64> {
        let probe = |nd: &Nd| matches!(nd.message, Message::NeighbourSolicitation { target, .. } if target == address);
        self.nd().iter().filter(|nd| probe(nd)).map(|nd| nd.ms).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// The state that was told last, if there was nothing but setups.
    fn changed(&mut self) -> State6 {
        let events = self.events();
        assert!(events.iter().all(|event| matches!(event, Event::Changed(_))), "{events:#?}");
        let Some(Event::Changed(state)) = events.last() else { panic!("nothing changed") };
        assert_eq!(state, self.client.current());
        state.clone()
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.client.current().addresses.iter().map(|address| address.net.addr()).collect()
    }

    /// A message of neighbour discovery comes in.
    fn hear(&mut self, src: Ipv6Addr, dst: Ipv6Addr, message: &Message) {
        self.hear_from(OTHER, src, dst, message);
    }

    /// The same, in a frame of this machine.
    fn hear_from(&mut self, frame_source: Mac, src: Ipv6Addr, dst: Ipv6Addr, message: &Message) {
        let payload = message.emit(src, dst);
        let packet = Packet { src, dst, hop_limit: 255, next_header: ipv6::ICMP, payload: &payload };
        self.client.handle_packet(self.now, frame_source, &packet.emit(), Check::Verify);
        self.drain();
    }

    fn advertise(&mut self, router: Ipv6Addr, said: &RouterAdvertisement) {
        self.hear(router, ipv6::ALL_NODES, &Message::RouterAdvertisement(said.clone()));
    }

    /// A neighbour says that an address is at `mac`.
    fn claim(&mut self, address: Ipv6Addr, mac: Mac) {
        let claim = Message::NeighbourAdvertisement {
            target: address,
            target_mac: Some(mac),
            router: false,
            solicited: false,
            overrides: true,
        };
        self.hear(address, ipv6::ALL_NODES, &claim);
    }

    fn receive(&mut self, message: &dhcpv6::Message) {
        let from = SocketAddrV6::new(ROUTER, 547, 0, 0);
        let bytes = ipv6::emit_udp(from, SocketAddrV6::new(OWN_LINK, 546, 0, 0), 64, &message.emit());
        self.client.handle_packet(self.now, OTHER, &bytes, Check::Verify);
        self.drain();
    }

    /// The first server grants these: address, preferred and valid seconds.
    fn reply(&mut self, to: &Sent, addresses: &[(Ipv6Addr, u32, u32)]) {
        self.receive(&answer(MessageType::Reply, to, 1, addresses));
    }
}

/// An answer of the n-th server with these addresses in the association, T1 and T2 left to the client.
fn answer(kind: MessageType, to: &Sent, n: u8, addresses: &[(Ipv6Addr, u32, u32)]) -> dhcpv6::Message {
    let mut association = IaNa::asking([0xc0, 0, 2, 10], []);
    for &(address, preferred, valid) in addresses {
        let address = IaAddress { address, preferred, valid, options: Options::new() };
        association.options.push(code::IA_ADDRESS, &address.value());
    }
    let mut answer = bare(kind, to, n);
    answer.options.push(code::IA_NA, &association.value());
    answer.options.push(code::DNS, &DNS.octets());
    if to.message.options.get(code::RAPID_COMMIT).is_some() && kind == MessageType::Reply {
        answer.options.push(code::RAPID_COMMIT, &[]);
    }
    answer
}

/// An answer of the n-th server with nothing in it.
fn bare(kind: MessageType, to: &Sent, n: u8) -> dhcpv6::Message {
    let mut answer = dhcpv6::Message::new(kind, to.message.xid);
    let client = to.message.options.get(code::CLIENT_ID).expect("a client");
    answer.options.push(code::CLIENT_ID, client);
    answer.options.push(code::SERVER_ID, server(n).as_bytes());
    answer
}

/// An answer whose association has this status.
fn refused(to: &Sent, n: u8, code: u16) -> dhcpv6::Message {
    let mut association = IaNa::asking([0xc0, 0, 2, 10], []);
    association.options.push(code::STATUS, &code.to_be_bytes());
    let mut answer = bare(MessageType::Reply, to, n);
    answer.options.push(code::IA_NA, &association.value());
    answer
}

/// An answer with this status.
fn with_status(kind: MessageType, to: &Sent, n: u8, code: u16) -> dhcpv6::Message {
    let mut answer = bare(kind, to, n);
    answer.options.push(code::STATUS, &code.to_be_bytes());
    answer
}
