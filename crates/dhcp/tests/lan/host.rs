//! A host on the LAN: a container's link, its client, and a caller that does what the client says.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::OnceLock;

use landline_dhcp::v4::{
    Client, Config, ConflictCheck, Event, Lease, LossReason, Remembered, StateName, Transmit,
};
use landline_dhcp::wire::arp;
use landline_dhcp::wire::dhcpv4::{MessageType, Packet, Repr, code};
use landline_types::Mac;

use super::audit::{Audit, Violation, broken};
use super::bugs::{self, Bug};
use super::report::Report;
use super::rng::Rng;
use super::server::Server;
use super::{Frame, Micros, SECOND, instant, micros};

pub(crate) struct Host {
    pub(crate) mac: Mac,
    config: Config,
    /// `None` while the program is down.
    client: Option<Client<Rng>>,
    /// What the program wrote down.
    stored: Option<Lease>,
    /// What is configured on the link, whether the program runs or not.
    in_use: Option<Ipv4Addr>,
    /// Nobody runs until then.
    pub(crate) asleep_until: Option<Micros>,
    awake_since: Micros,
    /// Microseconds slept in all, which a wrong clock does not see.
    slept: Micros,
    pub(crate) linked: bool,
    bug: Option<Bug>,
    pub(crate) audit: Audit,
    /// A question of the impatient, and when it is repeated.
    nagging: Option<(Micros, Transmit)>,
    /// When the last address was lost, and why.
    pub(crate) last_loss: Option<(Micros, LossReason)>,
    names: u32,
}

/// What came out of a call.
#[derive(Default)]
struct Outcome {
    frames: Vec<Frame>,
    declined: Vec<Ipv4Addr>,
    lost: Vec<(Ipv4Addr, LossReason)>,
    quiet: bool,
}

impl Host {
    pub(crate) fn new(mac: Mac, config: Config, bug: Option<Bug>) -> Self {
        Self {
            mac,
            config,
            client: None,
            stored: None,
            in_use: None,
            asleep_until: None,
            awake_since: 0,
            slept: 0,
            linked: true,
            bug,
            audit: Audit::default(),
            nagging: None,
            last_loss: None,
            names: 0,
        }
    }

    pub(crate) fn state(&self) -> Option<StateName> {
        self.client.as_ref().map(Client::state)
    }

    pub(crate) fn in_use(&self) -> Option<Ipv4Addr> {
        self.in_use
    }

    pub(crate) fn is_running(&self) -> bool {
        self.client.is_some()
    }

    /// Whether a packet that arrives is looked at by the client.
    fn listens(&self) -> bool {
        self.linked && self.asleep_until.is_none() && self.client.as_ref().is_some_and(Client::wants_socket)
    }

    fn clock(&self, now: Micros) -> Micros {
        if self.bug == Some(Bug::SleepyClock) { now - self.slept } else { now }
    }

