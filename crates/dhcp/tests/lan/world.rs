//! The clock and the network.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::num::NonZero;
use std::ops::Range;

use landline_dhcp::v4::{ClientId, Config, ConflictCheck, LossReason};
use landline_dhcp::wire::arp;
use landline_dhcp::wire::dhcpv4::INFINITE;
use landline_types::Mac;

use super::audit::{Violation, broken};
use super::bugs::Bug;
use super::faults::{self, Fault};
use super::host::{Host, Net};
use super::report::Report;
use super::rng::Rng;
use super::server::Server;
use super::{DAY, Frame, HOUR, Micros, SECOND, address};

/// After this much calm everybody has an address, and keeps it: the longest waits are 64 s.
const RECOVERY: Micros = 400 * SECOND;

/// What a run is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// A mistake that all clients make.
    pub(crate) bug: Option<Bug>,
}

/// Runs the scenarios of these seeds on all processors; tells the first seed whose scenario broke a rule.
pub(crate) fn run_all(seeds: Range<u64>) -> Result<Report, (u64, Violation)> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let every = |worker: usize| {
        let mut report = Report::default();
        for seed in seeds.clone().skip(worker).step_by(workers) {
            report.add(&run(Scenario { seed, bug: None }).map_err(|violation| (seed, violation))?);
        }
        Ok::<_, (u64, Violation)>(report)
    };
    let every = &every;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers).map(|worker| scope.spawn(move || every(worker))).collect();
        let mut results: Vec<_> = all.into_iter().map(|one| one.join().expect("a worker")).collect();
        results.sort_by_key(|result| result.as_ref().err().map_or(u64::MAX, |(seed, _)| *seed));
        results.into_iter().try_fold(Report::default(), |mut sum, one| {
            sum.add(&one?);
            Ok(sum)
        })
    })
}

/// Runs a scenario to its end, or to the first rule that is broken.
pub(crate) fn run(scenario: Scenario) -> Result<Report, Violation> {
    let mut world = World::new(scenario);
    if world.servers.len() > 1 {
        world.report.count("scenarios with several servers");
    }
    if world.overlapping {
        world.report.count("scenarios with servers that share a pool");
    }
    world.live()?;
    for host in &world.hosts {
        world.report.busiest_hour = world.report.busiest_hour.max(host.audit.busiest_hour);
    }
    Ok(world.report)
}

struct World {
    now: Micros,
    rng: Rng,
    servers: Vec<Server>,
    hosts: Vec<Host>,
    squatters: Vec<Squatter>,
    loss: u64,
    /// Pools overlap: servers will grant one address twice, and only ARP tells.
    overlapping: bool,
    /// A server does not know all the leases it granted: it will refuse them, or say nothing, when T1 comes.
    forgetful: bool,
    queue: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    pending: Vec<Option<Happening>>,
    order: u64,
    report: Report,
    storm: Micros,
    end: Micros,
    busy_limit: u64,
}

#[derive(Debug)]
enum Happening {
    ToServer(usize, Vec<u8>),
    ToHost(usize, Frame),
    ToSquatter(usize, arp::Packet),
    Fault(Fault),
    ServerUp(usize),
    SquatterLeaves(Ipv4Addr),
    Wake(usize, Micros),
    Start(usize),
    Plug(usize),
    Calm,
}

struct Squatter {
    mac: Mac,
    address: Option<Ipv4Addr>,
    defended: Micros,
}

