//! Identities derived from a key that several hosts share.

use std::collections::BTreeMap;

use landline_testbed::{
    Daemon, DhcpServer, Dhcpd, Dnsmasq, DockerHost, Dockerd, Kea, Lan, ServerConfig, Signal, wait_for,
};
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::tools::{second_nic, start_daemon};
use crate::world::{Result, SOON, World, bare, binary};

pub(crate) const DERIVED: [&str; 2] = ["bridge=br0", "identity=derived"];

fn landline(host: &DockerHost, args: &[&str]) -> Result<String> {
    Ok(host.landline_ok(binary(), args)?.trim().to_owned())
}

#[test]
fn a_reservation_from_before_the_first_start_is_what_three_servers_give() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &DERIVED)?;
    world.dhcp.stop()?;
    for (name, format, address) in
        [("one", "dnsmasq", "192.0.2.61"), ("two", "kea", "192.0.2.62"), ("three", "isc", "192.0.2.63")]
    {
        let line = landline(
            &world.host,
            &["identity", "of", name, "--network", "lan", "--format", format, "--ip", address],
        )?;
        let mut server = serving(&world, format, &line)?;
        world.run(name, "lan", &[])?;
        assert_eq!(bare(&world.address(name, "br00")?), address, "{format}: {line}");
        // What was said beforehand is what there is.
        world.row(name)?;
        let said = landline(&world.host, &["identity", "of", name, "--network", "lan", "--format", "json"])?;
        let said: Value = serde_json::from_str(&said)?;
        assert_eq!((said["source"].as_str(), said["address"].as_str()), (Some("derived"), Some(address)));
        let mac = world.mac(name, "br00")?;
        assert!(line.contains(&mac), "{line} {mac}");
        // dhcpd writes no leases of what is reserved.
        if format != "isc" {
            let leases = server.leases();
            let lease = leases.iter().find(|lease| lease.mac == mac).ok_or("no lease")?;
            assert!(lease.client_id.as_deref().is_some_and(|id| id.starts_with("ff")), "RFC 4361: {lease:?}");
        }
        server.stop()?;
    }
    Ok(())
}

/// A server that has nothing but its pool and this reservation, as it was printed.
fn serving(world: &World, format: &str, line: &str) -> Result<DhcpServer> {
    Ok(match format {
        "dnsmasq" => world.lan.dnsmasq(Dnsmasq { extra: vec![format!("--{line}")], ..Dnsmasq::default() })?,
        "kea" => {
            let reservations = json!([serde_json::from_str::<Value>(line)?]);
            let extra = [("reservations-global", json!(true)), ("reservations", reservations)];
            let extra: BTreeMap<String, Value> =
                extra.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            world.lan.kea(Kea { extra, ..Kea::default() })?
        }
        _ => {
            let dhcpd = Dhcpd { extra: line.to_owned(), ..Dhcpd::default() };
            world.lan.server_on(world.lan.router(), &dhcpd)?
        }
    })
}

#[test]
fn dnsmasq_gives_a_container_that_moves_its_address() -> Result {
    moves_and_is_one(&Dnsmasq::default())
}

#[test]
fn kea_gives_a_container_that_moves_its_address() -> Result {
    moves_and_is_one(&Kea::default())
}

#[test]
fn dhcpd_gives_a_container_that_moves_its_address() -> Result {
    moves_and_is_one(&Dhcpd::default())
}

/// A container runs on one host, on the other, and on the first again: it has one address. It does not run on both.
fn moves_and_is_one(server: &impl ServerConfig) -> Result {
    let world = Kind::Bridge.world_on(Lan::new()?, server)?;
    let (host2, _daemon2) = second_host(&world)?;
    world.network("lan", &DERIVED)?;
    create(&host2, &DERIVED)?;
    // Not only the first, which a pool gives to anybody.
    world.run("other", "lan", &[])?;
    let seen = |host: &DockerHost| -> Result<_> {
        let mac = host.in_container("web", &["cat", "/sys/class/net/br00/address"])?.trim().to_owned();
        Ok((mac, host.container_addresses("web", "br00")?))
    };
    let mut before = None;
    for host in [&world.host, &host2, &world.host] {
        host.docker_ok(&RUN)?;
        let now = seen(host)?;
        assert_eq!(*before.get_or_insert(now.clone()), now);
        world.lan.router().check(&["ping", "-c1", "-W5", &now.1[0].to_string()])?;
        host.docker_ok(&["rm", "-f", "web"])?;
    }
    for (host, other) in [(&world.host, &host2), (&host2, &world.host)] {
        host.docker_ok(&RUN)?;
        assert_eq!(Some(seen(host)?), before);
        let refused = other.docker(&RUN);
        assert!(refused.stderr.contains("another host uses the identity"), "{}", refused.stderr);
        other.docker_ok(&["rm", "-f", "web"])?;
        let (_, addresses) = seen(host)?;
        world.lan.router().check(&["ping", "-c1", "-W5", &addresses[0].to_string()])?;
        host.docker_ok(&["rm", "-f", "web"])?;
    }
    Ok(())
}

