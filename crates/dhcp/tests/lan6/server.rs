//! A `DHCPv6` server with a small pool and short leases.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddrV6};

use landline_dhcp::wire::dhcpv6::{
    CLIENT_PORT, Duid, IaAddress, IaNa, Message, MessageType, Options, SERVER_PORT, code, status,
};
use landline_dhcp::wire::icmpv6::Message as Nd;
use landline_dhcp::wire::ipv6::{self, Datagram, Packet, solicited_node};
use landline_dhcp::wire::udp::Check;
use landline_types::Mac;

use super::gateway::{discovery, frame};
use super::{Frame, Micros, SECOND, leased, link_local, mac};

const SERVER: u8 = 2;
const POOL: u8 = 40;
const PREFERRED: u32 = 200;
const VALID: u32 = 300;

/// How often it looks for a client before it drops what it has for it.
const SEARCHES: u8 = 3;

/// What it gives.
pub(crate) fn pool() -> impl Iterator<Item = Ipv6Addr> {
    (1..=POOL).map(leased)
}

pub(crate) struct Server {
    duid: Duid,
    /// Whether it takes Solicits with rapid commit.
    rapid: bool,
    leases: BTreeMap<Ipv6Addr, (Duid, Micros)>,
    /// Everything it ever granted: what it forgets others do not.
    pub(crate) granted: BTreeMap<(Ipv6Addr, Duid), Micros>,
    declined: Vec<Ipv6Addr>,
    /// Where clients are.
    neighbours: BTreeMap<Ipv6Addr, Mac>,
    /// Answers that wait for that: to whom, what, how often searched, when again.
    waiting: Vec<(Ipv6Addr, Vec<u8>, u8, Micros)>,
    pub(crate) declines: u32,
    pub(crate) identities: BTreeMap<Mac, (Duid, [u8; 4])>,
}

impl Server {
    pub(crate) fn new(rapid: bool) -> Self {
        Self {
            duid: Duid::from_mac(mac(SERVER)),
            rapid,
            leases: BTreeMap::new(),
            granted: BTreeMap::new(),
            declined: Vec::new(),
            neighbours: BTreeMap::new(),
            waiting: Vec::new(),
            declines: 0,
            identities: BTreeMap::new(),
        }
    }

    /// Loses its memory.
    pub(crate) fn forget(&mut self) {
        self.leases.clear();
        self.declined.clear();
        self.neighbours.clear();
    }

    pub(crate) fn due(&self) -> Option<Micros> {
        self.waiting.iter().map(|(.., due)| *due).min()
    }

    /// Looks again for clients it has answers for.
    pub(crate) fn tick(&mut self, now: Micros) -> Vec<Frame> {
        self.waiting.retain(|(_, _, searches, due)| *due > now || *searches < SEARCHES);
        let mut out = Vec::new();
        for (client, _, searches, due) in &mut self.waiting {
            if *due <= now {
                (*searches, *due) = (*searches + 1, now + SECOND);
                out.push(search(*client));
            }
        }
        out
    }

    pub(crate) fn receive(&mut self, now: Micros, received: &Frame) -> Vec<Frame> {
        if let Some((_, message)) = discovery(received) {
            return self.hear(&message);
        }
        let Some(packet) = Packet::parse(&received.packet) else { return Vec::new() };
        let datagram = Datagram::parse(&packet, Check::Verify).expect("what nodes here send is well formed");
        if datagram.dst_port != SERVER_PORT {
            return Vec::new();
        }
        let message = Message::parse(datagram.payload).expect("a message");
        self.identify(received.from, &message);
        let Some(answer) = self.answer(now, &message) else { return Vec::new() };
        let from = SocketAddrV6::new(link_local(SERVER), SERVER_PORT, 0, 0);
        let to = SocketAddrV6::new(packet.src, CLIENT_PORT, 0, 0);
        let answer = ipv6::emit_udp(from, to, 64, &answer.emit());
        if let Some(&to) = self.neighbours.get(&packet.src) {
            return vec![Frame { from: mac(SERVER), to, packet: answer }];
        }
        self.waiting.push((packet.src, answer, 1, now + SECOND));
        vec![search(packet.src)]
    }