impl World {
    fn new(scenario: Scenario) -> Self {
        let mut rng = Rng::new(scenario.seed);
        let lease_secs = rng.pick(&[
            20, 60, 120, 600, 600, 3600, 3600, 3600, 14_400, 14_400, 86_400, 86_400, 604_800, INFINITE,
        ]);
        // A day, or a hundred short leases.
        let storm = (u64::from(lease_secs) * SECOND * 100).min(DAY);
        let calm = RECOVERY + (u64::from(lease_secs) * SECOND * 2).min(4 * HOUR);
        let overlapping = rng.percent(15);
        let count = rng.pick(&[1, 1, 2, 2, 3]);
        let servers = (0..count)
            .map(|i| {
                let low = if overlapping { 20 } else { 20 + 40 * i };
                let mut server = Server::new(1 + i, low..low + 30, lease_secs);
                server.trusting = rng.percent(50);
                server.rude = rng.percent(30);
                server.rapid = rng.percent(30);
                server.repeats_id = rng.percent(50);
                server
            })
            .collect();
        let hosts = (0..3)
            .map(|i| {
                let mut config = Config::new(Mac::new([2, 0, 0, 0, 1, i]));
                config.conflict_check = rng.pick(&[
                    ConflictCheck::Fast,
                    ConflictCheck::Fast,
                    ConflictCheck::Wait,
                    ConflictCheck::Off,
                ]);
                config.rapid_commit = rng.percent(30);
                if rng.percent(30) {
                    config.client_id = ClientId::opaque(&format!("host{i}")).ok();
                }
                Host::new(config.mac, config, scenario.bug)
            })
            .collect();
        Self {
            now: HOUR,
            rng,
            servers,
            hosts,
            squatters: Vec::new(),
            loss: 0,
            overlapping,
            forgetful: false,
            queue: BinaryHeap::new(),
            pending: Vec::new(),
            order: 0,
            report: Report::default(),
            storm,
            end: HOUR + storm + calm,
            // Renewals and rebindings of short leases, conflicts at most every ten seconds and later every minute.
            busy_limit: 1200 + 12 * (3600 / u64::from(lease_secs)),
        }
    }

    fn live(&mut self) -> Result<(), Violation> {
        let mut rng = self.rng.fork();
        for (at, fault) in faults::schedule(&mut rng, self.storm, self.servers.len(), self.hosts.len()) {
            self.at(self.now + at, Happening::Fault(fault));
        }
        self.at(self.now + self.storm, Happening::Calm);
        for host in 0..self.hosts.len() {
            self.with_host(host, Host::start)?;
        }
        let (began, mut calm_checked) = (self.now, false);
        while let Some(next) = self.next_time().filter(|&next| next <= self.end) {
            assert!(next >= self.now, "time does not go back");
            self.now = next;
            for host in 0..self.hosts.len() {
                if self.hosts[host].deadline().is_some_and(|due| due <= self.now) {
                    self.with_host(host, |host, now, _, net| host.timeout(now, net))?;
                }
            }
            while let Some(Reverse((at, _, index))) = self.queue.peek().copied() {
                if at > self.now {
                    break;
                }
                self.queue.pop();
                if let Some(happening) = self.pending[index].take() {
                    self.happen(happening)?;
                }
            }
            self.check()?;
            if !calm_checked && self.now > began + self.storm + RECOVERY {
                calm_checked = true;
                self.everybody_has_an_address()?;
            }
        }
        self.now = self.end;
        self.everybody_has_an_address()?;
        self.report.lived = (self.end - began) * self.hosts.len() as u64;
        Ok(())
    }

    fn next_time(&self) -> Option<Micros> {
        let queued = self.queue.peek().map(|Reverse((at, ..))| *at);
        self.hosts.iter().filter_map(Host::deadline).map(|due| due.max(self.now)).chain(queued).min()
    }

    fn check(&self) -> Result<(), Violation> {
        for host in &self.hosts {
            host.check(self.now)?;
            if host.audit.busiest_hour > self.busy_limit {
                return broken("few packets", (host.audit.busiest_hour, host.state()));
            }
            let calm = HOUR + self.storm + RECOVERY;
            if let Some((at, reason)) = host.last_loss.filter(|(at, _)| *at > calm && !self.forgetful) {
                // Two hosts with one address find out by chance, and late.
                if !self.overlapping || reason != LossReason::Conflict {
                    return broken("nothing is lost in calm", (at, reason));
                }
            }
        }
        Ok(())
    }

    fn everybody_has_an_address(&self) -> Result<(), Violation> {
        for host in &self.hosts {
            let just_lost = host.last_loss.is_some_and(|(at, _)| self.now < at + 30 * SECOND);
            if host.is_running() && host.in_use().is_none() && !just_lost && !self.overlapping {
                return broken("in calm everybody has an address", host.state());
            }
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Fault(fault) => self.fault(fault)?,
            Happening::ToServer(index, payload) => self.serve(index, &payload),
            Happening::ToHost(index, frame) => {
                self.with_host(index, |host, now, _, net| host.receive(now, &frame, net))?;
            }
            Happening::ToSquatter(index, packet) => self.squat(index, &packet),
            Happening::ServerUp(index) => self.servers[index].up = true,
            Happening::SquatterLeaves(address) => {
                self.squatters
                    .iter_mut()
                    .filter(|s| s.address == Some(address))
                    .for_each(|s| s.address = None);
            }
            Happening::Wake(index, since) => {
                if self.hosts[index].asleep_until.is_some() {
                    self.with_host(index, |host, now, _, net| host.wake(now, since, net))?;
                }
            }
            Happening::Start(index) => self.start(index)?,
            Happening::Plug(index) => self.plug(index)?,
            Happening::Calm => self.calm()?,
        }
        Ok(())
    }

