//! What a container tells the server about itself, and how short the exchange may be: rapid commit, FQDN, and the name
//! in the first message.

use std::time::Duration;

use landline_testbed::{Capture, DhcpKind, DhcpMessage, Dnsmasq, Kea, Lan, wait_for};
use serde_json::json;

use crate::world::{Result, SOON, World};

/// Long enough for any of the tries of [`known_from_dockers_events`].
const TRIES: Duration = Duration::from_mins(1);

#[test]
fn rapid_commit_takes_two_messages_from_a_server_that_can() -> Result {
    let can = Dnsmasq { extra: vec!["--dhcp-rapid-commit".to_owned()], ..Dnsmasq::default() };
    let mut world = World::bridge_with(can)?;
    world.network("rapid", &["bridge=br0", "rapid_commit=true"])?;
    world.network("plain", &["bridge=br0", "ignore_conflicts=true"])?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;

    world.run("quick", "name=rapid,driver-opt=hostname=quick", &[])?;
    let exchange = exchange_of(&world, &capture, "quick")?;
    assert_eq!(kinds(&exchange), [DhcpKind::Discover, DhcpKind::Ack], "{:#?}", capture.lines());
    assert!(exchange.iter().all(|m| m.options.get(&80) == Some(&Vec::new())), "{exchange:#?}");
    world.lan.peer().check(&["ping", "-c1", "-W5", &exchange[1].yiaddr.to_string()])?;

    world.run("slow", "name=plain,driver-opt=hostname=slow", &[])?;
    let exchange = exchange_of(&world, &capture, "slow")?;
    let four = [DhcpKind::Discover, DhcpKind::Offer, DhcpKind::Request, DhcpKind::Ack];
    assert_eq!(kinds(&exchange), four, "{:#?}", capture.lines());
    assert!(exchange.iter().all(|m| !m.options.contains_key(&80)), "{exchange:#?}");

    world.dhcp.reconfigure(&Dnsmasq::default())?;
    world.run("asks", "name=rapid,driver-opt=hostname=asks", &[])?;
    let exchange = exchange_of(&world, &capture, "asks")?;
    assert_eq!(kinds(&exchange), four, "a server that cannot: {:#?}", capture.lines());
    Ok(())
}

#[test]
fn a_client_fqdn_is_sent_on_request() -> Result {
    let lan = Lan::new()?;
    let extra = [("ddns-qualifying-suffix".to_owned(), json!("lab.test"))].into();
    let dhcp = lan.kea(Kea { extra, ..Kea::default() })?;
    let host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    let world = World::start(lan, dhcp, host)?;
    world.network("lab", &["bridge=br0", "fqdn=true"])?;
    world.network("home", &["bridge=br0", "fqdn=home.test", "ignore_conflicts=true"])?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;

    for (name, network, sent, leased) in [
        ("web", "name=lab,driver-opt=hostname=web", &b"\x05\0\0\x03web"[..], "web.lab.test"),
        ("db", "name=home,driver-opt=hostname=db", b"\x05\0\0\x02db\x04home\x04test\0", "db.home.test"),
    ] {
        world.run(name, network, &[])?;
        let exchange = exchange_of(&world, &capture, name)?;
        for message in exchange.iter().filter(|m| m.op == 1) {
            assert_eq!(message.options.get(&81).map(Vec::as_slice), Some(sent), "{message}");
            assert!(!message.options.contains_key(&12), "both names: {message}");
        }
        assert!(exchange.iter().any(|m| m.op == 2 && m.options.contains_key(&81)), "{exchange:#?}");
        let mac = exchange[0].client_mac();
        wait_for(format!("{leased} at the server"), SOON, || {
            world.dhcp.lease_of(&mac)?.hostname.filter(|name| name.trim_end_matches('.') == leased)
        })?;
    }
    Ok(())
}

#[test]
fn a_name_that_is_known_is_in_the_first_message() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;

    world.run("given", "name=lan,driver-opt=hostname=chosen", &[])?;
    let exchange = exchange_of(&world, &capture, "given")?;
    assert_eq!(first_name(&exchange).as_deref(), Some("chosen"), "{exchange:#?}");

    // Whose identity it is, is remembered with the name.
    world.run("web", "name=lan,driver-opt=landline.id=web", &["--hostname", "webhost"])?;
    let before = exchange_of(&world, &capture, "web")?;
    let mac = before[0].client_mac();
    wait_for("the name at the server", SOON, || {
        world.dhcp.lease_of(&mac).is_some_and(|lease| lease.hostname.as_deref() == Some("webhost"))
    })?;
    let seen = of(&capture, &mac).len();
    world.host.docker_ok(&["restart", "-t", "0", "web"])?;
    let again = wait_for("the remembered lease", SOON, || of(&capture, &mac).get(seen).cloned())?;
    assert_eq!(again.kind(), Some(DhcpKind::Request), "{again}");
    assert_eq!(again.text_option(12).as_deref(), Some("webhost"), "{again}");

    known_from_dockers_events(&world, &capture)
}

/// A container that was created before it is started, alone, is known by then; not before Docker has told of it.
fn known_from_dockers_events(world: &World, capture: &Capture) -> Result {
    let mut tries = 0;
    wait_for("a first message with the name of a container that was created before", TRIES, || {
        tries += 1;
        let (name, hostname) = (format!("c{tries}"), format!("host-{tries}"));
        let create =
            ["create", "--name", &name, "--hostname", &hostname, "--network", "lan", "box", "sleep", "9"];
        world.host.docker_ok(&create).ok()?;
        world.host.docker_ok(&["start", &name]).ok()?;
        let exchange = exchange_of(world, capture, &name).ok()?;
        (first_name(&exchange)? == hostname).then_some(())
    })?;
    println!("known at try {tries}");
    Ok(())
}

/// What was said until the container had its lease, one transaction.
fn exchange_of(world: &World, capture: &Capture, name: &str) -> Result<Vec<DhcpMessage>> {
    let mac = world.row(name)?["mac"].as_str().unwrap_or_default().to_owned();
    let exchange = wait_for(format!("{name}'s lease"), SOON, || {
        let mut messages = of(capture, &mac);
        let first = messages.first()?.xid;
        messages.retain(|m| m.xid == first);
        messages.iter().any(|m| m.kind() == Some(DhcpKind::Ack)).then_some(messages)
    })?;
    Ok(exchange)
}

/// Everything between a client and its server.
fn of(capture: &Capture, mac: &str) -> Vec<DhcpMessage> {
    let messages = capture.dhcp().into_iter().map(|(_, message)| message);
    messages.filter(|message| message.client_mac() == mac).collect()
}

fn kinds(exchange: &[DhcpMessage]) -> Vec<DhcpKind> {
    exchange.iter().filter_map(DhcpMessage::kind).collect()
}

fn first_name(exchange: &[DhcpMessage]) -> Option<String> {
    exchange.first()?.text_option(12)
}
