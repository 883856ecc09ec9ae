//! Beside firewalld with nftables, its default. It has a table of its own, and what that rejects no rule of another lets through.

use landline_testbed::{Dnsmasq, DockerHost, Dockerd, Lan, Process, wait_for};

use crate::tools::start_daemon;
use crate::world::{Result, SOON, World, bare, binary};

/// firewalld with this backend, and the bus it is spoken to over.
pub(crate) fn start_firewalld(host: &DockerHost, backend: &str) -> Result<(Process, Process)> {
    let choose = format!("s/^FirewallBackend=.*/FirewallBackend={backend}/");
    host.check(&["mkdir", "-p", "/run/dbus", "/run/firewalld"])?;
    host.check(&["sed", "-i", &choose, "/etc/firewalld/firewalld.conf"])?;
    let bus = host.spawn(&["dbus-daemon", "--system", "--nofork", "--nopidfile"])?;
    wait_for("the bus", SOON, || host.exec(&["test", "-S", "/run/dbus/system_bus_socket"]).success())?;
    let firewalld = host.spawn(&["firewalld", "--nofork", "--nopid"])?;
    let running = || host.exec(&["firewall-cmd", "--state"]).stdout.contains("running");
    wait_for("firewalld", 4 * SOON, running)?;
    Ok((firewalld, bus))
}

/// Types what `landline doctor` says.
fn obey(world: &World, about: &str) -> Result {
    let line = wait_for(about, SOON, || {
        let said = world.host.landline(binary(), &["doctor"]).stdout;
        said.lines().find(|line| line.contains(about)).map(str::to_owned)
    })?;
    let command = line.split("let it through there: ").nth(1).ok_or_else(|| line.clone())?;
    assert!(command.starts_with("firewall-cmd ") && line.contains("table inet firewalld"), "{line}");
    world.host.node().sh(command)?;
    Ok(())
}

#[test]
fn what_firewalld_rejects_is_found_and_the_line_that_helps_does() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    let _firewalld = start_firewalld(&host, "nftables")?;
    host.dockerd(Dockerd { iptables: true, ..Dockerd::default() })?;
    host.node().sh("echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; iptables -P FORWARD DROP")?;
    let daemon = start_daemon(&host)?;
    let world = World { daemon, host, dhcp, lan };
    let fine = || {
        let mut said = String::new();
        wait_for("no trouble", SOON, || {
            said = world.host.landline(binary(), &["doctor"]).stdout;
            said.trim() == "no trouble found"
        })
        .map_err(|error| format!("{error}: {said}"))
    };

    // Docker's rules are opened, firewalld's are not.
    world.network("lan", &["bridge=br0", "firewall=open", "lease_timeout=2s"])?;
    assert!(world.run("web", "lan", &[]).is_err(), "firewalld lets it through by itself");
    world.host.docker_ok(&["rm", "-f", "web"])?;
    obey(&world, "drops what goes over br0 (network lan)")?;
    fine()?;
    world.run("web", "lan", &[])?;
    let address = world.address("web", "br00")?;
    wait_for("the peer to reach it", SOON, || {
        world.lan.peer().run(&["ping", "-c1", "-W2", bare(&address)]).success()
    })?;
    world.host.docker_ok(&["rm", "-f", "web"])?;
    world.host.docker_ok(&["network", "rm", "lan"])?;

    // Answers and what was translated get in; what the container begins does not get out, to where nobody may pass.
    world.host.check(&["firewall-cmd", "--permanent", "--zone=public", "--remove-interface=br0"])?;
    world.host.check(&["firewall-cmd", "--reload"])?;
    world.host.node().sh("echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables")?;
    let create =
        ["network", "create", "-d", "landline", "-o", "mode=nat", "-o", "parent=br0", "-o", "firewall=open"];
    world.host.docker_ok(
        &[&create[..], &["-o", "lan_ip=192.0.2.117", "--subnet", "203.0.113.0/24", "lan"]].concat(),
    )?;
    world.run("web", "lan", &[])?;
    let out = || world.host.docker_ok(&["exec", "web", "ping", "-c1", "-W2", "192.0.2.2"]).is_ok();
    assert!(!out(), "firewalld lets it through by itself");
    obey(&world, "drops what goes between br0 and network lan")?;
    wait_for("the container to reach the peer", SOON, out)?;
    fine()?;
    Ok(())
}