    /// A client says where it is.
    fn hear(&mut self, message: &Nd) -> Vec<Frame> {
        let Nd::NeighbourAdvertisement { target, target_mac: Some(at), .. } = message else {
            return Vec::new();
        };
        if !target.is_unicast_link_local() {
            return Vec::new();
        }
        self.neighbours.insert(*target, *at);
        let (known, unknown) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(to, ..)| to == target);
        self.waiting = unknown;
        let known: Vec<_> = known;
        known.into_iter().map(|(_, packet, ..)| Frame { from: mac(SERVER), to: *at, packet }).collect()
    }

    /// The same in every message of a host.
    fn identify(&mut self, from: Mac, message: &Message) {
        let duid = message.options.duid(code::CLIENT_ID).expect("in every message");
        if let Some(association) = message.options.associations().next() {
            let first = self.identities.entry(from).or_insert_with(|| (duid.clone(), association.iaid));
            assert_eq!(*first, (duid, association.iaid), "another identity");
        }
    }

    fn answer(&mut self, now: Micros, message: &Message) -> Option<Message> {
        let options = &message.options;
        let client = options.duid(code::CLIENT_ID)?;
        if options.duid(code::SERVER_ID).is_some_and(|server| server != self.duid) {
            return None;
        }
        let rapid = self.rapid && options.get(code::RAPID_COMMIT).is_some();
        let kind = match message.kind {
            MessageType::Solicit if !rapid => MessageType::Advertise,
            _ => MessageType::Reply,
        };
        let mut answer = Message::new(kind, message.xid);
        answer.options.push(code::CLIENT_ID, client.as_bytes());
        answer.options.push(code::SERVER_ID, self.duid.as_bytes());
        answer.options.push(code::SOL_MAX_RT, &60_u32.to_be_bytes());
        let association = options.associations().next();
        let asked: Vec<_> =
            association.iter().flat_map(IaNa::addresses).map(|address| address.address).collect();
        match message.kind {
            MessageType::Solicit | MessageType::Request => {
                let grants = kind == MessageType::Reply;
                let address = self.choose(now, &client, &asked);
                self.push(&mut answer, association?.iaid, address, now, &client, grants);
                if rapid && grants {
                    answer.options.push(code::RAPID_COMMIT, &[]);
                }
            }
            MessageType::Renew | MessageType::Rebind => {
                let own = asked.iter().copied().find(|address| self.holds(now, &client, *address));
                if own.is_none() && message.kind == MessageType::Rebind {
                    return None;
                }
                self.push(&mut answer, association?.iaid, own.ok_or(status::NO_BINDING), now, &client, true);
            }
            MessageType::Confirm => push_status(&mut answer.options, status::SUCCESS),
            MessageType::Release => {
                self.leases.retain(|address, (holder, _)| *holder != client || !asked.contains(address));
                push_status(&mut answer.options, status::SUCCESS);
            }
            MessageType::Decline => {
                self.declines += 1;
                self.declined.extend(&asked);
                self.leases.retain(|address, _| !asked.contains(address));
                push_status(&mut answer.options, status::SUCCESS);
            }
            _ => return None,
        }
        Some(answer)
    }

    fn push(
        &mut self,
        answer: &mut Message,
        iaid: [u8; 4],
        address: Result<Ipv6Addr, u16>,
        now: Micros,
        client: &Duid,
        grants: bool,
    ) {
        let mut association = IaNa::asking(iaid, []);
        match address {
            Ok(address) => {
                let value =
                    IaAddress { address, preferred: PREFERRED, valid: VALID, options: Options::new() };
                association.options.push(code::IA_ADDRESS, &value.value());
                if grants {
                    let end = now + u64::from(VALID) * SECOND;
                    self.leases.insert(address, (client.clone(), end));
                    self.granted.insert((address, client.clone()), end);
                }
            }
            Err(code) => push_status(&mut association.options, code),
        }
        answer.options.push(code::IA_NA, &association.value());
    }

    fn holds(&self, now: Micros, client: &Duid, address: Ipv6Addr) -> bool {
        self.leases.get(&address).is_some_and(|(holder, end)| holder == client && *end > now)
    }

    /// What it had, else what it requests, else the first that is free.
    fn choose(&self, now: Micros, client: &Duid, requested: &[Ipv6Addr]) -> Result<Ipv6Addr, u16> {
        let free = |address: &Ipv6Addr| {
            let used = self.leases.get(address).is_some_and(|(holder, end)| holder != client && *end > now);
            !used && !self.declined.contains(address)
        };
        let own = pool().filter(free).find(|address| self.holds(now, client, *address));
        let asked = || pool().filter(free).find(|address| requested.contains(address));
        own.or_else(asked).or_else(|| pool().find(free)).ok_or(status::NO_ADDRESSES)
    }
}

fn search(client: Ipv6Addr) -> Frame {
    let question = Nd::NeighbourSolicitation { target: client, source_mac: Some(mac(SERVER)), nonce: None };
    frame(SERVER, link_local(SERVER), solicited_node(client), &question)
}

fn push_status(options: &mut Options, code: u16) {
    options.push(code::STATUS, &code.to_be_bytes());
}
