//! Containers of one image that nothing tells apart: no key, no ports. Docker starts them all at once.
//!
//! `LANDLINE_TEST_ROUNDS` says how often in a row the ten of each network live through all events. What became of them is
//! appended to the file that `LANDLINE_TEST_TABLE` names, one event a line; `make test-engines` prints that as a table.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Instant;

use landline_testbed::{Dnsmasq, Dockerd, Ra, Signal, wait_for};

use crate::tools::{names, second_nic, start_daemon};
use crate::world::{Result, SOON, World, binary};

/// How many of them are on the network.
const TWINS: usize = 10;

/// What they are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Net {
    /// A bridge; IPv4 and IPv6.
    Bridge,
    /// A NIC of its own; IPv4 and IPv6.
    Macvlan,
    /// A bridge, and Docker asks Landline's IPAM driver for the addresses.
    Ipam,
}

impl Net {
    /// As the table calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipam => "ipam",
        }
    }
}

/// Ten twins on one network, and what is to stay.
struct Twins {
    world: World,
    net: Net,
    round: u32,
    before: BTreeMap<String, Vec<String>>,
}

impl Twins {
    /// They are made one after the other, so that each has an identity of its own.
    fn new(net: Net) -> Result<Self> {
        let world = World::bridge_with(Dnsmasq { ra: Ra::Both, ..Dnsmasq::default() })?;
        second_nic(&world.lan, &world.host)?;
        match net {
            Net::Bridge => drop(world.network("lan", &["bridge=br0", "ipv6=true"])?),
            Net::Macvlan => drop(world.network("lan", &["mode=macvlan", "parent=eth1", "ipv6=true"])?),
            Net::Ipam => {
                let create = ["network", "create", "-d", "landline", "--ipam-driver", "landline", "--subnet"];
                let options = ["192.0.2.0/24", "-o", "addressing=dhcp", "-o", "bridge=br0", "lan"];
                world.host.docker_ok(&[&create[..], &options].concat())?;
            }
        }
        for name in names("twin", TWINS) {
            world.run(&name, "lan", &["--restart=always", "--stop-signal=KILL"])?;
            world.row(&name)?;
        }
        let mut twins = Self { world, net, round: 1, before: BTreeMap::new() };
        twins.before = wait_for("the twins", SOON, || twins.seen())?;
        Ok(twins)
    }

    /// The hardware address and the addresses of each, once it has all of them.
    fn seen(&self) -> Option<BTreeMap<String, Vec<String>>> {
        let interface = if self.net == Net::Macvlan { "eth0" } else { "br00" };
        // The hardware address and one address, or two of IPv6 as well.
        let all = if self.net == Net::Ipam { 2 } else { 4 };
        let one = |name: String| {
            let shown = self.world.inside(&name, &["ip", "addr", "show", "dev", interface]).ok()?;
            let words: Vec<&str> = shown.split_whitespace().collect();
            let mut seen: Vec<String> = words
                .windows(2)
                .filter(|pair| ["link/ether", "inet", "inet6"].contains(&pair[0]))
                .map(|pair| pair[1].to_owned())
                .filter(|address| !address.starts_with("fe80:"))
                .collect();
            seen.sort();
            (seen.len() == all).then_some((name, seen))
        };
        names("twin", TWINS).into_iter().map(one).collect()
    }

