//! The clock, the network, and what must hold.

use std::collections::{BTreeMap, BTreeSet};

use landline_dhcp::v6::Origin;

use super::gateway::{Router, Squatter};
use super::host::Host;
use super::rng::Rng;
use super::server::Server;
use super::{Frame, HOUR, MILLI, Micros, SECOND, leased};

/// What is to be simulated.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches, each named where it is used")]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// Of a hundred packets so many are lost, while the network is bad.
    pub(crate) loss: u64,
    /// The server loses its memory now and then.
    pub(crate) forgetful: bool,
    /// Hosts sleep, programs and containers restart, links flap.
    pub(crate) naps: bool,
    /// Somebody has the first address of the pool.
    pub(crate) squatter: bool,
    /// Long conflict checks, and some hosts listen always.
    pub(crate) thorough: bool,
}

/// What happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) bound: u32,
    pub(crate) renewed: u32,
    pub(crate) expired: u32,
    pub(crate) withdrawn: u32,
    pub(crate) conflicts: u32,
    pub(crate) declined: u32,
    pub(crate) forgotten: u32,
    pub(crate) naps: u32,
    pub(crate) resumed: u32,
    pub(crate) sent: u32,
    pub(crate) lost: u32,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.bound += other.bound;
        self.renewed += other.renewed;
        self.expired += other.expired;
        self.withdrawn += other.withdrawn;
        self.conflicts += other.conflicts;
        self.declined += other.declined;
        self.forgotten += other.forgotten;
        self.naps += other.naps;
        self.resumed += other.resumed;
        self.sent += other.sent;
        self.lost += other.lost;
    }
}

const HOSTS: u8 = 6;
/// The network is bad until this time, with an outage of everything but the hosts in it, and then well.
const BAD: Micros = 6 * HOUR;
/// How long it all takes.
const END: Micros = 7 * HOUR + HOUR / 2;
/// More than this from one host in an hour is too much. A lease of five minutes takes some.
const MAX_AN_HOUR: u32 = 400;

struct World {
    now: Micros,
    rng: Rng,
    scenario: Scenario,
    hosts: Vec<Host>,
    router: Router,
    server: Server,
    squatter: Option<Squatter>,
    /// When what arrives; the number keeps those of one time apart.
    wire: BTreeMap<(Micros, u64), Frame>,
    frames: u64,
    next_fault: Micros,
    next_hour: Micros,
    report: Report,
}

/// Runs it. The error says what did not hold.
pub(crate) fn run(scenario: &Scenario) -> Result<Report, String> {
    let mut rng = Rng::new(scenario.seed);
    let start = HOUR;
    let hosts = (0..HOSTS).map(|n| Host::new(n, scenario, start, rng.fork())).collect();
    let mut world = World {
        now: start,
        hosts,
        router: Router::new(),
        server: Server::new(rng.percent(50)),
        squatter: scenario.squatter.then(|| Squatter(leased(1))),
        wire: BTreeMap::new(),
        frames: 0,
        next_fault: start,
        next_hour: start + HOUR,
        report: Report::default(),
        scenario: scenario.clone(),
        rng,
    };
    for host in 0..world.hosts.len() {
        world.drain(host);
    }
    while world.step(start + END)? {}
    world.finish()
}

impl World {
    fn is_bad(&self) -> bool {
        self.now < BAD
    }

    /// Router and server are away, while the hosts go on.
    fn is_out(&self) -> bool {
        self.scenario.loss > 0 && (2 * HOUR..3 * HOUR).contains(&(self.now % (4 * HOUR))) && self.is_bad()
    }

