//! Starts that come to nothing, for whatever reason and at whatever moment: the user is told why, and nothing is
//! left of them.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use landline_testbed::{DhcpKind, DhcpMessage, FakeServer, Frame, Reply, Signal, wait_for};

use crate::footprint::Footprint;
use crate::tools::{at_once, names, second_nic, start_daemon};
use crate::world::{Result, SOON, World, bare};

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

#[test]
fn without_a_server_the_user_is_told_what_to_look_at() -> Result {
    let mut world = silent()?;
    second_nic(&world.lan, &world.host)?;
    world.network("bridged", &["bridge=br0", "lease_timeout=2s"])?;
    world.network("direct", &["mode=macvlan", "parent=eth1", "lease_timeout=2s"])?;
    let before = Footprint::of(&world)?;

    at_once(&["bridged".to_owned(), "direct".to_owned()], |network| {
        let start = Instant::now();
        let output = world.host.docker(&["run", "--name", network, "--network", network, "box", "true"]);
        let took = start.elapsed();
        let parent = if network == "direct" { "eth1" } else { "br0" };
        let sentence = format!(
            "network {network}: no DHCP server offered an address on {parent} within 2 s; check that a server serves this \
             LAN and has addresses left, that the parent is plugged in, and that no firewall drops bridged traffic (landline doctor looks for that); a \
             slow server needs a larger -o lease_timeout"
        );
        assert!(!output.success() && output.stderr.contains(&sentence), "{}", output.stderr);
        assert!((2..5).contains(&took.as_secs()), "{took:?}");
        Ok(())
    })?;
    // The containers are there, and could be started again; of the attempt nothing is.
    before.is_back(&world)?;

    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = start_daemon(&world.host)?;
    before.network_is_back(&world)?;

    // All that was missing was the server.
    world.dhcp.start()?;
    world.host.docker_ok(&["start", "-a", "bridged"])?;
    Ok(())
}

#[test]
fn an_offer_that_is_never_confirmed_is_given_back() -> Result {
    let world = silent()?;
    world.network("lan", &["bridge=br0", "lease_timeout=2s"])?;
    let before = Footprint::of(&world)?;
    let server = FakeServer::start(world.lan.router(), ROUTER, |message| match message.kind() {
        Some(DhcpKind::Discover) => vec![Reply::now(&grant(message, DhcpKind::Offer))],
        _ => Vec::new(),
    })?;

    let output = world.host.docker(&["run", "--network", "lan", "box", "true"]);
    let sentence = "network lan: a DHCP server offered an address but did not confirm it on br0 within 2 s; \
                    look at the server's log";
    assert!(!output.success() && output.stderr.contains(sentence), "{}", output.stderr);
    before.is_back(&world)?;

    // The server may have granted it all the same.
    let release = wait_for("the address to be given back", SOON, || {
        server.seen().into_iter().map(|(_, message)| message).find(|m| m.kind() == Some(DhcpKind::Release))
    })?;
    assert_eq!(release.ciaddr, address_for(&release));
    Ok(())
}

