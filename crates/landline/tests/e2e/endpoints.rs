//! What is asked for one container: a hardware address, an address, a name, options.

use landline_testbed::{Dnsmasq, wait_for};

use crate::kinds::Kind;
use crate::world::{Result, SOON, World, bare};

/// `docker run` on `network` with this is refused with exactly this sentence, and nothing is left of it.
fn refused(world: &World, network: &str, args: &[&str], sentence: &str) -> Result {
    let before = world.marked_links()?;
    let mut command = vec!["run", "--rm", "--name", "refused", "--network", network];
    command.extend(args);
    command.extend(["box", "true"]);
    let output = world.host.docker(&command);
    assert!(!output.success(), "{network} {args:?} was not refused");
    assert!(output.stderr.contains(&format!("remote: {sentence}.\n")), "{}", output.stderr);
    assert_eq!(world.marked_links()?, before, "{network} {args:?}");
    Ok(())
}

#[test]
fn bridge_hardware_address_in_use() -> Result {
    hardware_address_in_use(Kind::Bridge)
}

#[test]
fn macvlan_hardware_address_in_use() -> Result {
    hardware_address_in_use(Kind::Macvlan)
}

fn hardware_address_in_use(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    world.network_of(kind, "lan", &[])?;
    world.network_of(kind, "second", &[])?;
    let given = ["--mac-address", "02:42:c0:00:02:01"];
    world.run("first", "lan", &given)?;
    world.row("first")?;
    let address = world.address("first", kind.interface())?;

    let parent = if kind == Kind::Bridge { "br0" } else { "eth0" };
    let sentence = format!(
        "02:42:c0:00:02:01 is the hardware address of container first on {parent}, and two with the same one \
         cannot both be reached; give each container its own"
    );
    // The networks are two, the wire is one.
    for network in ["lan", "second"] {
        refused(&world, network, &given, &sentence)?;
    }
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    wait_for("the one lease", SOON, || world.dhcp.leases().len() == 1)?;

    // Free again as soon as its user is gone, also in a hurry.
    for name in ["second-user", "third-user"] {
        let previous = if name == "second-user" { "first" } else { "second-user" };
        world.host.docker_ok(&["rm", "-f", previous])?;
        world.run(name, "lan", &given)?;
        assert_eq!(world.address(name, kind.interface())?, address);
    }
    Ok(())
}

#[test]
fn requests_that_make_no_sense() -> Result {
    let kind = Kind::Bridge;
    let world = kind.world(&Dnsmasq::default())?;
    world.network_of(kind, "lan", &[])?;
    refused(
        &world,
        "lan",
        &["--mac-address", "01:42:c0:00:02:01"],
        "01:42:c0:00:02:01 is a group address, which no interface can have; \
         give one whose second digit is 2, 6, a or e",
    )?;
    for (option, sentence) in [
        ("landline.hostnam=x", r#"there is no option "landline.hostnam"; did you mean hostname?"#),
        (
            "hostname=a_b",
            r#"hostname="a_b" cannot be used; "a_b" is not a host name: use letters, digits and inner hyphens, at most 63 between dots"#,
        ),
        (
            "client_id=hex:zz",
            r#"client_id="hex:zz" cannot be used; after hex: come pairs of hex digits, like hex:01:02:42:c0:00:02:0a"#,
        ),
        ("ip=224.0.0.1", r#"ip="224.0.0.1" cannot be used; write an IPv4 address, like 192.0.2.10"#),
    ] {
        refused(&world, &format!("name=lan,driver-opt={option}"), &[], sentence)?;
    }
    let id = world.network_of(kind, "named", &["client_id={hostname}-x"])?;
    wait_for("the network's name", SOON, || world.row_of_network("named").is_ok_and(|row| row["id"] == *id))?;
    refused(
        &world,
        "named",
        &["--hostname", "webhost"],
        "the client identifier of network named cannot be used: it has {hostname}, which Docker does not tell in \
         time: give the container the driver option hostname=NAME, or put {mac} into the network's client_id instead",
    )?;
    world.run("named", "name=named,driver-opt=hostname=webhost", &[])?;
    let lease = world.lease_of(&world.mac("named", kind.interface())?)?;
    assert_eq!(lease.client_id.as_deref(), Some("00:77:65:62:68:6f:73:74:2d:78"));
    Ok(())
}

#[test]
fn wishes_that_the_server_decides_about() -> Result {
    let kind = Kind::Bridge;
    let world = kind.world(&Dnsmasq::default())?;
    world.network_of(kind, "lan", &[])?;
    world.run("asked", "name=lan,driver-opt=ip=192.0.2.150", &[])?;
    assert_eq!(world.address("asked", "br00")?, "192.0.2.150/24");
    // Not the server's to give, so it gives another.
    world.run("asked-in-vain", "name=lan,driver-opt=ip=203.0.113.9", &[])?;
    assert!(world.address("asked-in-vain", "br00")?.starts_with("192.0.2."));

    // Compose's names have underscores, DNS names cannot.
    world.run("shop_web_1", "lan", &[])?;
    world.run("odd", "lan", &["--hostname", "my_host"])?;
    for (container, name) in [("shop_web_1", "shop-web-1"), ("odd", "my-host")] {
        let mac = world.mac(container, "br00")?;
        wait_for(format!("{name} at the server"), SOON, || {
            world.dhcp.lease_of(&mac).is_some_and(|lease| lease.hostname.as_deref() == Some(name))
        })?;
    }
    Ok(())
}
