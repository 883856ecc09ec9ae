//! The cable to the LAN is pulled and put back: what waits for an address, or has one, asks again at once.

use std::time::{Duration, Instant};

use landline_testbed::{DhcpKind, Dnsmasq, wait_for};

use crate::kinds::Kind;
use crate::world::{Result, SOON, World};

#[test]
fn a_bridged_container_asks_again() -> Result {
    asks_again(Kind::Bridge)
}

#[test]
fn a_macvlan_container_asks_again() -> Result {
    asks_again(Kind::Macvlan)
}

fn asks_again(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    world.network_of(kind, "lan", &[])?;
    world.run("web", "lan", &[])?;
    let (mac, address) = (world.mac("web", kind.interface())?, world.address("web", kind.interface())?);
    let wire = world.lan.capture(world.lan.router(), "eth0", "udp port 67")?;
    world.lan.set_cable(&world.host, false)?;
    let carrier = |up: bool| {
        wait_for("the host's carrier", SOON, || {
            let link = world.host.node().ip_json(&["link", "show", "eth0"]).unwrap_or_default();
            let flags = link[0]["flags"].as_array().cloned().unwrap_or_default();
            flags.iter().any(|flag| flag == "LOWER_UP") == up
        })
    };
    carrier(false)?;
    let plugged = Instant::now();
    world.lan.set_cable(&world.host, true)?;
    carrier(true)?;
    // It may be another LAN now. The lease has hours left.
    wire.wait_for("a question about the lease", SOON, |frame| {
        let message = frame.dhcp().filter(|message| message.client_mac() == mac)?;
        (message.op == 1 && message.kind() == Some(DhcpKind::Request)).then_some(())
    })?;
    assert!(plugged.elapsed() < Duration::from_secs(10), "{:?}", plugged.elapsed());
    wait_for("the lease to be in use", SOON, || world.row("web").is_ok_and(|row| row["state"] == "BOUND"))?;
    assert_eq!(world.address("web", kind.interface())?, address);
    Ok(())
}

/// A container that has asked in vain for so long that it waits between its questions: the cable is not plugged in.
pub(crate) fn cut_off() -> Result<World> {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0", "lease_timeout=1s", "on_timeout=continue"])?;
    let wire = world.lan.capture(&world.host, "br0", "udp port 67")?;
    world.lan.set_cable(&world.host, false)?;
    world.run("web", "lan", &[])?;
    // After the fifth question, 15 s on, it waits for 16.
    let asked = || wire.dhcp().iter().filter(|(_, message)| message.op == 1).count();
    wait_for("five questions", Duration::from_mins(1), || asked() >= 5)?;
    drop(wire);
    Ok(world)
}

#[test]
fn a_container_that_waits_for_an_address_has_it_at_once() -> Result {
    let world = cut_off()?;
    let plugged = Instant::now();
    world.lan.set_cable(&world.host, true)?;
    wait_for("an address", Duration::from_mins(1), || world.address("web", "br00").is_ok())?;
    assert!(plugged.elapsed() < Duration::from_secs(8), "{:?}", plugged.elapsed());
    Ok(())
}