    /// Goes to the next thing that happens.
    fn step(&mut self, end: Micros) -> Result<bool, String> {
        let arrival = self.wire.keys().next().map(|(at, _)| *at);
        let hosts = self.hosts.iter().filter_map(Host::due);
        let others = [
            arrival,
            self.server.due(),
            Some(self.router.due()),
            Some(self.next_fault),
            Some(self.next_hour),
        ];
        let next = hosts.chain(others.into_iter().flatten()).min().unwrap_or(end).max(self.now);
        if next >= end {
            return Ok(false);
        }
        self.now = next;
        let now = self.now;
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= now) {
            let frame = entry.remove();
            self.deliver(&frame);
        }
        for frame in self.server.tick(now) {
            self.send(&frame);
        }
        if self.router.due() <= now {
            let is_out = self.is_out();
            if let Some(frame) = self.router.tick(now, is_out) {
                self.send(&frame);
            }
        }
        for at in 0..self.hosts.len() {
            if self.hosts[at].due().is_some_and(|due| due <= now) {
                self.hosts[at].tick(now);
                self.drain(at);
            }
        }
        if self.next_fault <= now {
            self.next_fault = now + self.rng.range(60, 1200) * SECOND;
            self.fault();
        }
        if self.next_hour <= now {
            self.next_hour = now + HOUR;
            self.look_at_the_hour()?;
        }
        self.audit()?;
        Ok(true)
    }

    fn fault(&mut self) {
        if !self.is_bad() {
            return;
        }
        if self.scenario.forgetful && self.rng.percent(20) {
            self.server.forget();
            self.report.forgotten += 1;
        }
        if self.scenario.naps {
            let at = self.rng.index(self.hosts.len());
            let now = self.now;
            let host = &mut self.hosts[at];
            self.report.naps += 1;
            match self.rng.range(0, 4) {
                0 => host.asleep_until = (now + self.rng.range(1, 20_000) * SECOND).min(BAD),
                1 => host.restart(now),
                2 => host.begin(now),
                _ => {
                    host.resume(now);
                    self.report.resumed += 1;
                }
            }
            self.drain(at);
        }
    }

    fn drain(&mut self, at: usize) {
        for frame in self.hosts[at].drain(&mut self.report) {
            self.report.sent += 1;
            self.send(&frame);
        }
    }

    fn send(&mut self, frame: &Frame) {
        let bad = self.is_bad();
        if bad && self.rng.percent(self.scenario.loss) {
            self.report.lost += 1;
            return;
        }
        let copies = if bad && self.rng.percent(self.scenario.loss / 5) { 2 } else { 1 };
        for _ in 0..copies {
            // On a bad day one in ten is late enough to be overtaken.
            let late = bad && self.scenario.loss > 0 && self.rng.percent(10);
            let delay = if late { self.rng.range(1, 3000) * MILLI } else { self.rng.range(100, 2000) };
            self.frames += 1;
            self.wire.insert((self.now + delay, self.frames), frame.clone());
        }
    }

    fn deliver(&mut self, frame: &Frame) {
        let now = self.now;
        let is_for = |mac| frame.to == mac || (frame.to.is_multicast() && frame.from != mac);
        let mut answers = Vec::new();
        if !self.is_out() {
            if is_for(super::mac(1)) {
                answers.extend(self.router.receive(now, frame));
            }
            if is_for(super::mac(2)) {
                answers.extend(self.server.receive(now, frame));
            }
        }
        answers
            .extend(self.squatter.as_ref().filter(|_| is_for(super::mac(99))).and_then(|s| s.receive(frame)));
        for at in 0..self.hosts.len() {
            if is_for(self.hosts[at].mac()) {
                answers.extend(self.hosts[at].receive(now, frame));
                self.drain(at);
            }
        }
        for answer in answers {
            self.send(&answer);
        }
    }

    /// What must hold at any time.
    fn audit(&self) -> Result<(), String> {
        let mut leased = BTreeSet::new();
        for host in self.hosts.iter().filter(|host| host.asleep_until <= self.now) {
            let (duid, state) = (landline_dhcp::v6::Duid::from_mac(host.mac()), host.current());
            let fail =
                |what: &str| Err(format!("{what} at {} s: {} {state:#?}", self.now / SECOND, host.mac()));
            // A deadline is kept within a microsecond here.
            for address in &state.addresses {
                let ip = address.net.addr();
                let end = match address.origin {
                    Origin::Router => self.router.prefix_until,
                    Origin::Dhcp => self.server.granted.get(&(ip, duid.clone())).copied().unwrap_or(0),
                };
                if end + 2 < self.now {
                    return fail("an address beyond its life");
                }
                if address.origin == Origin::Dhcp && !leased.insert(ip) && !self.scenario.forgetful {
                    return fail("an address of two hosts");
                }
                // The squatter answers within milliseconds, and nothing is lost where there is one.
                if self.squatter.as_ref().is_some_and(|squatter| squatter.0 == ip) {
                    return fail("an address of a squatter");
                }
            }
            if state.routers.iter().any(|_| self.router.until + 2 < self.now) {
                return fail("a router beyond its life");
            }
            if state.addresses != host.link.addresses || state.routers != host.link.routers {
                let same = |a: &[landline_dhcp::v6::Address], b: &[landline_dhcp::v6::Address]| {
                    a.len() == b.len()
                        && a.iter().zip(b).all(|(a, b)| a.net == b.net && a.deprecated == b.deprecated)
                };
                if !same(&state.addresses, &host.link.addresses) {
                    return fail("events and state disagree");
                }
            }
        }
        Ok(())
    }

    fn look_at_the_hour(&mut self) -> Result<(), String> {
        for host in &mut self.hosts {
            let sent = std::mem::take(&mut host.sent);
            if sent > MAX_AN_HOUR {
                return Err(format!(
                    "{sent} packets of {} in the hour before {} s",
                    host.mac(),
                    self.now / SECOND
                ));
            }
        }
        Ok(())
    }

    /// What must hold when the network has been well for two hours and a half.
    fn finish(mut self) -> Result<Report, String> {
        self.report.declined = self.server.declines;
        for host in &self.hosts {
            let state = host.current();
            let of = |origin| state.addresses.iter().filter(|address| address.origin == origin).count();
            let whole = of(Origin::Dhcp) == 1
                && of(Origin::Router) == 1
                && state.routers.len() == 1
                && !state.dns.is_empty()
                && state.addresses.iter().all(|address| !address.deprecated)
                && host.is_settled();
            if !whole {
                return Err(format!("{} is not well: {state:#?}", host.mac()));
            }
        }
        Ok(self.report)
    }
}
