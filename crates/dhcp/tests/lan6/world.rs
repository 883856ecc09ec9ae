//! The clock, the network, and what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv6Addr;

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

impl Scenario {
    /// Any mixture of what can go wrong.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x6c65_6173_6573_3600);
        // Where packets get lost nobody can be sure to have found a squatter.
        let squatter = rng.percent(25);
        let loss = if squatter { 0 } else { rng.pick(&[0, 5, 10, 25]) };
        Self {
            seed,
            loss,
            forgetful: !squatter && rng.percent(40),
            naps: rng.percent(60),
            squatter,
            thorough: rng.percent(20),
        }
    }
}

/// What happened, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    counts: BTreeMap<&'static str, u64>,
    /// The time of all hosts.
    pub(crate) lived: Micros,
    /// The most packets one host sent in an hour.
    pub(crate) busiest_hour: u32,
}

impl Report {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn get(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn lease_days(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let days = self.lived as f64 / (24 * HOUR) as f64;
        days
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.lived += other.lived;
        self.busiest_hour = self.busiest_hour.max(other.busiest_hour);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{what:<44}{count:>14}")?;
        }
        writeln!(f, "{:<44}{:>14}", "packets of one host in its busiest hour", self.busiest_hour)?;
        write!(f, "{:<44}{:>14.1}", "lease-days", self.lease_days())
    }
}

const HOSTS: u8 = 6;
/// The network is bad until this time, with an outage of everything but the hosts in it, and then well.
const BAD: Micros = 6 * HOUR;
/// How long it all takes.
const END: Micros = 7 * HOUR + HOUR / 2;
/// How late a packet may be. What routers say counts from when it is heard.
const LATEST: Micros = 3 * SECOND;
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
    was_out: bool,
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
        was_out: false,
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
        let out = self.is_out();
        if out && !self.was_out {
            self.report.count("fault: router and server away for an hour");
        }
        self.was_out = out;
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
            self.report.count("fault: server forgot its leases");
        }
        if self.scenario.naps {
            let at = self.rng.index(self.hosts.len());
            let now = self.now;
            let host = &mut self.hosts[at];
            match self.rng.range(0, 4) {
                0 => {
                    self.report.count("fault: host slept");
                    host.asleep_until = (now + self.rng.range(1, 20_000) * SECOND).min(BAD);
                }
                1 => {
                    self.report.count("fault: cable pulled");
                    host.link_up(now);
                }
                2 => {
                    self.report.count("fault: container stopped and started");
                    host.begin(now);
                }
                _ => {
                    self.report.count("fault: program killed");
                    host.resume(now);
                }
            }
            self.drain(at);
        }
    }

    fn drain(&mut self, at: usize) {
        for frame in self.hosts[at].drain(self.now, &mut self.report) {
            self.report.count("hosts: packets sent");
            self.send(&frame);
        }
    }

    fn send(&mut self, frame: &Frame) {
        let bad = self.is_bad();
        if bad && self.rng.percent(self.scenario.loss) {
            return self.report.count("network: lost");
        }
        let copies = if bad && self.rng.percent(self.scenario.loss / 5) { 2 } else { 1 };
        for copy in 0..copies {
            if copy > 0 {
                self.report.count("network: duplicated");
            }
            // On a bad day one in ten is late enough to be overtaken.
            let late = bad && self.scenario.loss > 0 && self.rng.percent(10);
            if late {
                self.report.count("network: delayed and reordered");
            }
            let delay =
                if late { self.rng.range(1, LATEST / MILLI) * MILLI } else { self.rng.range(100, 2000) };
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
                let declines = self.server.declines;
                answers.extend(self.server.receive(now, frame));
                for _ in declines..self.server.declines {
                    self.report.count("server: address declined");
                }
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
            if let Some(address) = host.unprobed() {
                return fail(&format!("{address} was never asked about"));
            }
            // What was only offered needs no Decline.
            let granted = |ip: &Ipv6Addr| self.server.granted.contains_key(&(*ip, duid.clone()));
            if let Some(address) = host.not_declined(self.now).filter(granted) {
                return fail(&format!("{address} has another user and was not declined"));
            }
            // A deadline is kept within a microsecond here.
            for address in &state.addresses {
                let ip = address.net.addr();
                let end = match address.origin {
                    Origin::Router => self.router.prefix_until + LATEST,
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
            if state.routers.iter().any(|_| self.router.until + LATEST + 2 < self.now) {
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
            self.report.busiest_hour = self.report.busiest_hour.max(sent);
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
        self.report.lived = END * u64::from(HOSTS);
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
