//! A fixed address, by a reservation at the server for the container's hardware address.

use landline_testbed::{Dnsmasq, Kea, Lan, Reservation, ServerConfig};

use crate::kinds::Kind;
use crate::world::Result;

const MAC: &str = "02:42:c0:00:02:4d";
/// Outside of either server's pool.
const ADDRESS: &str = "192.0.2.77";

fn at_dnsmasq() -> Dnsmasq {
    Dnsmasq { hosts: vec![Reservation::new(MAC, ADDRESS)], ..Dnsmasq::default() }
}

fn at_kea() -> Kea {
    Kea { reservations: vec![Reservation::new(MAC, ADDRESS)], ..Kea::default() }
}

#[test]
fn bridge_with_dnsmasq() -> Result {
    gets_what_is_reserved(Kind::Bridge, &at_dnsmasq())
}

#[test]
fn bridge_with_kea() -> Result {
    gets_what_is_reserved(Kind::Bridge, &at_kea())
}

#[test]
fn macvlan_with_dnsmasq() -> Result {
    gets_what_is_reserved(Kind::Macvlan, &at_dnsmasq())
}

#[test]
fn macvlan_with_kea() -> Result {
    gets_what_is_reserved(Kind::Macvlan, &at_kea())
}

fn gets_what_is_reserved(kind: Kind, server: &impl ServerConfig) -> Result {
    let world = kind.world_on(Lan::new()?, server)?;
    world.network_of(kind, "lan", &[])?;
    world.run("other", "lan", &[])?;
    // Docker takes and shows it in either case.
    world.run("web", "lan", &["--mac-address", &MAC.to_uppercase()])?;

    assert_eq!(world.mac("web", kind.interface())?, MAC);
    assert_eq!(world.address("web", kind.interface())?, format!("{ADDRESS}/24"));
    world.lan.peer().check(&["ping", "-c1", "-W5", ADDRESS])?;
    let lease = world.lease_of(MAC)?;
    assert_eq!(lease.ip.to_string(), ADDRESS);
    assert_ne!(world.address("other", kind.interface())?, format!("{ADDRESS}/24"));

    let shown = world.host.docker_ok(&[
        "inspect",
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.MacAddress}}{{end}}",
        "web",
    ])?;
    assert_eq!(shown.to_lowercase(), format!("{ADDRESS} {MAC}"), "what docker inspect shows");

    world.host.docker_ok(&["restart", "-t0", "web"])?;
    assert_eq!(world.mac("web", kind.interface())?, MAC, "after a restart");
    assert_eq!(world.address("web", kind.interface())?, format!("{ADDRESS}/24"), "after a restart");
    Ok(())
}
