//! Landline and Docker come and go; containers and their leases stay.

use std::time::{Duration, SystemTime};

use landline_testbed::{Capture, DhcpKind, DhcpMessage, Dockerd, Frame, Kea, Lan, Signal, wait_for};

use crate::footprint::Footprint;
use crate::tools::{at_once, names, second_nic, start_daemon};
use crate::world::{Result, SOON, World, bare};

/// Leases of twelve seconds, renewed after six.
fn short() -> Kea {
    Kea { valid_lifetime: 12, renew: Some(6), rebind: Some(9), ..Kea::default() }
}

/// T1, less what clients are early by, and less what a request waited before it could be sent: its lease counts
/// from when it was made.
const NEARLY_T1: Duration = Duration::from_secs(4);
/// After this an address is not renewed but lost.
const LEASE: Duration = Duration::from_secs(12);

#[test]
fn a_daemon_that_is_killed_or_stopped_comes_back_to_its_containers() -> Result {
    let mut world = world()?;
    let capture = dhcp_capture(&world)?;
    let old = ["bridged", "direct"];
    at_once(&old.map(str::to_owned), |name| world.run(name, name, &[]))?;
    let before = old.iter().map(|name| address(&world, name)).collect::<Result<Vec<_>>>()?;
    // A container's name is told to the server once it is known; after that there is silence until T1.
    for name in old {
        world.row(name)?;
        let mac = world.mac(name, interface(name))?;
        wait_for(format!("the name of {name} at the server"), SOON, || {
            world.dhcp.lease_of(&mac).is_some_and(|lease| lease.hostname.as_deref() == Some(name))
        })?;
    }

    for signal in [Signal::KILL, Signal::TERM] {
        world.daemon.kill(signal)?;
        let status = world.daemon.wait()?;
        if signal == Signal::TERM {
            assert_eq!(status.code(), Some(0), "{}", world.daemon.log());
            for socket in ["/run/docker/plugins/landline.sock", "/run/landline/control.sock"] {
                assert!(!world.host.exec(&["test", "-e", socket]).success(), "{socket} is still there");
            }
        }
        let down = SystemTime::now();
        world.daemon = start_daemon(&world.host)?;
        let now = old.iter().map(|name| address(&world, name)).collect::<Result<Vec<_>>>()?;
        assert_eq!(now, before);
        for (name, address) in old.iter().zip(&before) {
            let row = world.row(name)?;
            assert_eq!((&row["address"], &row["network"]), (&(**address).into(), &(*name).into()));
            let mac = world.mac(name, interface(name))?;
            let (first, _) = wait_for(format!("a renewal of {name}"), LEASE, || {
                sent(&capture, &mac).into_iter().find(|(frame, _)| frame.time > down)
            })?;
            let silent = first.time.duration_since(last_ack(&capture, &mac, first.time)?)?;
            assert!(
                silent > NEARLY_T1,
                "{name} asked after {silent:?} already:\n{}",
                capture.lines().join("\n")
            );
            wait_for(format!("the answer to {name}"), SOON, || {
                last_ack(&capture, &mac, SystemTime::now()).is_ok_and(|ack| ack > first.time)
            })?;
        }
        assert_eq!(old.iter().map(|name| address(&world, name)).collect::<Result<Vec<_>>>()?, before);
        let next = format!("after-{}", if signal == Signal::KILL { "kill" } else { "term" });
        world.run(&next, "bridged", &[])?;
        world.host.in_container(&next, &["ping", "-c1", "-W5", "192.0.2.2"])?;
    }
    let released = capture.dhcp().iter().any(|(_, message)| message.kind() == Some(DhcpKind::Release));
    assert!(!released, "an address was given back:\n{}", capture.lines().join("\n"));
    Ok(())
}

/// More than what the rest of the daemon has for its end.
const LONG: Duration = Duration::from_secs(6);

