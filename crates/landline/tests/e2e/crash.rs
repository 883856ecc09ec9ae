//! A daemon that is killed again and again while containers come and go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use landline_testbed::{Dnsmasq, DockerHost, Ra, Signal, wait_for};
use serde_json::Value;

use crate::footprint::Footprint;
use crate::kinds::Kind;
use crate::tools::{at_once, hears_router, start_daemon};
use crate::world::{Result, SOON, World, bare, binary};

/// How often the daemon is killed in one test.
const KILLS: usize = 30;
/// The longest time a daemon lives here, in milliseconds.
const LIFE: u64 = 400;

#[test]
fn bridge_containers_survive_a_storm_of_kills() -> Result {
    storm(Kind::Bridge)
}

#[test]
fn macvlan_containers_survive_a_storm_of_kills() -> Result {
    storm(Kind::Macvlan)
}

/// What makes a container recognisable however many start at once: an argument of `docker run`.
const CONTAINERS: [(&str, &[&str]); 5] = [
    ("key0", &["--network", "name=lan,driver-opt=landline.id=key0"]),
    ("key1", &["--network", "name=lan,driver-opt=landline.id=key1"]),
    ("key2", &["--network", "name=lan,driver-opt=landline.id=key2"]),
    ("mac0", &["--network", "lan", "--mac-address", "02:00:00:00:01:00"]),
    ("mac1", &["--network", "lan", "--mac-address", "02:00:00:00:01:01"]),
];

fn storm(kind: Kind) -> Result {
    let mut world = kind.world(&Dnsmasq { ra: Ra::Stateful, ..Dnsmasq::default() })?;
    world.network_of(kind, "lan", &["ipv6=true"])?;
    let names = CONTAINERS.map(|(name, _)| name.to_owned());
    hears_router(&world.host)?;
    let before = Footprint::of(&world)?;
    let empty = sandboxes(&world.host)?;
    at_once(&names, |name| run(&world.host, name))?;
    let seen = |world: &World| -> Result<Vec<(String, String)>> {
        let one =
            |name: &String| Ok((world.address(name, kind.interface())?, world.mac(name, kind.interface())?));
        names.iter().map(one).collect()
    };
    let seen6 = |world: &World| -> Result<Vec<String>> {
        names.iter().map(|name| world.address6(name, kind.interface(), "2001:db8:1::1")).collect()
    };
    for name in &names {
        world.row(name)?;
    }
    let (addresses, addresses6) = (seen(&world)?, seen6(&world)?);

    let seed = seed();
    println!("LANDLINE_TEST_SEED={seed} repeats these moments");
    let over = AtomicBool::new(false);
    let World { daemon, host, .. } = &mut world;
    let mut log = String::new();
    let killed: Result = std::thread::scope(|scope| {
        for (number, name) in names.iter().enumerate() {
            let (host, over) = (&*host, &over);
            let mut random = Random(seed.wrapping_add(1 + number as u64));
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    come_and_go(host, name, &mut random);
                }
            });
        }
        let mut random = Random(seed);
        let killed = (0..KILLS).try_for_each(|_| {
            // The moment is what is drawn.
            std::thread::sleep(Duration::from_millis(random.below(LIFE)));
            daemon.kill(Signal::KILL)?;
            daemon.wait()?;
            log += &daemon.log();
            *daemon = start_daemon(host)?;
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        killed
    });
    killed?;

    // A start that met a dying daemon may have failed, and said so; the next one does not.
    at_once(&names, |name| match state(&world.host, name).as_str() {
        "running" => Ok(()),
        "" => run(&world.host, name),
        _ => Ok(world.host.docker_ok(&["start", name]).map(drop)?),
    })?;
    let context = |world: &World| {
        let rows = world.ls().unwrap_or_default();
        let identities = world.host.landline_ok(binary(), &["identity", "ls"]).unwrap_or_default();
        format!("seed {seed}\n{rows:#}\n{identities}\n{log}{}", world.daemon.log())
    };
    assert_eq!(seen(&world)?, addresses, "{}", context(&world));
    assert_eq!(seen6(&world)?, addresses6, "{}", context(&world));
    at_once(&names, |name| {
        let address = world.address(name, kind.interface())?;
        Ok(world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)]).map(drop)?)
    })?;
    wait_for("as many rows as containers, all with their names", SOON, || {
        let listing = world.ls().unwrap_or_default();
        let rows = listing["endpoints"].as_array().cloned().unwrap_or_default();
        let known = |name: &String| rows.iter().any(|row| row["container"] == **name);
        rows.len() == names.len() && names.iter().all(known)
    })
    .map_err(|error| format!("{error}\n{}", context(&world)))?;
    the_server_has_no_more(&world, &addresses).map_err(|error| format!("{error}\n{}", context(&world)))?;

    assert_eq!(sandboxes(&world.host)?, empty + names.len(), "sandboxes are left");
    at_once(&names, |name| Ok(world.host.docker_ok(&["rm", "-f", name]).map(drop)?))?;
    assert_eq!(sandboxes(&world.host)?, empty, "sandboxes are left");
    before.is_back(&world)?;
    Ok(())
}