    /// All are as they were, as nothing but Docker and Landline have seen to; says how long that took.
    fn are_back(&self, how: &str, since: Instant) -> Result {
        let mut last = None;
        let back = wait_for(format!("all twins as they were: {how}"), 3 * SOON, || {
            last = self.seen();
            last.as_ref() == Some(&self.before)
        });
        let seconds = since.elapsed().as_secs_f32();
        self.note(how, if back.is_ok() { "kept" } else { "LOST" }, seconds)?;
        let log = || format!("{}\n{}", self.world.daemon.log(), self.world.host.dockerd_log());
        back.map_err(|error| {
            let listed = self.world.host.docker_ok(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
            format!("{error}\n{:#?}\n{last:#?}\n{listed:?}\n{}", self.before, log())
        })?;
        println!("{:?}, {how}: all {TWINS} are back after {seconds:.1} s", self.net);
        Ok(())
    }

    /// Adds a line to the table, if there is to be one: network, event, round, what became of them, seconds.
    fn note(&self, event: &str, outcome: &str, seconds: f32) -> Result {
        let Some(table) = std::env::var_os("LANDLINE_TEST_TABLE") else { return Ok(()) };
        let mut table = std::fs::OpenOptions::new().create(true).append(true).open(table)?;
        // In one call: another network's test may write at the same time.
        let line = format!("{}\t{event}\t{}\t{outcome}\t{seconds:.1}\n", self.net.name(), self.round);
        Ok(table.write_all(line.as_bytes())?)
    }

    /// The same ten, started one after the other by hand: no event can take less where starts must be told apart. How long it takes.
    fn started_by_hand(&self) -> Result {
        let all = names("twin", TWINS);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.world.host.docker_ok(&[&["stop", "-t0"], all.as_slice()].concat())?;
        let since = Instant::now();
        self.world.host.docker_ok(&[&["start"], all.as_slice()].concat())?;
        self.are_back("docker start, for comparison", since)
    }

    fn restart_docker(&mut self, signal: Signal) -> Result<Instant> {
        self.world.host.dockerd_stop(signal)?;
        let since = Instant::now();
        self.world.host.dockerd_start()?;
        Ok(since)
    }

    fn boot(&mut self) -> Result {
        self.world.host.reboot()?;
        self.world.host.node().make_bridge("br0", Some("192.0.2.10/24"))?;
        second_nic(&self.world.lan, &self.world.host)
    }

    /// All that may become of Docker and of the host, one after the other.
    fn live_through_all(&mut self) -> Result {
        for (how, signal) in [("dockerd SIGTERM", Signal::TERM), ("dockerd SIGKILL", Signal::KILL)] {
            let since = self.restart_docker(signal)?;
            self.are_back(how, since)?;
            let log = self.world.daemon.log();
            assert!(log.contains("cannot be told yet"), "{how}: {log}");
        }
        let since = self.restart_docker(Signal::TERM)?;
        self.world.daemon.kill(Signal::KILL)?;
        self.world.daemon.wait()?;
        self.world.daemon = start_daemon(&self.world.host)?;
        self.are_back("dockerd SIGTERM, Landline SIGKILL", since)?;

        self.world.host.dockerd_stop(Signal::TERM)?;
        let since = Instant::now();
        self.world.host.dockerd(Dockerd { live_restore: true, ..Dockerd::default() })?;
        self.are_back("dockerd SIGTERM, live-restore next", since)?;
        let pids = |twins: &Self| -> Result<Vec<u32>> {
            names("twin", TWINS).iter().map(|name| Ok(twins.world.host.container_pid(name)?)).collect()
        };
        let running = pids(self)?;
        let since = self.restart_docker(Signal::KILL)?;
        self.are_back("live-restore", since)?;
        assert_eq!(pids(self)?, running, "they ran on");

        self.boot()?;
        self.world.daemon = start_daemon(&self.world.host)?;
        let since = Instant::now();
        self.world.host.dockerd(Dockerd::default())?;
        self.are_back("boot, the daemon first", since)?;

        self.boot()?;
        self.world.daemon = self.world.host.landline_on_demand(binary(), &[], &[])?;
        let since = Instant::now();
        self.world.host.dockerd(Dockerd::default())?;
        self.are_back("boot, Docker first", since)?;
        self.started_by_hand()
    }
}

/// How often they go through it all: `LANDLINE_TEST_ROUNDS`, or once.
fn live_through_all(net: Net) -> Result {
    let rounds = std::env::var("LANDLINE_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let mut twins = Twins::new(net)?;
    (1..=rounds.unwrap_or(1)).try_for_each(|round| {
        twins.round = round;
        twins.live_through_all()
    })
}

#[test]
fn ten_on_a_bridge_are_as_they_were() -> Result {
    live_through_all(Net::Bridge)
}

#[test]
fn ten_on_a_nic_are_as_they_were() -> Result {
    live_through_all(Net::Macvlan)
}

#[test]
fn ten_with_addresses_of_the_ipam_driver_are_as_they_were() -> Result {
    live_through_all(Net::Ipam)
}

#[test]
fn a_twin_that_is_not_to_restart_stays_down() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    for (name, restart) in [("one", "always"), ("two", "always"), ("three", "no")] {
        world.run(name, "lan", &[&format!("--restart={restart}"), "--stop-signal=KILL"])?;
        world.row(name)?;
    }
    let of =
        |world: &World, name: &str| Some((world.mac(name, "br00").ok()?, world.address(name, "br00").ok()?));
    let before = (of(&world, "one"), of(&world, "two"));
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.dockerd_start()?;
    wait_for("the two", 2 * SOON, || (of(&world, "one"), of(&world, "two")) == before)?;
    let state = world.host.docker_ok(&["inspect", "-f", "{{.State.Status}} {{.State.Error}}", "three"])?;
    assert_eq!(state.trim(), "exited");
    Ok(())
}

#[test]
fn addresses_that_users_name_tell_twins_apart() -> Result {
    let mut world = World::bridge()?;
    let create =
        ["network", "create", "-d", "landline", "--ipam-driver", "landline", "--subnet", "192.0.2.0/24"];
    world.host.docker_ok(&[&create[..], &["-o", "addressing=pool", "-o", "bridge=br0", "lan"]].concat())?;
    let names = ["one", "two"];
    for (name, ip) in names.into_iter().zip(["192.0.2.71", "192.0.2.72"]) {
        world.run(name, "lan", &["--ip", ip, "--restart=always", "--stop-signal=KILL"])?;
        world.row(name)?;
    }
    let seen =
        |world: &World| names.map(|name| (world.mac(name, "br00").ok(), world.address(name, "br00").ok()));
    let before = seen(&world);
    assert!(!world.host.landline(binary(), &["ls"]).stdout.contains("nothing tells"));
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.dockerd_start()?;
    wait_for("both as they were", 2 * SOON, || seen(&world) == before)
        .map_err(|error| format!("{error}: {before:?} {:?} {}", seen(&world), world.daemon.log()))?;
    assert!(!world.daemon.log().contains("cannot be told yet"), "{}", world.daemon.log());
    Ok(())
}

/// What keeps them from starting is over a moment later.
#[test]
fn twins_that_cannot_start_yet_are_tried_again() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let names = ["left", "right"];
    for name in names {
        world.run(name, "lan", &["--restart=always", "--stop-signal=KILL"])?;
        world.row(name)?;
    }
    let seen =
        |world: &World| names.map(|name| (world.mac(name, "br00").ok(), world.address(name, "br00").ok()));
    let before = seen(&world);
    world.host.dockerd_stop(Signal::TERM)?;
    for words in [&["ip", "link", "set", "br0", "down"][..], &["ip", "link", "set", "br0", "name", "away"]] {
        world.host.check(words)?;
    }
    world.host.dockerd_start()?;
    wait_for("a start that fails again", 2 * SOON, || world.daemon.log().contains("trying once more"))
        .map_err(|error| format!("{error}: {}", world.daemon.log()))?;
    for words in [&["ip", "link", "set", "away", "name", "br0"][..], &["ip", "link", "set", "br0", "up"]] {
        world.host.check(words)?;
    }
    wait_for("both as they were", 3 * SOON, || seen(&world) == before)
        .map_err(|error| format!("{error}: {before:?} {:?} {}", seen(&world), world.daemon.log()))?;
    Ok(())
}
