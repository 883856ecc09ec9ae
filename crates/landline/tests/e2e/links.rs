//! The wire and the words on it: MTU, macvlan modes, interface names, what the DHCP server is told.

use landline_testbed::{DhcpMessage, Dnsmasq, Lan};

use crate::kinds::Kind;
use crate::world::{Result, SOON, World, bare};

/// The MTU of a container's interface, in bytes.
fn mtu(world: &World, container: &str, interface: &str) -> Result<u32> {
    Ok(world.inside(container, &["cat", &format!("/sys/class/net/{interface}/mtu")])?.parse()?)
}

#[test]
fn bridge_mtu() -> Result {
    mtus(Kind::Bridge, "br0")
}

#[test]
fn macvlan_mtu() -> Result {
    mtus(Kind::Macvlan, "eth0")
}

fn mtus(kind: Kind, parent: &str) -> Result {
    let world = kind.world_on(Lan::builder().mtu(9000).build()?, &Dnsmasq::default())?;
    let interface = kind.interface();
    let of_parent = || world.host.check(&["cat", &format!("/sys/class/net/{parent}/mtu")]);
    assert_eq!(of_parent()?, "9000");

    world.network_of(kind, "jumbo", &[])?;
    world.network_of(kind, "small", &["mtu=1400"])?;
    world.network_of(kind, "dockers", &["com.docker.network.driver.mtu=1300"])?;
    for (network, expected) in [("jumbo", 9000), ("small", 1400), ("dockers", 1300)] {
        world.run(network, network, &[])?;
        assert_eq!(mtu(&world, network, interface)?, expected, "{network}");
        // A bridge takes the smallest MTU of its ports unless it was told one: ours must not be smaller.
        assert_eq!(of_parent()?, "9000", "the parent's, with {network} running");
    }
    // 8972 bytes and headers are one frame of 9000.
    let address = world.address("jumbo", interface)?;
    world.lan.peer().check(&["ping", "-c1", "-W5", "-M", "do", "-s", "8972", bare(&address)])?;
    Ok(())
}

#[test]
fn private_macvlans_keep_apart() -> Result {
    let world = World::nic()?;
    world.network("apart", &["mode=macvlan", "parent=eth0", "macvlan_mode=private"])?;
    let mut addresses = Vec::new();
    for name in ["one", "two"] {
        world.run(name, "apart", &[])?;
        addresses.push(world.address(name, "eth0")?);
    }
    for (name, other) in [("one", &addresses[1]), ("two", &addresses[0])] {
        world.inside(name, &["ping", "-c1", "-W5", "192.0.2.2"])?;
        let apart = world.inside(name, &["ping", "-c1", "-W1", bare(other)]);
        assert!(apart.is_err(), "{name} reaches its neighbour");
    }
    for address in &addresses {
        world.lan.peer().check(&["ping", "-c1", "-W5", bare(address)])?;
    }
    Ok(())
}

#[test]
fn macvlans_of_the_default_mode_reach_each_other() -> Result {
    let world = World::nic()?;
    world.network("together", &["mode=macvlan", "parent=eth0"])?;
    world.run("one", "together", &[])?;
    world.run("two", "together", &[])?;
    let address = world.address("two", "eth0")?;
    world.inside("one", &["ping", "-c1", "-W5", bare(&address)])?;
    Ok(())
}

#[test]
fn a_bridge_with_a_long_name() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let host = lan.docker_host("host1")?;
    // As long as names may be, so that no digit fits behind it.
    host.make_bridge("br-living-room1", Some("192.0.2.10/24"))?;
    let world = World::start(lan, dhcp, host)?;
    world.network("lan", &["bridge=br-living-room1"])?;
    world.run("web", "lan", &[])?;
    assert_eq!(world.interfaces("web")?, ["eth0"]);
    let address = world.address("web", "eth0")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    Ok(())
}

#[test]
fn what_the_server_is_told() -> Result {
    let kind = Kind::Bridge;
    let world = kind.world(&Dnsmasq::default())?;
    let wire = world.lan.capture(world.lan.router(), "eth0", "udp port 67")?;
    // The last DISCOVER and REQUEST of a container, once the server has acknowledged.
    let told = |container: &str| -> Result<Vec<DhcpMessage>> {
        let mac = world.mac(container, kind.interface())?;
        let address = world.address(container, kind.interface())?;
        wire.wait_for("the acknowledgement", SOON, |frame| {
            let message = frame.dhcp()?;
            (message.op == 2 && message.yiaddr.to_string() == bare(&address)).then_some(())
        })?;
        let messages = wire.dhcp().into_iter().map(|(_, message)| message);
        Ok(messages.filter(|message| message.op == 1 && message.client_mac() == mac).collect())
    };

    world.network_of(kind, "plain", &[])?;
    world.run("plain", "plain", &[])?;
    let mac = world.mac("plain", kind.interface())?;
    let messages = told("plain")?;
    assert!(messages.len() >= 2, "{messages:?}");
    for message in &messages {
        let octets = format!("01:{mac}");
        assert_eq!(message.options.get(&61).map(|id| hex(id)), Some(octets));
        assert_eq!(message.text_option(60).as_deref(), Some("landline"));
        assert!(!message.options.contains_key(&77));
    }

    world.network_of(kind, "named", &["client_id=ll-{mac}", "vendor_class=acme 2", "user_class=lab"])?;
    world.run("named", "named", &[])?;
    let mac = world.mac("named", kind.interface())?;
    for message in told("named")? {
        let id = [b"\0ll-", mac.as_bytes()].concat();
        assert_eq!(message.options.get(&61), Some(&id), "type 0 and the text");
        assert_eq!(message.text_option(60).as_deref(), Some("acme 2"));
        // RFC 3004: each class has its length before it.
        assert_eq!(message.options.get(&77).map(Vec::as_slice), Some(b"\x03lab".as_slice()));
    }
    let lease = world.lease_of(&mac)?;
    assert_eq!(lease.client_id, Some(hex(&[b"\0ll-", mac.as_bytes()].concat())), "in the server's table");
    let log = world.dhcp.log();
    assert!(
        log.contains("vendor class: acme 2") && log.contains("user class: lab"),
        "{}",
        world.dhcp.log_tail()
    );

    // One container's own words beat the network's.
    world.host.docker_ok(&[
        "run",
        "-d",
        "--name",
        "own",
        "--network",
        "name=named,driver-opt=client_id=hex:ff:01:02:03,driver-opt=hostname=own-name",
        "box",
        "sleep",
        "infinity",
    ])?;
    for message in told("own")? {
        assert_eq!(message.options.get(&61).map(Vec::as_slice), Some([0xff, 1, 2, 3].as_slice()));
        // Known from the beginning, unlike a container's name.
        assert_eq!(message.text_option(12).as_deref(), Some("own-name"));
    }
    Ok(())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}