pub(crate) const RUN: [&str; 9] =
    ["run", "-d", "--name", "web", "--network", "lan", "box", "sleep", "infinity"];

/// A second Docker host on the LAN, with a daemon that has the first one's key.
pub(crate) fn second_host(world: &World) -> Result<(DockerHost, Daemon)> {
    let mut host = world.lan.docker_host("host2")?;
    host.make_bridge("br0", Some("192.0.2.11/24"))?;
    host.dockerd(Dockerd::default())?;
    let daemon = start_daemon(&host)?;
    landline(&host, &["identity", "key", "--set", &landline(&world.host, &["identity", "key"])?])?;
    Ok((host, daemon))
}

/// Its network `lan`, with these options.
pub(crate) fn create(host: &DockerHost, options: &[&str]) -> Result {
    let mut command = vec!["network", "create", "-d", "landline", "--ipam-driver", "null"];
    command.extend(options.iter().flat_map(|option| ["-o", option]));
    command.push("lan");
    Ok(host.docker_ok(&command).map(drop)?)
}

#[test]
fn the_key_is_set_and_shown() -> Result {
    let world = World::bridge()?;
    let key = landline(&world.host, &["identity", "key"])?;
    let other = key.chars().rev().collect::<String>();
    assert_ne!(key, other);
    assert!(!world.host.landline(binary(), &["identity", "key", "--set", "mine"]).success());
    assert_eq!(landline(&world.host, &["identity", "key"])?, key);
    landline(&world.host, &["identity", "key", "--set", &other])?;
    assert_eq!(landline(&world.host, &["identity", "key"])?, other);
    // Where nobody derives, nothing can be said beforehand, and the error says what to do.
    world.network("drawn", &["bridge=br0"])?;
    world.row_of_network("drawn")?;
    let refused = world.host.landline(binary(), &["identity", "of", "never", "--network", "drawn"]);
    assert!(!refused.success() && refused.stderr.contains("derive = true"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn one_identity_is_not_up_on_two_hosts_at_once() -> Result {
    let world = World::bridge()?;
    let (host2, daemon2) = second_host(&world)?;
    world.network("lan", &DERIVED)?;
    create(&host2, &DERIVED)?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    let (mac, address) = (world.mac("web", "br00")?, world.address("web", "br00")?);
    let reached = || world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)]);
    reached()?;

    let refused = host2.docker(&RUN);
    assert!(
        refused.stderr.contains(&format!("{mac} answers for {} on br0", bare(&address))),
        "{}\n{}",
        refused.stderr,
        daemon2.log()
    );
    reached()?;
    assert!(world.dhcp.lease_of(&mac).is_some(), "the lease was given back");

    // Where its host has been the container's before, nothing of it is seen there this time.
    world.host.docker_ok(&["stop", "-t0", "web"])?;
    host2.docker_ok(&["start", "web"])?;
    assert_eq!(host2.in_container("web", &["cat", "/sys/class/net/br00/address"])?.trim(), mac);
    host2.docker_ok(&["stop", "-t0", "web"])?;
    world.host.docker_ok(&["start", "web"])?;
    let refused = host2.docker(&["start", "web"]);
    assert!(refused.stderr.contains("another host uses the identity"), "{}", refused.stderr);
    reached()?;

    // A network that says so has a container of its own instead.
    host2.docker_ok(&["rm", "-f", "web"])?;
    host2.docker_ok(&["network", "rm", "lan"])?;
    create(&host2, &["bridge=br0", "identity=derived", "on_duplicate=fresh"])?;
    host2.docker_ok(&RUN)?;
    let fresh = host2.in_container("web", &["cat", "/sys/class/net/br00/address"])?;
    assert_ne!(fresh.trim(), mac);
    let own = host2.container_addresses("web", "br00")?;
    assert_ne!(own[0].to_string(), bare(&address));
    world.lan.peer().check(&["ping", "-c1", "-W5", &own[0].to_string()])?;
    reached()?;
    // For that run only.
    world.host.docker_ok(&["rm", "-f", "web"])?;
    host2.docker_ok(&["restart", "-t0", "web"])?;
    assert_eq!(host2.in_container("web", &["cat", "/sys/class/net/br00/address"])?.trim(), mac);
    Ok(())
}

