//! What anybody on the LAN may send as fast as the wire carries it costs the host a bounded amount of work.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use landline_testbed::{DhcpKind, DhcpMessage, Dnsmasq, FakeServer, Ra, Reply, wait_for};

use crate::sockets::{advertisement, flood};
use crate::world::{Result, SOON, World};

/// What the containers' interface is called.
const INTERFACE: &str = "br00";

/// How many containers hear it.
const CONTAINERS: usize = 8;

/// How many advertisements are sent, and how often.
const ADVERTISEMENTS: u16 = 3000;
const GAP: Duration = Duration::from_millis(3);

impl World {
    /// How many bytes the daemon's process has written so far (`/proc/PID/io`).
    fn written(&self) -> Result<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.daemon.pid()?))?;
        let line = io.lines().find_map(|line| line.strip_prefix("wchar:")).ok_or("no such field")?;
        Ok(line.trim().parse()?)
    }

    /// How often threads of the daemon's process have been woken (`/proc/PID/task/TID/status`).
    fn wakes(&self) -> Result<u64> {
        let mut all = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.daemon.pid()?))? {
            // A thread may end meanwhile.
            let status = std::fs::read_to_string(task?.path().join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            all += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(all)
    }

    /// How many lines an administrator has in the log.
    fn lines(&self) -> usize {
        self.daemon.log().lines().filter(|line| !line.contains(" DEBUG ")).count()
    }

    /// How often an endpoint's IPv6 was set up, as the log has it.
    fn setups(&self) -> usize {
        self.daemon.log().lines().filter(|line| line.contains(" IPv6 ") && line.contains("routers=")).count()
    }
}

#[test]
fn router_advertisements_cost_a_store_and_a_setup_a_second() -> Result {
    let world = World::bridge_with(Dnsmasq { ra: Ra::Slaac, ..Dnsmasq::default() })?;
    world.network("lan", &["bridge=br0", "ipv6=slaac"])?;
    let names: Vec<String> = (0..CONTAINERS).map(|n| format!("web{n}")).collect();
    for name in &names {
        world.run(name, "lan", &[])?;
        world.address6(name, INTERFACE, "2001:db8:1:")?;
    }
    let (bytes, setups, before) = (world.written()?, world.setups(), Instant::now());
    // Each has another prefix and another MTU; no prefix lives long enough to keep the next one out.
    let messages = (0..ADVERTISEMENTS).map(|n| {
        let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0xf, n, 0, 0, 0, 0);
        advertisement(prefix, 1, Some(1280 + u32::from(n) % 200))
    });
    let (lines, wakes) = (world.lines(), world.wakes()?);
    flood(&world.lan.router().netns_path(), "eth0", GAP, messages)?;
    let flooded = before.elapsed().as_secs() + 1;
    let (lines, wakes) = (world.lines() - lines, world.wakes()? - wakes);
    println!("{flooded} s of flood: {lines} lines, {wakes} wakes");
    assert!(wakes < flooded * 60 * CONTAINERS as u64, "{wakes} wakes in {flooded} s");
    assert!(lines as u64 <= flooded * 3 * CONTAINERS as u64, "{lines} lines in {flooded} s");
    // And the last word counts, once the prefixes of before are over: a host takes only so many at a time.
    let setting = format!("/proc/sys/net/ipv6/conf/{INTERFACE}/mtu");
    let last = advertisement(Ipv6Addr::new(0x2001, 0xdb8, 0xe, 0, 0, 0, 0, 0), 600, Some(1444));
    wait_for("the last advertisement to hold", SOON, || {
        flood(&world.lan.router().netns_path(), "eth0", Duration::ZERO, std::iter::once(last.clone()))
            .ok()?;
        let mtu = |name: &String| world.inside(name, &["cat", &setting]);
        let addressed = |name: &String| {
            let all = world.addresses6(name, INTERFACE);
            all.is_ok_and(|all| all.iter().any(|net| net.starts_with("2001:db8:e:")))
        };
        let holds = |name: &String| mtu(name).is_ok_and(|mtu| mtu.trim() == "1444") && addressed(name);
        names.iter().all(holds).then_some(())
    })?;
    let seconds = before.elapsed().as_secs() + 1;
    let (bytes, setups) = (world.written()? - bytes, world.setups() - setups);
    println!("{seconds} s: {setups} setups, {} KiB", bytes / 1024);
    let most = (CONTAINERS as u64) * (seconds + 1);
    assert!(setups as u64 <= most, "{setups} setups of {CONTAINERS} links in {seconds} s");
    assert!(bytes < most * 128 * 1024, "{bytes} bytes in {seconds} s");
    Ok(())
}

/// Grants the same address for a second, again and again; with `refuse` every other request is refused.
fn restless(world: &mut World, refuse: bool) -> Result<FakeServer> {
    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 60);
    world.dhcp.stop()?;
    let requests = AtomicU32::new(0);
    Ok(FakeServer::start(world.lan.router(), ROUTER, move |message| {
        let kind = match message.kind() {
            Some(DhcpKind::Discover) => DhcpKind::Offer,
            Some(DhcpKind::Request) => {
                let n = requests.fetch_add(1, Ordering::Relaxed);
                // The start goes well.
                if refuse && n > 3 && n.is_multiple_of(2) {
                    return vec![Reply::now(&DhcpMessage::answer(message, DhcpKind::Nak, ROUTER))];
                }
                DhcpKind::Ack
            }
            _ => return Vec::new(),
        };
        // T1 of no time.
        vec![Reply::now(&DhcpMessage::grant(message, kind, ROUTER, ADDRESS, 1).with(58, vec![0; 4]))]
    })?)
}

#[test]
fn leases_of_a_second_cost_a_store_a_second_and_no_lines() -> Result {
    for refuse in [false, true] {
        const SECONDS: u64 = 20;
        let mut world = World::bridge()?;
        let _server = restless(&mut world, refuse)?;
        world.network("lan", &["bridge=br0"])?;
        world.run("web", "lan", &[])?;
        let (bytes, lines) = (world.written()?, world.lines());
        let start = Instant::now();
        wait_for("time to pass", Duration::from_secs(2 * SECONDS), || {
            (start.elapsed() > Duration::from_secs(SECONDS)).then_some(())
        })?;
        let (bytes, lines) = (world.written()? - bytes, world.lines() - lines);
        println!("refuse={refuse}: {lines} lines, {} KiB", bytes / 1024);
        assert!(lines <= if refuse { 30 } else { 2 }, "{lines} lines\n{}", world.daemon.log());
        assert!(bytes < SECONDS * 64 * 1024, "{bytes} bytes in {SECONDS} s");
    }
    Ok(())
}
