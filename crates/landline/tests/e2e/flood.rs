//! What anybody on the LAN may send as fast as the wire carries it costs the host a bounded amount of work.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use landline_testbed::{DhcpKind, DhcpMessage, Dnsmasq, FakeServer, Ra, Reply, Signal, wait_for};

use crate::sockets::{advertisement, flood};
use crate::world::{Result, SOON, World, bare};

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

    /// How often each thread of the daemon's process has been woken (`/proc/PID/task/TID/status`).
    fn wakes(&self) -> Result<BTreeMap<PathBuf, u64>> {
        let mut all = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.daemon.pid()?))? {
            let path = task?.path();
            // A thread may end meanwhile.
            let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            all.extend(line.and_then(|count| count.trim().parse().ok()).map(|count| (path, count)));
        }
        Ok(all)
    }

    /// How often the threads that are there have been woken since.
    fn woken(&self, since: &BTreeMap<PathBuf, u64>) -> Result<u64> {
        let now = self.wakes()?;
        Ok(now.iter().map(|(task, count)| count - since.get(task).unwrap_or(&0).min(count)).sum())
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
    let (lines, wakes) = (world.lines() - lines, world.woken(&wakes)?);
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

#[test]
fn addresses_and_links_that_come_and_go_cost_a_look_in_a_while() -> Result {
    const ROUNDS: u64 = 1000;
    let mut world = World::nic()?;
    world.network("lan", &["mode=macvlan", "parent=eth0", "host_access=true"])?;
    world.run("web", "lan", &[])?;
    let address = world.address("web", "eth0")?;
    let reached = |world: &World| world.host.node().run(&["ping", "-c1", "-W1", bare(&address)]).success();
    wait_for("the host to reach the container", SOON, || reached(&world).then_some(()))?;
    let (bytes, wakes, lines, start) = (world.written()?, world.wakes()?, world.lines(), Instant::now());
    // An address of the parent's, which everybody follows who asks what the host has; a link; and a reload of the configuration.
    world.host.node().sh(&format!(
        "for n in $(seq {ROUNDS}); do
             echo address add 198.51.100.77/32 dev eth0
             echo link add flood0 type veth peer name flood1
             echo address del 198.51.100.77/32 dev eth0
             echo link delete flood0
         done | ip -batch -"
    ))?;
    for _ in 0..100 {
        world.daemon.kill(Signal::HUP)?;
    }
    let seconds = start.elapsed().as_secs() + 1;
    let (bytes, wakes, lines) = (world.written()? - bytes, world.woken(&wakes)?, world.lines() - lines);
    println!("{seconds} s, {ROUNDS} rounds: {wakes} wakes, {lines} lines, {} KiB", bytes / 1024);
    // Whoever follows the kernel is woken by it; what it does then is bounded.
    assert!(wakes < 12 * ROUNDS, "{wakes} wakes in {seconds} s");
    assert!(lines <= 120, "{lines} lines in {seconds} s\n{}", world.daemon.log());
    assert!(bytes < (seconds + 1) * 256 * 1024, "{bytes} bytes in {seconds} s");
    // And nothing was overlooked.
    wait_for("the host to reach the container", SOON, || reached(&world).then_some(()))?;
    Ok(())
}

#[test]
fn what_docker_says_of_a_container_costs_a_renewal_in_a_while() -> Result {
    const NAMES: usize = 300;
    let world = World::bridge()?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67")?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    let address = world.address("web", INTERFACE)?;
    let asked = || {
        let mut messages = capture.dhcp().into_iter().map(|(_, message)| message);
        messages.by_ref().filter(|m| m.kind() == Some(DhcpKind::Request)).count()
    };
    let (bytes, lines, requests, start) = (world.written()?, world.lines(), asked(), Instant::now());
    let name = |n: usize| if n == 0 { "web".to_owned() } else { format!("web-{n}") };
    for n in 0..NAMES {
        let (status, answer) = world.host.docker_api(
            "POST",
            &format!("/containers/{}/rename?name={}", name(n), name(n + 1)),
            "",
        )?;
        assert_eq!(status, 204, "{answer}");
    }
    let last = name(NAMES);
    wait_for("the last name to be the server's", SOON, || {
        world.dhcp.leases().iter().any(|lease| lease.hostname.as_deref() == Some(&*last)).then_some(())
    })?;
    let seconds = start.elapsed().as_secs() + 1;
    let (bytes, lines) = (world.written()? - bytes, world.lines() - lines);
    let requests = asked() - requests;
    println!("{seconds} s, {NAMES} names: {requests} requests, {lines} lines, {} KiB", bytes / 1024);
    assert!(requests as u64 <= seconds + 1, "{requests} requests in {seconds} s");
    assert!(lines as u64 <= seconds + 2, "{lines} lines in {seconds} s\n{}", world.daemon.log());
    // Whose the identity and the endpoint are now is stored at once: two rows for each name that was heard of, and no more.
    assert!(bytes < NAMES as u64 * 2 * 12 * 1024, "{bytes} bytes in {seconds} s");
    assert_eq!(world.address(&last, INTERFACE)?, address);
    Ok(())
}

#[test]
fn what_others_write_into_open_vswitch_costs_a_look_in_a_while() -> Result {
    const WRITES: u64 = 300;
    let (ovs, world) = crate::ovs::world()?;
    world.network("lan", &["mode=ovs", "bridge=ovs0"])?;
    world.run("web", "lan", &[])?;
    let (wakes, lines, start) = (world.wakes()?, world.lines(), Instant::now());
    for n in 0..WRITES {
        ovs.vsctl(&["--no-wait", "set", "bridge", "ovs0", &format!("external_ids:n={n}")])?;
    }
    let seconds = start.elapsed().as_secs() + 1;
    let (wakes, lines) = (world.woken(&wakes)?, world.lines() - lines);
    println!("{seconds} s, {WRITES} writes: {wakes} wakes, {lines} lines");
    assert!(wakes < 40 * seconds + 4 * WRITES, "{wakes} wakes in {seconds} s");
    assert_eq!(lines, 0, "{}", world.daemon.log());
    Ok(())
}