#[test]
fn a_container_removed_while_it_starts_leaves_nothing() -> Result {
    let mut world = silent()?;
    world.network("lan", &["bridge=br0", "lease_timeout=5s"])?;
    let before = Footprint::of(&world)?;

    // A server so slow that every moment of an exchange can be met.
    let server = FakeServer::start(world.lan.router(), ROUTER, |message| {
        let kind = match message.kind() {
            Some(DhcpKind::Discover) => DhcpKind::Offer,
            Some(DhcpKind::Request) => DhcpKind::Ack,
            _ => return Vec::new(),
        };
        vec![Reply::late(Duration::from_millis(700), &grant(message, kind))]
    })?;
    let moments = ["discover", "request", "client-killed", "started"].map(str::to_owned);
    at_once(&moments, |moment| {
        let mac =
            format!("02:00:00:00:00:{:02x}", moments.iter().position(|m| m == moment).unwrap_or(0) + 10);
        let heard = |kind| {
            wait_for(format!("{kind:?} of {moment}"), SOON, || {
                server.seen().iter().any(|(_, m)| m.kind() == Some(kind) && m.client_mac() == mac)
            })
        };
        let argv = ["run", "-d", "--name", moment, "--network", "lan", "--mac-address", &mac];
        let mut client = world.host.docker_spawn(&[&argv[..], &["box", "sleep", "infinity"]].concat())?;
        match moment {
            "discover" => heard(DhcpKind::Discover)?,
            "request" => heard(DhcpKind::Request)?,
            "client-killed" => {
                heard(DhcpKind::Discover)?;
                client.kill();
            }
            _ => drop(client.wait()?),
        }
        remove(&world, moment)
    })?;
    before.is_back(&world)?;
    drop(server);

    // The same with a quick server, and whenever it happens to be.
    world.dhcp.start()?;
    for kill_client in [false, true] {
        at_once(&names(if kill_client { "killed" } else { "removed" }, 3), |name| {
            let digit = name.chars().last().and_then(|c| c.to_digit(10)).unwrap_or(0);
            let run = ["run", "-d", "--name", name, "--network", "lan", "box", "sleep", "infinity"];
            let client = world.host.docker_spawn(&run)?;
            wait_for(format!("{name} to be made"), SOON, || world.host.docker(&["inspect", name]).success())?;
            std::thread::sleep(Duration::from_millis(u64::from(digit) * 200));
            if kill_client {
                drop(client);
            }
            remove(&world, name)
        })?;
    }
    before.is_back(&world)
}

#[test]
fn a_daemon_killed_in_the_middle_of_a_start_leaves_nothing() -> Result {
    ended_in_the_middle(Signal::KILL)
}

#[test]
fn a_daemon_stopped_twice_in_the_middle_of_a_start_does_not_wait_for_it() -> Result {
    ended_in_the_middle(Signal::TERM)
}

fn ended_in_the_middle(signal: Signal) -> Result {
    let mut world = silent()?;
    world.network("lan", &["bridge=br0", "lease_timeout=60s"])?;
    let before = Footprint::of(&world)?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67")?;
    let run = ["run", "-d", "--name", "web", "--network", "lan", "box", "sleep", "infinity"];
    let mut client = world.host.docker_spawn(&run)?;
    capture.wait_for("DISCOVER", SOON, Frame::dhcp)?;
    let start = Instant::now();
    world.daemon.kill(signal)?;
    if signal == Signal::TERM {
        // It finishes what Docker waits for, unless it is told again.
        let stopping = || world.daemon.log().contains("stopping;");
        wait_for("the daemon to have heard of it", SOON, stopping)?;
        world.daemon.kill(signal)?;
    }
    let status = world.daemon.wait()?;
    if signal == Signal::TERM {
        assert_eq!(status.code(), Some(0), "{}", world.daemon.log());
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    } else {
        let links = world.host.snapshot()?.to_string();
        assert!(links.contains("landline:"), "it was too late to leave anything behind:\n{links}");
    }

    // Docker tries again by itself; that this Docker leaves out the body then is told to the user.
    world.dhcp.start()?;
    world.daemon = start_daemon(&world.host)?;
    assert!(!client.wait()?.success());
    assert!(
        client.stderr().contains("Docker repeated the request without its contents; try again"),
        "{}",
        client.stderr()
    );
    before.network_is_back(&world)?;

    world.host.docker_ok(&["start", "web"])?;
    let address = world.address("web", "br00")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    remove(&world, "web")?;
    before.network_is_back(&world)
}

/// A host with a bridge on a LAN whose DHCP server is switched off.
fn silent() -> Result<World> {
    let mut world = World::bridge()?;
    world.dhcp.stop()?;
    Ok(world)
}

/// `docker rm -f` until the container is gone.
fn remove(world: &World, name: &str) -> Result {
    wait_for(format!("the end of {name}"), 2 * SOON, || {
        let removed = world.host.docker(&["rm", "-f", name]);
        // Until the client's request has arrived there is nothing to remove.
        removed.success() && removed.stdout.contains(name) && !world.host.docker(&["inspect", name]).success()
    })?;
    Ok(())
}

/// The last octet of the client's MAC is that of its address.
fn address_for(message: &DhcpMessage) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 128 | message.chaddr[5])
}

fn grant(message: &DhcpMessage, kind: DhcpKind) -> DhcpMessage {
    DhcpMessage::grant(message, kind, ROUTER, address_for(message), 600)
}