#[test]
fn a_start_under_way_is_finished_before_the_daemon_ends() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0", "lease_timeout=40s"])?;
    let capture = dhcp_capture(&world)?;
    world.dhcp.stop()?;
    let mut run = world.host.docker_spawn(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "lan",
        "box",
        "sleep",
        "infinity",
    ])?;
    let asks = |after: SystemTime| capture.dhcp().iter().any(|(frame, _)| frame.time > after);
    wait_for("a client to ask", SOON, || asks(SystemTime::UNIX_EPOCH))?;
    world.daemon.kill(Signal::TERM)?;
    let told = SystemTime::now();
    wait_for("the daemon to go on all the same", 2 * SOON, || asks(told + LONG))
        .map_err(|error| format!("{error}: {}", world.daemon.log()))?;
    world.dhcp.start()?;
    assert_eq!(world.daemon.wait()?.code(), Some(0), "{}", world.daemon.log());
    assert!(world.daemon.log().contains("finishing what Docker waits for"), "{}", world.daemon.log());
    // What Docker asks for next waits for the next daemon.
    world.daemon = start_daemon(&world.host)?;
    assert!(run.wait()?.success(), "{}\n{}", run.stderr(), world.daemon.log());
    world.row("web")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&world.address("web", "br00")?)])?;
    Ok(())
}

#[test]
fn what_happened_while_the_daemon_was_away_is_made_up_for() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let before = Footprint::of(&world)?;
    let containers = names("c", 3);
    at_once(&containers, |name| world.run(name, "lan", &[]))?;
    let [cut_off, removed, unplugged] = ["c0", "c1", "c2"];
    let rows = containers.iter().map(|name| world.row(name)).collect::<Result<Vec<_>>>()?;
    let addresses = [world.address(cut_off, "br00")?, world.address(unplugged, "br00")?];
    let pid = world.host.container_pid(removed)?.to_string();

    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    let mut client = world.host.docker_spawn(&["rm", "-f", removed])?;
    wait_for("the container's end", SOON, || {
        !world.host.exec(&["test", "-e", &format!("/proc/{pid}")]).success()
    })?;
    let pid = world.host.container_pid(unplugged)?.to_string();
    world.host.check(&["nsenter", "--net", "-t", &pid, "ip", "link", "del", "br00"])?;
    let endpoint = rows[0]["endpoint"].as_str().unwrap_or_default();
    let links = world.host.node().ip_json(&["link", "show", "master", "br0"])?;
    let ends = links.as_array().into_iter().flatten();
    let mut ports =
        ends.filter(|link| link["ifalias"].as_str().is_some_and(|alias| alias.contains(endpoint)));
    let port = ports.next().and_then(|link| link["ifname"].as_str()).ok_or("no port of c0 in br0")?;
    world.host.check(&["ip", "link", "set", port, "nomaster"])?;
    assert!(world.lan.peer().check(&["ping", "-c1", "-W1", bare(&addresses[0])]).is_err(), "c0 is cut off");

    world.daemon = start_daemon(&world.host)?;
    assert!(client.wait()?.success(), "{}", client.stderr());
    wait_for("only what runs to be listed", SOON, || {
        let listing = world.ls().ok()?;
        let rows: Vec<_> =
            listing["endpoints"].as_array()?.iter().map(|row| row["container"].clone()).collect();
        (rows == [cut_off, unplugged]).then_some(())
    })
    .map_err(|error| format!("{error}: {:#}", world.ls().unwrap_or_default()))?;
    // A port is put back; one that runs and has lost its link gets another.
    for (name, address) in [cut_off, unplugged].into_iter().zip(&addresses) {
        wait_for(format!("the peer to reach {name}"), SOON, || {
            world.lan.peer().check(&["ping", "-c1", "-W1", bare(address)]).is_ok()
        })?;
        assert_eq!(world.address(name, "br00")?, *address);
    }
    world.host.docker_ok(&["rm", "-f", cut_off, unplugged])?;
    before.network_is_back(&world)
}

