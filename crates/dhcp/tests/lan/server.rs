//! DHCP servers, as different as real ones are.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::Range;

use landline_dhcp::wire::dhcpv4::{INFINITE, MessageType, Packet, Repr, code};

use super::{HOUR, Micros, SECOND, address};

type Key = Vec<u8>;

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a way servers differ")]
pub(crate) struct Server {
    pub(crate) id: Ipv4Addr,
    pub(crate) up: bool,
    pub(crate) lease_secs: u32,
    /// Grants what it has no record of, if it is free: its memory may have been lost.
    pub(crate) trusting: bool,
    /// Refuses what it has no record of, other servers' leases and clients too.
    pub(crate) rude: bool,
    pub(crate) rapid: bool,
    /// Repeats the client identifier in its answers (RFC 6842).
    pub(crate) repeats_id: bool,
    pool: Range<u8>,
    leases: HashMap<Ipv4Addr, (Key, Micros)>,
    offered: HashMap<Ipv4Addr, (Key, Micros)>,
    declined: HashMap<Ipv4Addr, Micros>,
    /// Until when each client has been granted each address, as far as was ever said.
    pub(crate) granted: HashMap<(Key, Ipv4Addr), Micros>,
}

impl Server {
    pub(crate) fn new(last: u8, pool: Range<u8>, lease_secs: u32) -> Self {
        Self {
            id: address(last),
            up: true,
            lease_secs,
            trusting: false,
            rude: false,
            rapid: false,
            repeats_id: false,
            pool,
            leases: HashMap::new(),
            offered: HashMap::new(),
            declined: HashMap::new(),
            granted: HashMap::new(),
        }
    }

    /// Loses its memory.
    pub(crate) fn wipe(&mut self) {
        self.leases.clear();
        self.offered.clear();
    }

    /// Moves everybody elsewhere: present leases will not be extended.
    pub(crate) fn renumber(&mut self, pool: Range<u8>) {
        self.pool = pool;
    }

    /// Its answer to a message, if it has one.
    pub(crate) fn answer(&mut self, now: Micros, payload: &[u8]) -> Option<Repr> {
        let message = Repr::parse(&Packet::parse(payload)?)?;
        let key = message
            .options
            .get(code::CLIENT_ID)
            .map_or_else(|| message.mac.octets().to_vec(), <[u8]>::to_vec);
        let named = message.options.ipv4(code::SERVER_ID);
        let requested = message.options.ipv4(code::REQUESTED_ADDRESS);
        match message.kind {
            MessageType::Discover => {
                let address = self.choose(now, &key, requested)?;
                if self.rapid && message.options.get(code::RAPID_COMMIT).is_some() {
                    let mut ack = self.ack(now, &message, key, address);
                    ack.options.append(code::RAPID_COMMIT, &[]);
                    return Some(ack);
                }
                self.offered.insert(address, (key, now + 30 * SECOND));
                Some(self.grant(MessageType::Offer, &message, address))
            }
            MessageType::Request => match (named, requested) {
                (Some(server), _) if server != self.id => self.rude.then(|| self.nak(&message)),
                (Some(_), Some(requested)) => Some(self.decide(now, &message, key, requested, true)?),
                (Some(_), None) => None,
                (None, Some(requested)) => self.decide(now, &message, key, requested, false),
                (None, None) => self.decide(now, &message, key, message.ciaddr, false),
            },
            MessageType::Decline => {
                if let Some(address) = requested.filter(|_| named == Some(self.id)) {
                    self.leases.remove(&address);
                    self.declined.insert(address, now + HOUR);
                }
                None
            }
            MessageType::Release => {
                if self.leases.get(&message.ciaddr).is_some_and(|(owner, _)| *owner == key) {
                    self.leases.remove(&message.ciaddr);
                }
                None
            }
            MessageType::Inform | MessageType::Offer | MessageType::Ack | MessageType::Nak => None,
        }
    }

    fn in_pool(&self, address: Ipv4Addr) -> bool {
        address.octets()[..3] == [198, 51, 100] && self.pool.contains(&address.octets()[3])
    }

    fn is_free(&self, now: Micros, key: &Key, address: Ipv4Addr) -> bool {
        let anothers = |table: &HashMap<Ipv4Addr, (Key, Micros)>| {
            table.get(&address).is_some_and(|(owner, until)| owner != key && *until > now)
        };
        let declined = self.declined.get(&address).is_some_and(|until| *until > now);
        self.in_pool(address) && !declined && !anothers(&self.leases) && !anothers(&self.offered)
    }

    fn choose(&self, now: Micros, key: &Key, requested: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let known =
            self.leases.iter().filter(|(_, (owner, _))| owner == key).map(|(address, _)| *address).min();
        let all = self.pool.clone().map(address);
        known.into_iter().chain(requested).chain(all).find(|&address| self.is_free(now, key, address))
    }

    /// ACK, NAK or silence.
    fn decide(&mut self, now: Micros, to: &Repr, key: Key, address: Ipv4Addr, named: bool) -> Option<Repr> {
        let known = self.leases.get(&address).is_some_and(|(owner, _)| *owner == key);
        if self.is_free(now, &key, address) && (known || named || self.trusting) {
            return Some(self.ack(now, to, key, address));
        }
        let recorded = self.leases.get(&address).is_some_and(|(_, until)| *until > now);
        (named || known || recorded || self.rude).then(|| self.nak(to))
    }

    fn ack(&mut self, now: Micros, to: &Repr, key: Key, address: Ipv4Addr) -> Repr {
        let until = match self.lease_secs {
            INFINITE => u64::MAX,
            secs => now + u64::from(secs) * SECOND,
        };
        let ever = self.granted.entry((key.clone(), address)).or_default();
        *ever = until.max(*ever);
        self.offered.remove(&address);
        self.leases.insert(address, (key, until));
        self.grant(MessageType::Ack, to, address)
    }

    fn grant(&self, kind: MessageType, to: &Repr, address: Ipv4Addr) -> Repr {
        let mut reply = self.reply(kind, to);
        reply.yiaddr = address;
        reply.options.append(code::SUBNET_MASK, &[255, 255, 255, 0]);
        reply.options.append(code::LEASE_TIME, &self.lease_secs.to_be_bytes());
        reply
    }

    fn nak(&self, to: &Repr) -> Repr {
        self.reply(MessageType::Nak, to)
    }

    fn reply(&self, kind: MessageType, to: &Repr) -> Repr {
        let mut reply = Repr::from_client(kind, to.xid, to.mac);
        reply.broadcast = to.broadcast;
        reply.options.append(code::SERVER_ID, &self.id.octets());
        if let Some(id) = to.options.get(code::CLIENT_ID).filter(|_| self.repeats_id) {
            reply.options.append(code::CLIENT_ID, id);
        }
        reply
    }
}
