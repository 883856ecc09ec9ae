//! An address that the server offers and another host uses (RFC 5227).

use landline_testbed::{DhcpKind, Dnsmasq, Reservation, wait_for};

use crate::world::{Result, SOON, World, bare};

const MAC: &str = "02:42:c0:00:02:96";
const TAKEN: &str = "192.0.2.150";

#[test]
fn an_address_that_a_squatter_has_is_declined() -> Result {
    let reserved = Dnsmasq { hosts: vec![Reservation::new(MAC, TAKEN)], ..Dnsmasq::default() };
    let world = World::bridge_with(reserved)?;
    world.lan.peer().check(&["ip", "address", "add", &format!("{TAKEN}/24"), "dev", "eth0"])?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &["--mac-address", MAC])?;

    let address = world.address("web", "br00")?;
    assert_ne!(bare(&address), TAKEN);
    let decline = wait_for("a DHCPDECLINE at the server", SOON, || {
        let mut messages = capture.dhcp().into_iter().map(|(_, message)| message);
        messages.find(|m| m.kind() == Some(DhcpKind::Decline) && m.client_mac() == MAC)
    })?;
    // RFC 2131 table 5: the address and the server are named, and nothing is claimed.
    assert_eq!(decline.address_option(50).map(|a| a.to_string()).as_deref(), Some(TAKEN));
    assert_eq!(decline.address_option(54).map(|a| a.to_string()).as_deref(), Some("192.0.2.1"));
    assert!(decline.ciaddr.is_unspecified());
    assert_eq!(world.row("web")?["conflicts"], 1);
    world.lan.router().check(&["ping", "-c1", "-W5", bare(&address)])?;
    Ok(())
}