#[test]
fn containers_that_always_restart_come_back_with_docker() -> Result {
    let mut world = World::bridge()?;
    second_nic(&world.lan, &world.host)?;
    world.network("bridged", &["bridge=br0"])?;
    world.network("direct", &["mode=macvlan", "parent=eth1"])?;
    let before = Footprint::of(&world)?;
    let containers = ["bridged", "direct"].map(str::to_owned);
    at_once(&containers, |name| world.run(name, name, &["--restart=always"]))?;

    for signal in [Signal::TERM, Signal::KILL] {
        let old: Vec<_> =
            containers.iter().map(|name| Ok(world.row(name)?["endpoint"].clone())).collect::<Result<_>>()?;
        world.host.dockerd_stop(signal)?;
        world.host.dockerd_start()?;
        for name in &containers {
            let address = wait_for(format!("{name} to be back"), 2 * SOON, || address(&world, name).ok())
                .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
            world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
        }
        wait_for("only the new endpoints to be listed", SOON, || {
            let listing = world.ls().ok()?;
            let rows = listing["endpoints"].as_array()?.clone();
            let named = containers.iter().all(|name| rows.iter().any(|row| row["container"] == **name));
            (named && rows.len() == 2 && rows.iter().all(|row| !old.contains(&row["endpoint"]))).then_some(())
        })
        .map_err(|error| format!("{error}: {:#}", world.ls().unwrap_or_default()))?;
        let links = world.host.snapshot()?;
        let ours: Vec<&str> = links.lines_with("alias=landline:").collect();
        assert_eq!(ours.len(), 1, "the host's end of the one veth: {ours:#?}");
    }
    at_once(&containers, |name| Ok(world.host.docker_ok(&["rm", "-f", name]).map(drop)?))?;
    before.is_back(&world)
}

#[test]
fn leases_are_renewed_while_docker_is_away() -> Result {
    let mut world = world()?;
    world.host.dockerd(Dockerd { live_restore: true, ..Dockerd::default() })?;
    let capture = dhcp_capture(&world)?;
    world.run("bridged", "bridged", &[])?;
    let (pid, mac) = (world.host.container_pid("bridged")?, world.mac("bridged", "br00")?);
    let address = address(&world, "bridged")?;
    world.row("bridged")?;

    world.host.dockerd_stop(Signal::TERM)?;
    let down = SystemTime::now();
    wait_for("a renewal without Docker", LEASE, || {
        last_ack(&capture, &mac, SystemTime::now()).is_ok_and(|ack| ack > down)
    })?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    world.host.dockerd_start()?;
    let up = SystemTime::now();
    wait_for("a renewal with Docker again", LEASE, || {
        last_ack(&capture, &mac, SystemTime::now()).is_ok_and(|ack| ack > up)
    })?;

    assert_eq!(world.host.container_pid("bridged")?, pid, "the container was restarted");
    assert_eq!(world.address("bridged", "br00")?, address);
    assert_eq!(world.row("bridged")?["address"], address);
    world.host.docker_ok(&["rm", "-f", "bridged"])?;
    assert_eq!(world.ls()?["endpoints"], serde_json::json!([]));
    Ok(())
}

/// A host with a bridge and a NIC for macvlan, a network `bridged` and one `direct`, and short leases.
fn world() -> Result<World> {
    let lan = Lan::new()?;
    let dhcp = lan.kea(short())?;
    let host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    second_nic(&lan, &host)?;
    let world = World::start(lan, dhcp, host)?;
    world.network("bridged", &["bridge=br0"])?;
    world.network("direct", &["mode=macvlan", "parent=eth1"])?;
    Ok(world)
}

fn interface(container: &str) -> &'static str {
    if container == "direct" { "eth0" } else { "br00" }
}

fn address(world: &World, container: &str) -> Result<String> {
    world.address(container, interface(container))
}

fn dhcp_capture(world: &World) -> Result<Capture> {
    Ok(world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?)
}

/// What a client has sent.
fn sent(capture: &Capture, mac: &str) -> Vec<(Frame, DhcpMessage)> {
    capture.dhcp().into_iter().filter(|(_, message)| message.op == 1 && message.client_mac() == mac).collect()
}

/// When a client was last granted something, before this time.
fn last_ack(capture: &Capture, mac: &str, before: SystemTime) -> Result<SystemTime> {
    let acks = capture.dhcp().into_iter().filter(|(frame, message)| {
        message.kind() == Some(DhcpKind::Ack) && message.client_mac() == mac && frame.time < before
    });
    Ok(acks.map(|(frame, _)| frame.time).max().ok_or("never an ACK")?)
}