    fn start(&mut self, index: usize) -> Result<(), Violation> {
        if self.hosts[index].is_running() {
            return Ok(());
        }
        self.with_host(index, Host::start)
    }

    fn plug(&mut self, index: usize) -> Result<(), Violation> {
        if self.hosts[index].linked {
            return Ok(());
        }
        self.hosts[index].linked = true;
        if self.hosts[index].asleep_until.is_some() {
            return Ok(());
        }
        self.with_host(index, |host, now, _, net| host.link_up(now, net))
    }

    /// Everything is repaired.
    fn calm(&mut self) -> Result<(), Violation> {
        self.loss = 0;
        self.squatters.iter_mut().for_each(|squatter| squatter.address = None);
        self.servers.iter_mut().for_each(|server| server.up = true);
        for index in 0..self.hosts.len() {
            if let Some(since) = self.hosts[index].asleep_until.take() {
                let _ = since;
                self.hosts[index].asleep_until = Some(self.now);
                let now = self.now;
                self.with_host(index, |host, at, _, net| host.wake(at, now, net))?;
            }
            self.plug(index)?;
            self.start(index)?;
        }
        Ok(())
    }

    fn fault(&mut self, fault: Fault) -> Result<(), Violation> {
        let now = self.now;
        match fault {
            Fault::Loss(percent) => {
                self.report.count("fault: network changes its quality");
                self.loss = percent;
            }
            Fault::Crash { server, lasts } => {
                self.report.count("fault: server down for a while");
                self.servers[server].up = false;
                self.at(now + lasts, Happening::ServerUp(server));
            }
            Fault::Wipe { server } => {
                self.report.count("fault: server forgot its leases");
                self.forgetful = true;
                self.servers[server].wipe();
            }
            Fault::Renumber { server } => {
                self.report.count("fault: server renumbered");
                self.forgetful = true;
                let low = 140 + u8::try_from(server).expect("few") * 30;
                self.servers[server].renumber(low..low + 30);
            }
            Fault::Squat { last, lasts } => {
                self.report.count("fault: somebody takes an address");
                let mac =
                    Mac::new([2, 0, 0, 0, 2, u8::try_from(self.squatters.len() % 256).expect("masked")]);
                self.squatters.push(Squatter { mac, address: Some(address(last)), defended: 0 });
                self.broadcast(&Frame::Arp(arp::Packet::announcement(mac, address(last))), None);
                self.at(now + lasts, Happening::SquatterLeaves(address(last)));
            }
            Fault::Suspend { host, lasts } => {
                if self.hosts[host].asleep_until.is_none() {
                    self.report.count("fault: host slept");
                    self.hosts[host].asleep_until = Some(now + lasts);
                    self.at(now + lasts, Happening::Wake(host, now));
                }
            }
            Fault::Kill { host, lasts } => {
                if self.hosts[host].is_running() && self.hosts[host].asleep_until.is_none() {
                    self.report.count("fault: program killed");
                    self.hosts[host].kill();
                    self.at(now + lasts, Happening::Start(host));
                }
            }
            Fault::Reboot { host, lasts } => {
                if self.hosts[host].is_running() && self.hosts[host].asleep_until.is_none() {
                    self.report.count("fault: host rebooted");
                    self.hosts[host].reboot();
                    self.at(now + lasts, Happening::Start(host));
                }
            }
            Fault::Recreate { host, release } => {
                if self.hosts[host].is_running() && self.hosts[host].asleep_until.is_none() {
                    self.report.count("fault: container stopped and started");
                    self.with_host(host, |host, now, _, net| host.stop(now, release, net))?;
                    self.at(now + 10 * SECOND, Happening::Start(host));
                }
            }
            Fault::Unplug { host, lasts } => {
                self.report.count("fault: cable pulled");
                self.hosts[host].linked = false;
                self.at(now + lasts, Happening::Plug(host));
            }
            Fault::Renew { host } if self.hosts[host].asleep_until.is_none() => {
                self.report.count("user: renewal");
                self.with_host(host, |host, now, _, net| host.renew(now, net))?;
            }
            Fault::Rename { host } if self.hosts[host].asleep_until.is_none() => {
                self.report.count("user: new host name");
                self.with_host(host, |host, now, _, net| host.rename(now, net))?;
            }
            Fault::Renew { .. } | Fault::Rename { .. } => {}
        }
        Ok(())
    }

