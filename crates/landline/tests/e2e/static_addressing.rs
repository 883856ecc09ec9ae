//! Networks without DHCP: Docker's own addresses, or none at all.

use landline_testbed::Dnsmasq;

use crate::kinds::Kind;
use crate::world::Result;

#[test]
fn bridge_with_dockers_addresses() -> Result {
    dockers_addresses(Kind::Bridge)
}

#[test]
fn macvlan_with_dockers_addresses() -> Result {
    dockers_addresses(Kind::Macvlan)
}

fn dockers_addresses(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    let mut create = vec!["network", "create", "-d", "landline", "--subnet", "192.0.2.0/24"];
    create.extend(["--ip-range", "192.0.2.64/27", "--gateway", "192.0.2.1", "-o", "addressing=static"]);
    create.extend(kind.options().iter().flat_map(|option| ["-o", option]));
    create.push("lan");
    world.host.docker_ok(&create)?;

    world.run("fixed", "lan", &["--ip", "192.0.2.50"])?;
    assert_eq!(world.address("fixed", kind.interface())?, "192.0.2.50/24");
    assert_eq!(world.gateways("fixed")?, ["192.0.2.1"]);
    world.lan.peer().check(&["ping", "-c1", "-W5", "192.0.2.50"])?;

    world.run("pooled", "lan", &[])?;
    let address = world.address("pooled", kind.interface())?;
    assert!(address.starts_with("192.0.2.6") || address.starts_with("192.0.2.7"), "{address}");
    for target in ["192.0.2.2", "192.0.2.50"] {
        world.host.in_container("pooled", &["ping", "-c1", "-W5", target])?;
    }

    let row = world.row("fixed")?;
    assert_eq!((row["state"].as_str(), row["address"].as_str()), (Some("static"), Some("192.0.2.50/24")));
    assert!(row["server"].is_null() && row["lease_left_s"].is_null(), "{row}");
    // Nobody asked the LAN's server.
    assert!(world.dhcp.leases().is_empty(), "{:?}", world.dhcp.leases());
    assert!(!world.dhcp.log().contains("DHCPDISCOVER"), "{}", world.dhcp.log_tail());

    world.host.docker_ok(&["restart", "-t0", "fixed"])?;
    assert_eq!(world.address("fixed", kind.interface())?, "192.0.2.50/24");
    Ok(())
}

#[test]
fn bridge_without_addresses() -> Result {
    no_addresses(Kind::Bridge)
}

#[test]
fn macvlan_without_addresses() -> Result {
    no_addresses(Kind::Macvlan)
}

fn no_addresses(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    world.network_of(kind, "lan", &["addressing=none"])?;
    world.run("bare", "lan", &["--cap-add", "NET_ADMIN"])?;

    assert_eq!(world.interfaces("bare")?, [kind.interface()]);
    let shown = world.inside("bare", &["ip", "-4", "-o", "addr", "show", "dev", kind.interface()])?;
    assert_eq!(shown, "");
    assert_eq!(world.routes("bare")?, [""; 0]);
    assert!(!world.dhcp.log().contains("DHCPDISCOVER"), "{}", world.dhcp.log_tail());
    assert_eq!(world.row("bare")?["state"], "link only");

    // The wire is there: an address set by hand works.
    world.inside("bare", &["ip", "address", "add", "192.0.2.60/24", "dev", kind.interface()])?;
    world.lan.peer().check(&["ping", "-c1", "-W5", "192.0.2.60"])?;
    Ok(())
}
