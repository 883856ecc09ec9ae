//! DHCP and ARP on the LAN.

#[path = "../../../dhcp/tests/lan/server.rs"]
#[allow(dead_code, reason = "the simulator uses all of it")]
mod server;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use landline_dhcp::v4::Transmit;
use landline_dhcp::wire::arp;
use landline_dhcp::wire::dhcpv4::{MessageType, Packet, Repr};
use landline_types::Mac;
use tokio::sync::mpsc::UnboundedSender;

use super::{HOUR, Listener, Micros, SECOND, Socket, receive, say};
use crate::sockets::{Arp, Claims, Dhcp4, Next, Received, Stations};
use server::Server;

/// The server's hardware address.
const SERVER: Mac = Mac::new([2, 0, 0, 0, 4, 1]);

/// An address of the LAN, which is 198.51.100.0/24.
pub(super) fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

/// Who is there.
pub struct Lan4 {
    server: Server,
    /// Others, who have these addresses.
    squatters: BTreeMap<Ipv4Addr, Mac>,
    pub(super) inboxes: Vec<UnboundedSender<Received>>,
    pub(super) watchers: Vec<UnboundedSender<arp::Packet>>,
    pub(super) stations: Vec<UnboundedSender<arp::Heard>>,
    pub(super) askers: Vec<UnboundedSender<arp::Heard>>,
    /// A router that answers for all.
    proxy: Option<Mac>,
    heard: Vec<MessageType>,
    /// How many ARP probes there were.
    probes: usize,
}

impl Lan4 {
    pub(super) fn new() -> Self {
        Self {
            server: Server::new(1, 10..60, 600),
            squatters: BTreeMap::new(),
            inboxes: Vec::new(),
            watchers: Vec::new(),
            stations: Vec::new(),
            askers: Vec::new(),
            proxy: None,
            heard: Vec::new(),
            probes: 0,
        }
    }

    /// The server answers, or is away.
    pub fn serve(&mut self, up: bool) {
        self.server.up = up;
    }

    /// The server loses its memory.
    pub fn forget(&mut self) {
        self.server.wipe();
    }

    /// The server refuses what it has no record of.
    pub fn be_strict(&mut self) {
        self.server.rude = true;
    }

    /// The server gives addresses from here on, and extends no others.
    pub fn renumber(&mut self, from: u8) {
        self.server.renumber(from..from + 40);
    }

    /// How long its leases are.
    pub fn lease_for(&mut self, seconds: u32) {
        self.server.lease_secs = seconds;
    }

    /// The hardware address of the machine that would have this address of the LAN.
    pub fn squatter(&self, last: u8) -> Mac {
        Mac::new([2, 0, 0, 0, 9, last])
    }

    /// How many sockets on parents listen for claims.
    pub fn listeners(&mut self) -> usize {
        self.watchers.retain(|watcher| !watcher.is_closed());
        self.watchers.len()
    }

    /// Another host with this hardware address has this address.
    pub fn squat_as(&mut self, address: Ipv4Addr, mac: Mac) {
        self.squatters.insert(address, mac);
    }

    /// The other host with this address is gone.
    pub fn leave(&mut self, address: Ipv4Addr) {
        self.squatters.remove(&address);
    }

    /// Another machine has the address and says so to all.
    pub fn squat(&mut self, address: Ipv4Addr) {
        let mac = self.squatter(address.octets()[3]);
        self.squatters.insert(address, mac);
        self.claim(address, mac);
    }

    /// What this machine announces comes in from the LAN.
    pub fn hear(&mut self, address: Ipv4Addr, mac: Mac) {
        let packet = arp::Packet::announcement(mac, address);
        say(&mut self.stations, &arp::Heard { packet, frame_source: mac, to_all: true });
    }

    /// Another machine has the address, with this hardware address, and says so.
    pub fn twin(&mut self, address: Ipv4Addr, mac: Mac) {
        self.squatters.insert(address, mac);
        self.hear(address, mac);
    }

    /// A router answers for every address.
    pub fn answer_for_all(&mut self) {
        self.proxy = Some(SERVER);
    }

    /// How many messages of this kind clients have sent.
    pub fn sent(&self, kind: MessageType) -> usize {
        self.heard.iter().filter(|heard| **heard == kind).count()
    }

    /// How many ARP probes clients have sent.
    pub fn probes(&self) -> usize {
        self.probes
    }

    /// The links that sockets are open on go down, as those do that are moved.
    pub fn unplug(&mut self) {
        self.inboxes.clear();
    }

    fn claim(&mut self, address: Ipv4Addr, mac: Mac) {
        let packet = arp::Packet::announcement(mac, address);
        let heard = arp::Heard { packet, frame_source: mac, to_all: true };
        say(&mut self.watchers, &packet);
        say(&mut self.askers, &heard);
        say(&mut self.inboxes, &Received::Arp(heard));
    }

    fn transmit(&mut self, now: Micros, transmit: &Transmit) {
        match transmit {
            Transmit::Arp(packet) if packet.target_ip == self.server.id => self.claim(self.server.id, SERVER),
            Transmit::Arp(packet) => self.probe(packet),
            Transmit::Dhcp { payload, .. } => self.ask(now, payload),
        }
    }

    fn probe(&mut self, packet: &arp::Packet) {
        self.probes += usize::from(packet.sender_ip.is_unspecified());
        let user = self.squatters.get(&packet.target_ip).copied().or(self.proxy);
        if let Some(mac) = user {
            let answer = arp::Packet::announcement(mac, packet.target_ip);
            say(&mut self.stations, &arp::Heard { packet: answer, frame_source: mac, to_all: false });
            self.claim(packet.target_ip, mac);
        }
    }

    fn ask(&mut self, now: Micros, payload: &[u8]) {
        self.heard.extend(Packet::parse(payload).and_then(|packet| Repr::parse(&packet)).map(|m| m.kind));
        let from = SocketAddrV4::new(self.server.id, 67);
        if self.server.up
            && let Some(answer) = self.server.answer(now, payload)
        {
            say(&mut self.inboxes, &Received::Datagram { from, payload: answer.emit() });
        }
    }
}

impl Dhcp4 for Socket<Received> {
    fn send(&mut self, transmit: &Transmit) -> io::Result<()> {
        let now = self.lan.now();
        self.lan.four(|lan| lan.transmit(now, transmit));
        Ok(())
    }

    fn send_to(&self, _to: Mac, _src: Ipv4Addr, _dst: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        let now = self.lan.now();
        self.lan.four(|lan| lan.ask(now, payload));
        Ok(())
    }

    fn routes(&self) -> bool {
        false
    }

    fn receive(&self) -> Next<'_, Received> {
        receive(&self.inbox)
    }
}

impl Arp for Socket<arp::Heard> {
    fn send(&self, packet: &arp::Packet) -> io::Result<()> {
        self.lan.four(|lan| lan.probe(packet));
        Ok(())
    }

    fn receive(&self) -> Next<'_, arp::Heard> {
        receive(&self.inbox)
    }
}

impl Stations for Listener<arp::Heard> {
    fn watch(&self, _own: &[Mac]) -> io::Result<()> {
        Ok(())
    }

    fn receive(&self) -> Next<'_, arp::Heard> {
        receive(&self.0)
    }
}

impl Claims for Listener<arp::Packet> {
    fn watch(&self, _own: &[(Ipv4Addr, Mac)]) -> io::Result<()> {
        Ok(())
    }

    fn receive(&self) -> Next<'_, arp::Packet> {
        receive(&self.0)
    }
}