    fn with_host(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut Host, Micros, Rng, &mut Net<'_>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let rng = self.rng.fork();
        let mut net = Net { frames: Vec::new(), report: &mut self.report, servers: &self.servers };
        call(&mut self.hosts[index], self.now, rng, &mut net)?;
        for frame in std::mem::take(&mut net.frames) {
            match &frame {
                Frame::Arp(_) => self.broadcast(&frame, Some(index)),
                Frame::Dhcp { dst, payload, .. } => {
                    for server in 0..self.servers.len() {
                        if *dst == Ipv4Addr::BROADCAST || *dst == self.servers[server].id {
                            self.carry(|_| Happening::ToServer(server, payload.clone()));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn serve(&mut self, index: usize, payload: &[u8]) {
        let server = &mut self.servers[index];
        if !server.up {
            return;
        }
        if let Some(reply) = server.answer(self.now, payload) {
            self.report.count(match reply.kind {
                landline_dhcp::wire::dhcpv4::MessageType::Offer => "servers: OFFER",
                landline_dhcp::wire::dhcpv4::MessageType::Ack => "servers: ACK",
                _ => "servers: NAK",
            });
            let (src, all) = (server.id, reply.broadcast);
            let dst = if all { Ipv4Addr::BROADCAST } else { reply.yiaddr };
            let frame = Frame::Dhcp { src, dst, payload: reply.emit() };
            for host in 0..self.hosts.len() {
                if all || self.hosts[host].mac == reply.mac {
                    self.carry(|_| Happening::ToHost(host, frame.clone()));
                }
            }
        }
    }

    /// A host that has an address nobody gave it.
    fn squat(&mut self, index: usize, packet: &arp::Packet) {
        let squatter = &mut self.squatters[index];
        let Some(mine) = squatter.address else { return };
        let asked = packet.op == arp::Operation::Request && packet.target_ip == mine;
        let mac = squatter.mac;
        if asked && packet.sender_ip != mine {
            let reply = arp::Packet {
                op: arp::Operation::Reply,
                sender_mac: mac,
                sender_ip: mine,
                target_mac: packet.sender_mac,
                target_ip: packet.sender_ip,
            };
            self.broadcast(&Frame::Arp(reply), None);
        } else if packet.sender_ip == mine && self.now > squatter.defended + 10 * SECOND {
            squatter.defended = self.now;
            self.broadcast(&Frame::Arp(arp::Packet::announcement(mac, mine)), None);
        }
    }

    /// To everybody but its sender.
    fn broadcast(&mut self, frame: &Frame, from: Option<usize>) {
        for host in (0..self.hosts.len()).filter(|host| Some(*host) != from) {
            self.carry(|_| Happening::ToHost(host, frame.clone()));
        }
        if let Frame::Arp(packet) = frame {
            for index in 0..self.squatters.len() {
                if self.squatters[index].address.is_some() && self.squatters[index].mac != packet.sender_mac {
                    self.carry(|_| Happening::ToSquatter(index, *packet));
                }
            }
        }
    }

    /// What the network does to a packet.
    fn carry(&mut self, make: impl Fn(u8) -> Happening) {
        self.report.count("network: packets");
        if self.rng.percent(self.loss) {
            return self.report.count("network: lost");
        }
        let copies = if self.loss > 0 && self.rng.percent(5) { 2 } else { 1 };
        for copy in 0..copies {
            if copy > 0 {
                self.report.count("network: duplicated");
            }
            let slow = self.loss > 0 && self.rng.percent(10);
            if slow {
                self.report.count("network: delayed and reordered");
            }
            let delay = if slow { self.rng.range(2000, 4 * SECOND) } else { self.rng.range(100, 2000) };
            self.at(self.now + delay, make(copy));
        }
    }

    fn at(&mut self, at: Micros, happening: Happening) {
        self.order += 1;
        self.pending.push(Some(happening));
        self.queue.push(Reverse((at, self.order, self.pending.len() - 1)));
        // The list only grows while something is under way.
        if self.queue.len() == 1 && self.pending.len() > 4096 {
            let last = self.pending.pop();
            self.pending.clear();
            self.pending.extend(last);
            self.queue.clear();
            self.queue.push(Reverse((at, self.order, 0)));
        }
    }
}