    /// When the client wants to be called.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        if self.asleep_until.is_some() {
            return None;
        }
        let client = self.client.as_ref()?;
        let due = client
            .poll_timeout()
            .map(|due| micros(due) + u64::from(due.since_boot().subsec_nanos() % 1000 != 0));
        let due = due.map(|due| due + (due_offset(self)));
        let due = due.filter(|_| self.bug != Some(Bug::ForgetsTimers) || self.in_use.is_none());
        due.into_iter().chain(self.nagging.as_ref().map(|(at, _)| *at)).min()
    }

    /// The program starts: with what it wrote down, if the container still runs on it, else with what it remembers.
    pub(crate) fn start(&mut self, now: Micros, rng: Rng, net: &mut Net<'_>) -> Result<(), Violation> {
        self.audit.restarted();
        self.awake_since = now;
        let at = instant(self.clock(now));
        let known = self.stored.clone();
        self.client = Some(match (known, self.in_use) {
            (Some(lease), Some(_)) => Client::resume(self.config.clone(), lease, at, rng),
            (Some(lease), None) => {
                Client::start(self.config.clone(), Some(Remembered::Address(lease.address)), at, rng)
            }
            (None, _) => Client::start(self.config.clone(), None, at, rng),
        });
        self.settle(now, net).map(drop)
    }

    /// The program is killed; the container goes on.
    pub(crate) fn kill(&mut self) {
        self.client = None;
    }

    /// The whole host goes down, and with it the link.
    pub(crate) fn reboot(&mut self) {
        (self.client, self.in_use) = (None, None);
    }

    /// The container stops: its address is given back or not, and the program forgets the link.
    pub(crate) fn stop(&mut self, now: Micros, release: bool, net: &mut Net<'_>) -> Result<(), Violation> {
        if let Some(client) = self.client.as_mut().filter(|_| release) {
            client.release(instant(now));
            self.settle(now, net)?;
        }
        (self.client, self.in_use) = (None, None);
        Ok(())
    }

    pub(crate) fn wake(&mut self, now: Micros, since: Micros, net: &mut Net<'_>) -> Result<(), Violation> {
        self.asleep_until = None;
        self.awake_since = now;
        self.slept += now - since;
        self.timeout(now, net)
    }

    pub(crate) fn link_up(&mut self, now: Micros, net: &mut Net<'_>) -> Result<(), Violation> {
        let at = instant(self.clock(now));
        let Some(client) = &mut self.client else { return Ok(()) };
        client.link_up(at);
        self.settle(now, net).map(drop)
    }

    pub(crate) fn renew(&mut self, now: Micros, net: &mut Net<'_>) -> Result<(), Violation> {
        let at = instant(self.clock(now));
        let Some(client) = &mut self.client else { return Ok(()) };
        client.renew(at);
        self.settle(now, net).map(drop)
    }

    pub(crate) fn rename(&mut self, now: Micros, net: &mut Net<'_>) -> Result<(), Violation> {
        let at = instant(self.clock(now));
        self.names += 1;
        let name = format!("host{}", self.names);
        self.config.hostname = Some(name.clone());
        let Some(client) = &mut self.client else { return Ok(()) };
        client.set_hostname(at, Some(name));
        self.settle(now, net).map(drop)
    }

    pub(crate) fn timeout(&mut self, now: Micros, net: &mut Net<'_>) -> Result<(), Violation> {
        let at = instant(self.clock(now));
        let Some(client) = &mut self.client else { return Ok(()) };
        client.handle_timeout(at);
        if let Some((_, again)) = self.nagging.take_if(|(due, _)| *due <= now) {
            net.frames.push(frame(&again));
            self.audit.packet(now);
            self.nagging = Some((now + SECOND / 10, again));
        }
        self.settle(now, net)?;
        if self.deadline().is_some_and(|due| due <= now) {
            return broken("what is due is done", (self.state(), now));
        }
        Ok(())
    }

    /// A frame from the network.
    pub(crate) fn receive(&mut self, now: Micros, frame: &Frame, net: &mut Net<'_>) -> Result<(), Violation> {
        if !self.linked || self.asleep_until.is_some() {
            return Ok(());
        }
        match frame {
            Frame::Arp(packet) => {
                self.answer_arp(packet, net);
                if self.listens() { self.receive_arp(now, packet, net) } else { Ok(()) }
            }
            Frame::Dhcp { src, payload, .. } if self.listens() => self.receive_dhcp(now, *src, payload, net),
            Frame::Dhcp { .. } => Ok(()),
        }
    }

    /// The kernel's part.
    fn answer_arp(&self, packet: &arp::Packet, net: &mut Net<'_>) {
        let asked = packet.op == arp::Operation::Request && Some(packet.target_ip) == self.in_use;
        if asked && packet.sender_mac != self.mac && packet.sender_ip != packet.target_ip {
            net.frames.push(Frame::Arp(arp::Packet {
                op: arp::Operation::Reply,
                sender_mac: self.mac,
                sender_ip: packet.target_ip,
                target_mac: packet.sender_mac,
                target_ip: packet.sender_ip,
            }));
        }
    }

    fn receive_arp(&mut self, now: Micros, packet: &arp::Packet, net: &mut Net<'_>) -> Result<(), Violation> {
        let checks = self.config.conflict_check != ConflictCheck::Off;
        let state = self.state();
        let claimed = if packet.is_probe() { packet.target_ip } else { packet.sender_ip };
        // Before an address is asked for there is none to watch.
        let asking =
            matches!(state, Some(StateName::Requesting | StateName::Rebooting | StateName::Checking));
        if tracing() {
            eprintln!("{now} {} {state:?} hears {packet:?}", self.mac);
        }
        // A fast check leaves it to the servers which of several that probe has the address.
        let full = self.config.conflict_check == ConflictCheck::Wait;
        let counts = !packet.is_probe() || (full && Some(claimed) != self.in_use);
        if asking && packet.sender_mac != self.mac && counts {
            self.audit.claimed(claimed);
        }
        if self.bug == Some(Bug::DeafToArp) {
            return Ok(());
        }
        let at = instant(self.clock(now));
        let Some(client) = &mut self.client else { return Ok(()) };
        client.handle_arp(at, packet);
        let outcome = self.settle(now, net)?;
        let left_checking = state == Some(StateName::Checking)
            && matches!(self.state(), Some(StateName::Init | StateName::Selecting));
        if checks && left_checking && !outcome.declined.contains(&claimed) {
            return broken("every conflict is declined", (claimed, self.state()));
        }
        Ok(())
    }

    fn receive_dhcp(
        &mut self,
        now: Micros,
        src: Ipv4Addr,
        payload: &[u8],
        net: &mut Net<'_>,
    ) -> Result<(), Violation> {
        // What is due is done first, so that what follows is the answer's doing.
        self.timeout(now, net)?;
        let before = (self.state(), self.in_use, self.lease().cloned());
        let question = self.audit.question.clone();
        let reply = Packet::parse(payload).and_then(|packet| Repr::parse(&packet));
        let Some(reply) = reply else { return broken("servers speak DHCP", payload) };
        let at = instant(self.clock(now));
        if let (Some(seen), Some(client)) =
            (bugs::received(self.bug, question.as_ref(), payload), &mut self.client)
        {
            client.handle_datagram(at, SocketAddrV4::new(src, 67), &seen);
        }
        let outcome = self.settle(now, net)?;
        let after = (self.state(), self.in_use, self.lease().cloned());

        let by = reply.options.ipv4(code::SERVER_ID);
        let ours = question.as_ref().is_some_and(|q| q.xid == reply.xid && q.mac == reply.mac);
        let chosen = question.as_ref().and_then(|q| q.options.ipv4(code::SERVER_ID));
        let unasked = match before.0 {
            Some(StateName::Requesting) => by != chosen,
            Some(StateName::Renewing) => {
                reply.kind == MessageType::Nak
                    && before.2.as_ref().is_some_and(|lease| by != Some(lease.server))
            }
            _ => false,
        };
        if (!ours || unasked) && (before != after || !outcome.quiet) {
            return broken("answers that were not asked for change nothing", (before, reply));
        }
        let refused = ours && reply.kind == MessageType::Nak;
        let by_its_server = before.2.as_ref().is_some_and(|lease| by == Some(lease.server));
        let extending = matches!(before.0, Some(StateName::Renewing | StateName::Rebinding));
        if refused && by_its_server && extending && after.1.is_some() {
            return broken("a refused address is given up", (before, reply));
        }
        let granted =
            ours && !unasked && reply.kind == MessageType::Ack && before.0 == Some(StateName::Requesting);
        if granted && self.audit.is_claimed(reply.yiaddr) && !outcome.declined.contains(&reply.yiaddr) {
            let checks = self.config.conflict_check != ConflictCheck::Off;
            if checks && after.0 != before.0 {
                return broken("every conflict is declined", (reply.yiaddr, after.0));
            }
        }
        Ok(())
    }

    /// Sends what is to be sent, does what is to be done, and holds it against the rules.
    fn settle(&mut self, now: Micros, net: &mut Net<'_>) -> Result<Outcome, Violation> {
        let mut outcome = Outcome { quiet: true, ..Outcome::default() };
        let Some(mut client) = self.client.take() else { return Ok(outcome) };
        let before = self.audit.question.clone();
        let mut questions = Vec::new();
        let used = self.in_use;
        let events: Vec<_> = std::iter::from_fn(|| client.poll_event()).collect();
        let transmits: Vec<_> = std::iter::from_fn(|| client.poll_transmit()).collect();
        self.client = Some(client);
        outcome.quiet = events.is_empty() && transmits.is_empty();
        if tracing() && !outcome.quiet {
            eprintln!("{now} {} {:?} {events:?} {transmits:?}", self.mac, self.state());
        }
        for event in events {
            self.obey(now, event, &mut outcome, net)?;
        }
        for transmit in transmits {
            let Transmit::Dhcp { src, dst, payload } = transmit else {
                self.audit.packet(now);
                outcome.frames.push(frame(&transmit));
                continue;
            };
            let message = Packet::parse(&payload).and_then(|packet| Repr::parse(&packet));
            let Some(message) = message else { return broken("what is sent is DHCP", payload) };
            for message in bugs::sent(self.bug, message) {
                let dst = if message.kind == MessageType::Discover { Ipv4Addr::BROADCAST } else { dst };
                let src = if message.kind == MessageType::Discover { Ipv4Addr::UNSPECIFIED } else { src };
                self.audit.sent(now, src, dst, &message, [used, self.in_use])?;
                net.report.count(sent_name(message.kind));
                if message.kind == MessageType::Decline {
                    outcome.declined.extend(message.options.ipv4(code::REQUESTED_ADDRESS));
                }
                let transmit = Transmit::Dhcp { src, dst, payload: message.emit() };
                if matches!(message.kind, MessageType::Discover | MessageType::Request) {
                    if self.bug == Some(Bug::NoBackOff) {
                        self.nagging = Some((now + SECOND / 10, transmit.clone()));
                    }
                    questions.push(message);
                }
                outcome.frames.push(frame(&transmit));
            }
        }
        if matches!(self.state(), Some(StateName::Bound | StateName::Stopped | StateName::Init)) {
            self.nagging = None;
        }
        Audit::one_exchange(before.as_ref(), &questions)?;
        for (address, reason) in &outcome.lost {
            if *reason == LossReason::Conflict && !outcome.declined.contains(address) {
                return broken("every conflict is declined", address);
            }
        }
        if self.linked {
            net.frames.append(&mut outcome.frames);
        }
        Ok(outcome)
    }

    fn obey(
        &mut self,
        now: Micros,
        event: Event,
        outcome: &mut Outcome,
        net: &mut Net<'_>,
    ) -> Result<(), Violation> {
        let checks = self.config.conflict_check != ConflictCheck::Off;
        match event {
            Event::Bound(lease) | Event::Renewed(lease)
                if self.bug == Some(Bug::KeepsExpired) && self.in_use.is_some() =>
            {
                self.stored = Some(lease);
            }
            Event::Bound(lease) => {
                net.report.count("client: bound");
                let lease = self.miscount(now, lease);
                self.audit.granted(&lease, net.granted(&self.config, lease.address), true, checks)?;
                self.in_use = Some(lease.address);
                self.stored = Some(lease);
            }
            Event::Renewed(lease) => {
                net.report.count("client: renewed");
                let lease = self.miscount(now, lease);
                self.audit.granted(&lease, net.granted(&self.config, lease.address), false, checks)?;
                if self.in_use != Some(lease.address) {
                    return broken("only an address in use is renewed", lease);
                }
                self.stored = Some(lease);
            }
            Event::Lost { address, reason } => {
                net.report.count(loss_name(reason));
                outcome.lost.push((address, reason));
                if reason == LossReason::Expired && self.bug == Some(Bug::KeepsExpired) {
                    return Ok(());
                }
                self.last_loss = Some((now, reason));
                if self.in_use.take() != Some(address) {
                    return broken("only an address in use is lost", address);
                }
            }
            Event::Refused { address, .. } => return broken("no address is taken", address),
            Event::Conflict { by, .. } => {
                net.report.count("client: conflict seen");
                if by == self.mac {
                    return broken("nobody is in conflict with itself", by);
                }
            }
        }
        Ok(())
    }

    fn miscount(&self, now: Micros, mut lease: Lease) -> Lease {
        if self.bug == Some(Bug::CountsFromAck) {
            let late = instant(now).saturating_since(lease.obtained);
            lease.expires = lease.expires.map(|end| end + late);
        }
        lease
    }

    /// The lease by which the caller uses its address.
    fn lease(&self) -> Option<&Lease> {
        match self.bug {
            Some(Bug::KeepsExpired | Bug::CountsFromAck) => self.stored.as_ref(),
            _ => self.client.as_ref().and_then(Client::lease),
        }
    }

    /// What holds at any time.
    pub(crate) fn check(&self, now: Micros) -> Result<(), Violation> {
        let (Some(address), Some(_), None) = (self.in_use, &self.client, self.asleep_until) else {
            return Ok(());
        };
        let lease = match self.bug {
            // The server's clock did not stop: what it granted counts in real time.
            Some(Bug::SleepyClock) => self.stored.as_ref(),
            _ => self.lease(),
        };
        Audit::in_use(now, self.awake_since, address, lease, self.state())
    }
}