/// Neither host has asked the LAN before, so both run; the one that asks notices.
#[test]
fn bridge_one_identity_that_is_up_on_two_hosts_is_noticed() -> Result {
    is_noticed(Kind::Bridge)
}

#[test]
fn macvlan_one_identity_that_is_up_on_two_hosts_is_noticed() -> Result {
    is_noticed(Kind::Macvlan)
}

fn is_noticed(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    let (host2, _daemon2) = second_host(&world)?;
    world.network_of(kind, "lan", &["identity=derived"])?;
    create(&host2, &["bridge=br0", "identity=derived", "conflict_check=off"])?;
    let elsewhere = |name: &str| Ok::<_, Box<dyn std::error::Error>>(world.row(name)?["elsewhere"].clone());
    world.run("web", "lan", &[])?;
    world.run("other", "lan", &[])?;
    // What it sends itself is no other's, whatever port of the bridge it leaves by.
    world.inside("web", &["arping", "-c2", "-I", kind.interface(), "192.0.2.2"])?;
    assert_eq!(elsewhere("web")?, Value::Null);
    host2.docker_ok(&RUN)?;
    let speaks = || host2.in_container("web", &["arping", "-c1", "-w1", "-I", "br00", "192.0.2.2"]);
    wait_for("the other container", SOON, || {
        let _ = speaks();
        elsewhere("web").is_ok_and(|link| link == "eth0")
    })
    .map_err(|error| format!("{error}: {}", world.daemon.log()))?;
    assert_eq!(elsewhere("other")?, Value::Null);
    assert_eq!(world.daemon.log().matches("another machine on the LAN has the hardware address").count(), 1);
    let said = world.host.landline(binary(), &["doctor"]).stdout;
    assert!(said.contains("another machine on the LAN of eth0") && said.contains("of web"), "{said}");
    assert!(landline(&world.host, &["ls"])?.contains("duplicate on eth0"));
    Ok(())
}

#[test]
fn a_docker_that_is_killed_is_not_taken_for_another_host() -> Result {
    let mut world = World::bridge()?;
    second_nic(&world.lan, &world.host)?;
    world.network("lan", &DERIVED)?;
    world.network("direct", &["mode=macvlan", "parent=eth1", "identity=derived"])?;
    let containers = [("web", "lan", "br00"), ("far", "direct", "eth0")];
    for (name, network, _) in containers {
        world.run(name, network, &["--restart=always"])?;
        world.row(name)?;
    }
    let seen = |world: &World| {
        containers.map(|(name, _, interface)| {
            (world.mac(name, interface).ok(), world.address(name, interface).ok())
        })
    };
    let before = seen(&world);
    assert!(before.iter().all(|(mac, address)| mac.is_some() && address.is_some()), "{before:?}");
    for signal in [Signal::KILL, Signal::TERM] {
        // What ran is still there when Docker starts again, and so are its links.
        world.host.dockerd_stop(signal)?;
        world.host.dockerd_start()?;
        wait_for("both as they were", 3 * SOON, || seen(&world) == before)
            .map_err(|error| format!("{error}: {before:?} {:?} {}", seen(&world), world.daemon.log()))?;
    }
    Ok(())
}

#[test]
fn the_configuration_derives_on_every_network() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("before", "lan", &[])?;
    world.row("before")?;
    let drawn = world.mac("before", "br00")?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("landline.toml");
    std::fs::write(&file, "[identity]\nderive = true\nsite = \"home\"\n")?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    let path = file.display().to_string();
    world.daemon = world.host.start_landline(binary(), &["--config", &path], &[])?;
    world.host.docker_ok(&["restart", "-t0", "before"])?;
    assert_eq!(world.mac("before", "br00")?, drawn, "what was drawn stays until it is forgotten");
    let said = |world: &World, name: &str| -> Result<Value> {
        let text = landline(&world.host, &["identity", "of", name, "--network", "lan", "--format", "json"])?;
        Ok(serde_json::from_str(&text)?)
    };
    let home = said(&world, "web")?;
    world.run("web", "lan", &[])?;
    assert_eq!(home["mac"].as_str(), Some(world.mac("web", "br00")?.as_str()));
    // Another site has other identities; what runs stays as it is.
    std::fs::write(&file, "[identity]\nderive = true\nsite = \"lab\"\n")?;
    world.reload()?;
    wait_for("the other site", SOON, || {
        said(&world, "new").is_ok_and(|now| now["source"] == "derived" && now["mac"] != home["mac"])
    })?;
    assert_eq!(said(&world, "web")?["mac"], home["mac"]);
    assert_eq!(said(&world, "before")?["source"], "drawn");
    Ok(())
}
