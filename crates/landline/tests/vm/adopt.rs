//! A NIC becomes the port of an Open vSwitch bridge that the kernel forwards, comes back, and is a NIC after a reboot.

use landline_testbed::{DockerHost, Signal, wait_for};

use crate::adopted::{HOST, conversation, host, is_moved, reachable};
use crate::ipvlan::{SLOWLY, step};
use crate::world::{Result, binary};

fn landline(host: &DockerHost, args: &[&str]) -> Result<String> {
    Ok(host.landline_ok(binary(), &[&["bridge"], args].concat())?)
}

fn adopt(host: &DockerHost, within: &str) -> Result {
    landline(host, &["adopt", "eth0", "--as", "br-eth0", "--kind=ovs", "--confirm-within", within]).map(drop)
}

#[test]
#[ignore = "the kernel outside may have no Open vSwitch; runs in the VM"]
fn adopted_by_open_vswitch_in_the_kernel() -> Result {
    let (lan, mut host) = host()?;
    let mut ovs = host.open_vswitch()?;
    host.check(&["mkdir", "-p", "/run/systemd/system"])?;
    let (before, show) = (host.snapshot()?, ovs.vsctl(&["show"])?);
    let (_server, mut client) = conversation(&lan, &host)?;

    step("adopted and confirmed");
    adopt(&host, "5m")?;
    landline(&host, &["confirm", "br-eth0"])?;
    is_moved(&before, &host.snapshot()?, "confirmed");
    reachable(&lan)?;
    let port = host.check(&["ip", "-d", "link", "show", "eth0"])?;
    assert!(port.contains("master ovs-system") && port.contains("openvswitch_slave"), "{port}");

    // Meanwhile the kernel goes on with the flows it knows; the conversation is one of them.
    step("ovs-vswitchd killed, and started with what is in the database");
    ovs.kill_switch();
    ovs.start_switch()?;
    wait_for("the switch to forward again", SLOWLY, || reachable(&lan).is_ok())?;
    is_moved(&before, &host.snapshot()?, "after ovs-vswitchd was killed");

    step("released");
    landline(&host, &["release", "br-eth0"])?;
    assert_eq!(before.diff(&host.snapshot()?), "");
    assert_eq!(ovs.vsctl(&["show"])?, show);
    reachable(&lan)?;
    client.signal(Signal::TERM)?;
    assert!(client.wait()?.success(), "{}", client.stderr());
    println!("there and back: {}", client.stdout().lines().last().unwrap_or_default());

    step("not confirmed");
    adopt(&host, "2s")?;
    wait_for("everything to be as it was", SLOWLY, || {
        host.snapshot().is_ok_and(|now| before.diff(&now).is_empty())
    })?;
    assert_eq!(ovs.vsctl(&["show"])?, show);
    reachable(&lan)?;

    step("a reboot");
    adopt(&host, "5m")?;
    landline(&host, &["confirm", "br-eth0"])?;
    let unit = "/etc/systemd/system/ovs-vswitchd.service.d/landline-br-eth0.conf";
    let unit = host.check(&["cat", unit])?;
    let first = unit.lines().find_map(|line| line.strip_prefix("ExecStartPre=-")).ok_or("no ExecStartPre")?;
    drop(ovs);
    host.reboot()?;
    // As systemd would, and whoever configures the NIC.
    let mut ovs = host.open_vswitch_database()?;
    assert_eq!(ovs.vsctl(&["--no-wait", "list-ports", "br-eth0"])?, "eth0", "the database survives");
    host.node().sh(first)?;
    ovs.start_switch()?;
    assert_eq!(ovs.vsctl(&["list-br"])?, "");
    host.node().sh(&format!("ip address add {HOST}/24 dev eth0"))?;
    lan.peer().check(&["ping", "-c1", "-W10", HOST])?;
    step("done");
    Ok(())
}