/// Whether somebody wants to see it all (`LAN_TRACE=1`, best with one seed).
fn tracing() -> bool {
    static TRACING: OnceLock<bool> = OnceLock::new();
    *TRACING.get_or_init(|| std::env::var_os("LAN_TRACE").is_some())
}

fn due_offset(host: &Host) -> Micros {
    if host.bug == Some(Bug::SleepyClock) { host.slept } else { 0 }
}

/// What a host does to the world around it.
pub(crate) struct Net<'a> {
    pub(crate) frames: Vec<Frame>,
    pub(crate) report: &'a mut Report,
    pub(crate) servers: &'a [Server],
}

impl Net<'_> {
    /// Until when any server has ever granted an address to this client.
    fn granted(&self, config: &Config, address: Ipv4Addr) -> Option<Micros> {
        let key = config
            .client_id
            .as_ref()
            .map_or_else(|| config.mac.octets().to_vec(), |id| id.as_bytes().to_vec());
        self.servers.iter().filter_map(|server| server.granted.get(&(key.clone(), address))).max().copied()
    }
}

fn frame(transmit: &Transmit) -> Frame {
    match transmit {
        Transmit::Arp(packet) => Frame::Arp(*packet),
        Transmit::Dhcp { src, dst, payload } => {
            Frame::Dhcp { src: *src, dst: *dst, payload: payload.clone() }
        }
    }
}

fn sent_name(kind: MessageType) -> &'static str {
    match kind {
        MessageType::Discover => "sent: DISCOVER",
        MessageType::Request => "sent: REQUEST",
        MessageType::Decline => "sent: DECLINE",
        MessageType::Release => "sent: RELEASE",
        MessageType::Inform | MessageType::Offer | MessageType::Ack | MessageType::Nak => "sent: nonsense",
    }
}

fn loss_name(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Expired => "client: lost by expiry",
        LossReason::Nak => "client: lost by NAK",
        LossReason::Conflict => "client: lost by conflict",
        LossReason::Taken => "client: lost because it is taken",
    }
}
