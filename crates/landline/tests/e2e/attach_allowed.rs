//! What a container may say of its interface: what reaches beyond it needs a key of the allow table.

use landline_testbed::wait_for;
use serde_json::Value;

use crate::attach_asked::Asked;
use crate::ovs;
use crate::world::{Result, SOON, bare};

/// The only row that `landline ls` has for a container.
pub(crate) fn row(asked: &Asked, container: &str, state: &str) -> Result<Value> {
    let row = wait_for(format!("{container} to be {state}"), SOON, || {
        let rows = asked.missing(container).ok()?;
        rows.first().filter(|row| row["state"] == state).cloned()
    });
    row.map_err(|error| {
        format!("{error}: {:?}\n{}", asked.missing(container), asked.world.daemon.log()).into()
    })
}

#[test]
fn what_reaches_beyond_the_container_needs_a_key() -> Result {
    let asked = Asked::new("[containers.allow.br0]\n[containers.allow.eth1]\n[containers.allow.br7]\n")?;
    let world = &asked.world;
    crate::tools::second_nic(&world.lan, &world.host)?;
    let before = world.host.snapshot()?;
    let route = ["-e", "pipework_host_route=true"];
    for (name, label, further, allow) in [
        ("aa", "br0 192.0.2.71/24 host_ifname=wg0", &[][..], "landline allow br0 --host-ifnames"),
        ("bb", "br0 192.0.2.72/24 mac=02:00:00:00:00:07", &[], "landline allow br0 --macs"),
        ("cc", "br0 dhcp client_id=somebody", &[], "landline allow br0 --client-ids"),
        ("dd", "br0 dhcp hostname=wpad", &[], "landline allow br0 --hostnames"),
        ("ee", "br0 192.0.2.73/24 mtu=68", &[], "landline allow br0 --mtus"),
        ("ff", "eth1 192.0.2.74/24 host_access=true", &[], "landline allow eth1 --host-access"),
        ("gg", "eth1 192.0.2.75/24 vlan=12", &[], "landline allow eth1 --vlan 12"),
    ] {
        let label = format!("landline.attach={label}");
        world.run_without(name, &[&["--network", "none", "--label", &label], further].concat())?;
        assert_eq!(row(&asked, name, "refused")?["allow"], allow, "{label}");
        assert_eq!(world.interfaces(name)?, [""; 0], "{label}");
    }
    // A bridge on the host.
    for (name, further) in [
        ("ii", ["--label", "landline.attach=br7 192.0.2.77/24 create=true"]),
        ("jj", ["-e", "pipework_cmd=br7 @CONTAINER_NAME@ 192.0.2.78/24"]),
    ] {
        world.run_without(name, &[&["--network", "none"], &further[..]].concat())?;
        assert_eq!(row(&asked, name, "failed")?["allow"], "landline allow br7 --bridges");
    }
    let command = "pipework_cmd=eth1 @CONTAINER_NAME@ 192.0.2.76/24";
    world.run_without("hh", &[&["--network", "none", "-e", command], &route[..]].concat())?;
    assert_eq!(row(&asked, "hh", "refused")?["allow"], "landline allow eth1 --host-access");
    assert_eq!(before.diff(&world.host.snapshot()?), "");

    // The line that is named is the one that helps.
    let config = asked.config();
    let config = config.to_str().ok_or("no path")?;
    world.landline(&format!("allow br0 --macs --config {config}"))?;
    assert_eq!(world.until_addressed("bb", "eth0")?, "192.0.2.72/24");
    assert_eq!(world.mac("bb", "eth0")?, "02:00:00:00:00:07");
    world.landline(&format!("allow br7 --bridges --config {config}"))?;
    assert_eq!(world.until_addressed("ii", "eth0")?, "192.0.2.77/24");
    assert_eq!(world.until_addressed("jj", "eth1")?, "192.0.2.78/24");
    Ok(())
}

#[test]
fn what_is_not_allowed_any_more_is_taken_away() -> Result {
    let mut asked = Asked::new("[containers.allow.br0]\nmacs = true\n")?;
    let world = &asked.world;
    let label = "landline.attach=br0 192.0.2.71/24 mac=02:00:00:00:00:07";
    world.run_without("fixed", &["--network", "none", "--label", label])?;
    world.run_without("leased", &["--network", "none", "--label", "landline.attach=br0 dhcp"])?;
    let address = world.until_addressed("leased", "eth0")?;
    world.until_addressed("fixed", "eth0")?;
    // A key alone.
    std::fs::write(asked.config(), "[containers.allow.br0]\n")?;
    world.reload()?;
    assert_eq!(row(&asked, "fixed", "refused")?["allow"], "landline allow br0 --macs");
    wait_for("its interface to go", SOON, || world.interfaces("fixed").is_ok_and(|all| all.is_empty()))?;
    assert_eq!(world.address("leased", "eth0")?, address);
    // All of it.
    std::fs::write(asked.config(), "")?;
    world.reload()?;
    row(&asked, "leased", "refused")?;
    wait_for("both to be gone", SOON, || {
        let gone = |name: &str| world.interfaces(name).is_ok_and(|all| all.is_empty());
        gone("fixed") && gone("leased") && world.attached().is_ok_and(|all| all.is_empty())
    })?;
    let once = |asked: &Asked| -> Result {
        let table = asked.world.landline("ls")?;
        for name in ["fixed", "leased"] {
            let rows = table.lines().filter(|line| line.split_whitespace().nth(1) == Some(name)).count();
            assert_eq!(rows, 1, "{name} in\n{table}");
        }
        assert!(!table.contains("static") && !table.contains("BOUND"), "{table}");
        Ok(())
    };
    once(&asked)?;
    assert!(world.marked_links()?.is_empty());
    assert!(!world.lan.peer().run(&["ping", "-c1", "-W1", bare(&address)]).success());

    // Nor does a daemon give it back that finds the change when it starts.
    std::fs::write(asked.config(), "[containers.allow.br0]\nmacs = true\n")?;
    world.reload()?;
    world.until_addressed("fixed", "eth0")?;
    asked.world.daemon.kill(landline_testbed::Signal::KILL)?;
    asked.world.daemon.wait()?;
    std::fs::write(asked.config(), "")?;
    asked.restart_daemon()?;
    row(&asked, "fixed", "refused")?;
    wait_for("its interface to go", SOON, || {
        asked.world.interfaces("fixed").is_ok_and(|all| all.is_empty())
            && asked.world.interfaces("leased").is_ok_and(|all| all.is_empty())
    })?;
    once(&asked)
}

#[test]
fn without_a_vlan_a_port_of_open_vswitch_is_no_trunk() -> Result {
    let (switch, world) = ovs::world()?;
    let asked = Asked::on(world, "[containers.allow.ovs0]\n")?;
    let world = &asked.world;
    world.run_without("web", &["--network", "none", "--label", "landline.attach=ovs0 dhcp"])?;
    let address = world.until_addressed("web", "eth0")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    let ports = switch.vsctl(&[
        "--format=csv",
        "--no-headings",
        "--columns=tag,trunks",
        "find",
        "port",
        "external_ids:owner=landline",
    ])?;
    assert_eq!(ports.trim(), "0,[]");
    Ok(())
}