/// Every lease is one container's, every address is leased once, and an identity stands behind each.
fn the_server_has_no_more(world: &World, addresses: &[(String, String)]) -> Result {
    let expected: BTreeSet<(String, String)> =
        addresses.iter().map(|(address, mac)| (bare(address).to_owned(), mac.clone())).collect();
    let (six, leases): (Vec<_>, Vec<_>) =
        world.dhcp.leases().into_iter().partition(|lease| lease.ip.is_ipv6());
    if six.len() != leases.len() {
        return Err(format!("of IPv6 the server has {six:#?}").into());
    }
    let leased: BTreeSet<(String, String)> =
        leases.iter().map(|lease| (lease.ip.to_string(), lease.mac.clone())).collect();
    if leased != expected || leases.len() != expected.len() {
        return Err(format!("the server has {leases:#?}").into());
    }
    let listed: Value =
        serde_json::from_str(&world.host.landline_ok(binary(), &["identity", "ls", "--json"])?)?;
    let known: BTreeSet<&str> =
        listed.as_array().into_iter().flatten().filter_map(|i| i["mac"].as_str()).collect();
    match expected.iter().find(|(_, mac)| !known.contains(mac.as_str())) {
        Some((address, mac)) => Err(format!("nobody is known to have {mac}, {address}").into()),
        None => Ok(()),
    }
}

fn run(host: &DockerHost, name: &str) -> Result {
    let (_, args) = CONTAINERS.iter().find(|(other, _)| *other == name).ok_or("no such container")?;
    let command = [&["run", "-d", "--name", name], *args, &["box", "sleep", "infinity"]].concat();
    Ok(host.docker_ok(&command).map(drop)?)
}

/// One more start of a container, after one of the ways to end it. Each may fail when the daemon dies on the way.
fn come_and_go(host: &DockerHost, name: &str, random: &mut Random) {
    match random.below(4) {
        0 => {
            host.docker(&["rm", "-f", name]);
            let _ = run(host, name);
        }
        1 => {
            host.docker(&["stop", "-t0", name]);
            host.docker(&["start", name]);
        }
        2 => {
            host.docker(&["kill", name]);
            host.docker(&["start", name]);
        }
        _ => {
            host.docker(&["restart", "-t0", name]);
        }
    }
}

/// What Docker says of a container; nothing if there is none.
fn state(host: &DockerHost, name: &str) -> String {
    host.docker_ok(&["inspect", "--format", "{{.State.Status}}", name])
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// How many sandboxes Docker has bound on the host. The files they were bound to go later.
fn sandboxes(host: &DockerHost) -> Result<usize> {
    Ok(host.check(&["cat", "/proc/self/mountinfo"])?.lines().filter(|line| line.contains(" - nsfs ")).count())
}

fn seed() -> u64 {
    let given = std::env::var("LANDLINE_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_secs()))
}

/// `SplitMix64`: good enough to draw moments, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
