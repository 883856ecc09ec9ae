//! A NIC becomes the port of an Open vSwitch bridge and comes back. The bridge is in user space, which needs nothing of the
//! kernel.

use landline_testbed::{DockerHost, Lan, OpenVswitch, Signal, wait_for};

use crate::adopted::{HOST, conversation, host, is_moved, reachable};
use crate::bridge::killed_at_any;
use crate::tools::start_daemon;
use crate::world::{Result, SOON, binary};

/// As `bridge::host`, with Open vSwitch, on a LAN with checksums as on a real wire, and booted by systemd as far as one
/// can see.
fn switching() -> Result<(OpenVswitch, Lan, DockerHost)> {
    let (lan, host) = host()?;
    for node in [lan.router(), lan.peer()] {
        node.check(&["ethtool", "-K", "eth0", "tx", "off"])?;
    }
    let ovs = host.open_vswitch()?;
    host.check(&["mkdir", "-p", "/run/systemd/system"])?;
    Ok((ovs, lan, host))
}

const ADOPT: [&str; 7] =
    ["bridge", "adopt", "eth0", "--as", "br-eth0", "--kind=ovs-netdev", "--confirm-within"];

fn adopt(host: &DockerHost, within: &str) -> Result<String> {
    Ok(host.landline_ok(binary(), &[&ADOPT[..], &[within]].concat())?)
}

#[test]
fn a_nic_goes_into_open_vswitch_and_comes_back_under_a_conversation() -> Result {
    let (ovs, lan, host) = switching()?;
    let (before, show) = (host.snapshot()?, ovs.vsctl(&["show"])?);
    let (_server, mut client) = conversation(&lan, &host)?;
    let refused = |arguments: &[&str], reason: &str| {
        let output = host.landline(binary(), arguments);
        assert!(!output.success() && output.stderr.contains(reason), "{output:?}");
    };
    // This kernel has none; where it has, this goes.
    if !host.exec(&["sh", "-c", "test -d /sys/module/openvswitch"]).success() {
        refused(&["bridge", "adopt", "eth0", "--as", "br-eth0", "--kind=ovs"], "modprobe openvswitch");
    }
    let plan = host.landline_ok(binary(), &[&ADOPT[..], &["30s", "--dry-run"]].concat())?;
    assert!(plan.contains("ovs-vsctl add-port br-eth0 eth0"), "{plan}");

    adopt(&host, "30s")?;
    host.landline_ok(binary(), &["bridge", "confirm", "br-eth0"])?;
    is_moved(&before, &host.snapshot()?, "confirmed");
    reachable(&lan)?;
    assert_eq!(ovs.vsctl(&["list-ports", "br-eth0"])?, "eth0");
    assert_eq!(host.node().mac("br-eth0")?, host.node().mac("eth0")?);
    refused(&[&ADOPT[..4], &["br-new", "--kind=ovs-netdev"]].concat(), "eth0 is a port of br-eth0 already");

    // Somebody else's port keeps it.
    ovs.vsctl(&["add-port", "br-eth0", "v0", "--", "set", "interface", "v0", "type=internal"])?;
    refused(&["bridge", "release", "br-eth0"], "other ports (v0)");
    ovs.vsctl(&["del-port", "v0"])?;
    ovs.vsctl(&["set", "bridge", "br-eth0", "external_ids:owner=me"])?;
    refused(&["bridge", "release", "br-eth0"], "not a bridge that landline");
    ovs.vsctl(&["set", "bridge", "br-eth0", "external_ids:owner=landline"])?;
    host.landline_ok(binary(), &["bridge", "release", "br-eth0"])?;
    assert_eq!(before.diff(&host.snapshot()?), "");
    assert_eq!(ovs.vsctl(&["show"])?, show);
    assert!(
        !host.exec(&["ls", "/etc/systemd/system/ovs-vswitchd.service.d"]).success(),
        "the drop-in is left"
    );
    reachable(&lan)?;

    client.signal(Signal::TERM)?;
    assert!(client.wait()?.success(), "{}", client.stderr());
    println!("there and back: {}", client.stdout().lines().last().unwrap_or_default());

    adopt(&host, "1s")?;
    assert!(host.check(&["ip", "address", "show", "dev", "br-eth0"])?.contains(HOST));
    wait_for("everything to be as it was", SOON, || {
        host.snapshot().is_ok_and(|now| before.diff(&now).is_empty())
    })?;
    assert_eq!(ovs.vsctl(&["show"])?, show);

    // Nothing could clear it up after a reboot.
    host.check(&["rmdir", "/run/systemd/system"])?;
    refused(&[&ADOPT[..], &["1s"]].concat(), "outlives a reboot");
    Ok(())
}

#[test]
fn after_a_reboot_the_nic_is_a_nic() -> Result {
    let (ovs, lan, mut host) = switching()?;
    adopt(&host, "30s")?;
    host.landline_ok(binary(), &["bridge", "confirm", "br-eth0"])?;
    let drop_in = "/etc/systemd/system/ovs-vswitchd.service.d/landline-br-eth0.conf";
    let drop_in = host.check(&["cat", drop_in])?;
    let first =
        drop_in.lines().find_map(|line| line.strip_prefix("ExecStartPre=-")).ok_or("no ExecStartPre")?;
    let first = first.to_owned();
    // In the boot it was made for it stays, however often the switch is started.
    host.node().sh(&first)?;
    assert_eq!(ovs.vsctl(&["list-br"])?, "br-eth0");

    drop(ovs);
    host.reboot()?;
    // As systemd would: the database, what comes first, the switch; and whoever configures the NIC.
    let mut ovs = host.open_vswitch_database()?;
    let said = host.node().sh(&first)?;
    assert!(said.contains("br-eth0 was made for another boot"), "{said}");
    ovs.start_switch()?;
    assert_eq!(ovs.vsctl(&["list-br"])?, "");
    host.node().sh(&format!("ip address add {HOST}/24 dev eth0"))?;
    lan.peer().check(&["ping", "-c1", "-W5", HOST])?;

    // Where that did not happen, the daemon does it.
    host.check(&["ip", "address", "flush", "dev", "eth0"])?;
    host.node().sh("mkdir -p /run/systemd/system")?;
    adopt(&host, "30s")?;
    host.landline_ok(binary(), &["bridge", "confirm", "br-eth0"])?;
    drop(ovs);
    host.reboot()?;
    let ovs = host.open_vswitch()?;
    assert_eq!(ovs.vsctl(&["list-ports", "br-eth0"])?, "eth0", "the switch has the NIC");
    let _daemon = start_daemon(&host)?;
    wait_for("the NIC to be a NIC", SOON, || {
        ovs.vsctl(&["list-br"]).is_ok_and(|bridges| bridges.is_empty())
    })?;
    Ok(())
}

#[test]
fn killed_at_any_step_the_host_is_reachable() -> Result {
    let (ovs, lan, host) = switching()?;
    let show = ovs.vsctl(&["show"])?;
    // Requests to the kernel, and to the database.
    let undone = killed_at_any(&lan, &host, "ovs-netdev")?;
    assert!(undone > 30, "only {undone} requests were seen");
    assert_eq!(ovs.vsctl(&["show"])?, show);
    Ok(())
}
