//! `landline doctor`: finds what keeps containers from being reached, mends what is the firewall's, and takes it back.

use landline_testbed::{Dnsmasq, Lan, Output, Signal, wait_for};
use serde_json::Value;

use crate::four_ways::{CONTAINER, Lab, Way, nat_row};
use crate::tools::{behind_rules, opening_comes_back, saved_rules, start_daemon};
use crate::world::{Result, SOON, World, bare, binary};

const FINE: &str = "no trouble found";

fn doctor(world: &World, args: &[&str]) -> Output {
    world.host.landline(binary(), &[&["doctor"], args].concat())
}

/// What it says; it fails if and only if that is something.
fn says(world: &World) -> String {
    let output = doctor(world, &[]);
    assert_eq!(output.success(), output.stdout.trim() == FINE, "{output:?}");
    output.stdout
}

/// Waits until it says this.
pub(crate) fn finds(world: &World, words: &str) -> Result<String> {
    let mut said = String::new();
    wait_for(words, SOON, || {
        said = says(world);
        said.contains(words)
    })
    .map_err(|error| format!("{error}: {said}"))?;
    Ok(said)
}

/// What it has mended; nothing is left.
fn fixes(world: &World) -> Result<String> {
    Ok(world.host.landline_ok(binary(), &["doctor", "--fix"])?)
}

fn undoes(world: &World) -> Result<String> {
    Ok(world.host.landline_ok(binary(), &["doctor", "--undo"])?)
}

#[test]
fn a_bridge_whose_packets_the_firewall_drops() -> Result {
    dropped_bridge("iptables-nft")
}

#[test]
fn a_bridge_whose_packets_legacy_rules_drop() -> Result {
    dropped_bridge("iptables-legacy")
}

fn dropped_bridge(flavour: &str) -> Result {
    let nf = |value: &str| format!("echo {value} > /proc/sys/net/bridge/bridge-nf-call-iptables");
    let mut world = behind_rules(flavour, &nf("0"), &[])?;
    finds(&world, FINE)?;
    world.network("lan", &["bridge=br0", "lease_timeout=2s"])?;
    finds(&world, FINE)?;
    world.host.node().sh(&nf("1"))?;
    let state = |world: &World| -> Result<_> { Ok((world.host.snapshot()?, saved_rules(&world.host)?)) };
    let before = state(&world)?;
    let is_back = |world: &World| {
        wait_for("the host to be as before", SOON, || {
            state(world).is_ok_and(|now| now.1 == before.1 && before.0.diff(&now.0).is_empty())
        })
        .map_err(|error| format!("{error}: {:?}", saved_rules(&world.host)))
    };

    let said = finds(&world, "(network lan)")?;
    for words in [
        "drops what goes over br0 (network lan)",
        "chain FORWARD of iptables",
        "doctor --fix lets it through",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let report: Value = serde_json::from_str(&doctor(&world, &["--json"]).stdout)?;
    assert_eq!(
        (&report["found"][0]["check"], &report["found"][0]["fixable"]),
        (&"firewall".into(), &true.into())
    );
    is_back(&world)?;
    assert!(world.run("web", "lan", &[]).is_err(), "it is right");
    world.host.docker_ok(&["rm", "-f", "web"])?;

    assert!(fixes(&world)?.contains("fixed: the host's firewall drops what goes over br0"));
    finds(&world, FINE)?;
    world.run("web", "lan", &[])?;
    let address = world.address("web", "br00")?;
    let reached = |world: &World| world.lan.peer().run(&["ping", "-c1", "-W5", bare(&address)]).success();
    assert!(reached(&world));
    // Whoever throws the rule away: it comes back.
    let opened = |world: &World| saved_rules(&world.host).is_ok_and(|rules| rules.contains("landline: br0"));
    opening_comes_back(&mut world, opened)?;
    world.host.docker_ok(&["rm", "-f", "web"])?;

    assert!(undoes(&world)?.contains("undone"));
    is_back(&world)?;
    assert!(says(&world).contains("drops what goes over br0"));
    assert!(undoes(&world)?.contains("nothing to undo"));
    // It goes with the network, too.
    fixes(&world)?;
    assert!(opened(&world));
    world.host.docker_ok(&["network", "rm", "lan"])?;
    is_back(&world)?;
    assert!(undoes(&world)?.contains("nothing to undo"));
    // So does an attachment's.
    world.host.docker_ok(&["run", "-d", "--name", "web", "--network", "none", "box", "sleep", "infinity"])?;
    world.host.landline_ok(binary(), &["attach", "br0", "web", "dhcp", "firewall=open"])?;
    assert!(opened(&world));
    world.host.landline_ok(binary(), &["detach", "web"])?;
    world.host.docker_ok(&["rm", "-f", "web"])?;
    is_back(&world)?;
    // What somebody else lets through is no trouble, and none of ours.
    let refused = world.network("lan", &["bridge=br0"]).unwrap_err().to_string();
    assert!(refused.contains("drops what goes over br0"), "{refused}");
    world.host.node().sh("iptables -I DOCKER-USER -m physdev --physdev-is-bridged -j ACCEPT")?;
    world.network("lan", &["bridge=br0", "lease_timeout=2s"])?;
    finds(&world, FINE)?;
    // What somebody's own table drops is his to let through.
    world.host.node().sh("nft -f - <<'END'
        table inet own {
            chain pass { type filter hook forward priority 5; policy drop; ct state established accept; }
        }
END")?;
    let said = finds(&world, "chain pass of nftables' table inet own")?;
    let report: Value = serde_json::from_str(&doctor(&world, &["--json"]).stdout)?;
    assert_eq!(report["found"][0]["fixable"], false);
    let rule = said.trim().split("let it through there: ").nth(1).ok_or("no rule")?;
    assert_eq!(rule, "nft insert rule inet own pass iifname br0 oifname br0 accept");
    world.host.node().sh(rule)?;
    finds(&world, FINE)?;
    Ok(())
}

#[test]
fn translated_addresses_behind_a_firewall() -> Result {
    dropped_translation("iptables-nft")
}

#[test]
fn translated_addresses_behind_legacy_rules() -> Result {
    dropped_translation("iptables-legacy")
}

fn dropped_translation(flavour: &str) -> Result {
    let mut lab = Way::Nat.lab_with(flavour)?;
    lab.world.host.docker_ok(&["run", "--rm", "box", "true"])?;
    let before = lab.state()?;

    // A container on Docker's own bridge: what it publishes is let through, and what else it has is not.
    let run = ["run", "-d", "--name", "web", "-p", "8080:80", "box", "sleep", "infinity"];
    lab.world.host.docker_ok(&run)?;
    let nat = |args: &[&str]| lab.world.host.landline_ok(binary(), &[&["nat"], args].concat());
    let ready = || nat_row(&lab.world.host, "web").is_ok_and(|row| row["state"] == "ready");
    nat(&["web", CONTAINER, "--dev", "eth0"])?;
    wait_for("the container to be seen", SOON, ready)?;
    finds(&lab.world, FINE)?;
    nat(&["rm", "web"])?;
    nat(&["web", CONTAINER, "--dev", "eth0", "--port", "80", "--port", "9000"])?;
    wait_for("the container to be seen", SOON, ready)?;
    let said = says(&lab.world);
    assert!(
        said.contains("drops what comes to 10.12.0.117 for container web (chain FORWARD of iptables"),
        "{said}"
    );
    assert!(fixes(&lab.world)?.contains("fixed: "));
    assert!(saved_rules(&lab.world.host)?.contains("landline: 10.12.0.117"));
    undoes(&lab.world)?;
    assert!(!saved_rules(&lab.world.host)?.contains("landline"));
    nat(&["rm", "web"])?;
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.is_back(&before)?;

    // A network of its own, whose user said nothing of the firewall.
    let create = ["network", "create", "-d", "landline", "-o", "mode=nat", "-o", "parent=eth0"];
    let create = [&create[..], &["-o", "ports=80", "--subnet", "203.0.113.0/24", "lan"]].concat();
    lab.world.host.docker_ok(&create)?;
    finds(&lab.world, "drops what goes between eth0 and network lan (chain FORWARD of iptables")?;
    let run = ["run", "-d", "--name", "web", "--network", "lan", "box", "sleep", "infinity"];
    lab.world.host.docker_ok(&run)?;
    lab.world.host.check(&["sysctl", "-w", "net.ipv4.ip_forward=0"])?;
    let shut = saved_rules(&lab.world.host)?;
    let said = says(&lab.world);
    assert!(
        said.contains("net.ipv4.ip_forward is 0") && said.contains("between eth0 and network lan"),
        "{said}"
    );
    let forwards = |lab: &Lab| -> Result<bool> {
        Ok(lab.world.host.check(&["sysctl", "-n", "net.ipv4.ip_forward"])?.trim() == "1")
    };

    let said = fixes(&lab.world)?;
    assert!(said.contains("fixed: net.ipv4.ip_forward is 0"), "{said}");
    assert!(forwards(&lab)?);
    let neighbour = ["--network", "name=lan,driver-opt=lan_ip=10.12.0.118"];
    let inside = lab.inside_of("lan")?;
    lab.matrix_with(Way::Nat, &inside, &neighbour, "203.0.113.1")?;
    lab.world.host.dockerd_stop(Signal::TERM)?;
    lab.world.host.check(&["iptables", "-F", "DOCKER-USER"])?;
    lab.world.host.dockerd_start()?;
    lab.world.host.docker_ok(&["start", "web"])?;
    let inside = lab.inside_of("lan")?;
    lab.matrix_with(Way::Nat, &inside, &neighbour, "203.0.113.1")?;
    // Landline starts anew on a host that passes nothing on.
    lab.world.daemon.kill(Signal::KILL)?;
    lab.world.daemon.wait()?;
    lab.world.host.check(&["sysctl", "-w", "net.ipv4.ip_forward=0"])?;
    lab.world.daemon = start_daemon(&lab.world.host)?;
    wait_for("packets to be passed on again", SOON, || forwards(&lab).is_ok_and(|on| on))?;

    undoes(&lab.world)?;
    assert!(!forwards(&lab)?);
    wait_for("the rules to be as before", SOON, || saved_rules(&lab.world.host).is_ok_and(|now| now == shut))
        .map_err(|error| format!("{error}: {:?}\n{shut}", saved_rules(&lab.world.host)))?;
    lab.world.host.check(&["sysctl", "-w", "net.ipv4.ip_forward=1"])?;

    // As its user may say at once.
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.world.host.docker_ok(&["network", "rm", "lan"])?;
    lab.is_back(&before)?;
    lab.world.host.docker_ok(&[&create[..create.len() - 1], &["-o", "firewall=open", "lan"]].concat())?;
    lab.world.host.docker_ok(&run)?;
    finds(&lab.world, FINE)?;
    let inside = lab.inside_of("lan")?;
    lab.matrix_with(Way::Nat, &inside, &neighbour, "203.0.113.1")?;
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.world.host.docker_ok(&["network", "rm", "lan"])?;
    lab.is_back(&before)
}

#[test]
fn interfaces_programs_and_sockets() -> Result {
    let mut world = World::nic()?;
    world.network("lan", &["mode=macvlan", "parent=eth0"])?;
    let host = |words: &[&str]| world.host.check(words).map(drop);
    let finds = |words: &str| finds(&world, words);
    finds(FINE)?;
    let port = "p-host1";
    world.lan.switch().check(&["ip", "link", "set", port, "down"])?;
    finds("network lan: eth0 has no carrier; check its cable")?;
    world.lan.switch().check(&["ip", "link", "set", port, "up"])?;
    finds(FINE)?;
    host(&["ip", "link", "set", "eth0", "down"])?;
    finds("network lan: eth0 is down; bring it up first: ip link set eth0 up")?;
    host(&["ip", "link", "set", "eth0", "up"])?;
    host(&["ip", "link", "add", "br9", "type", "bridge"])?;
    host(&["ip", "link", "set", "eth0", "master", "br9"])?;
    finds("use that bridge: -o mode=bridge -o bridge=br9")?;
    host(&["ip", "link", "delete", "br9"])?;
    host(&["ip", "link", "set", "eth0", "name", "em1"])?;
    finds("network lan: there is no interface eth0")?;
    host(&["ip", "link", "set", "em1", "name", "eth0", "up"])?;
    finds(FINE)?;

    world.host.docker_ok(&["network", "rm", "lan"])?;
    world.network("lan", &["mode=macvlan", "parent=eth0", "host_access=true"])?;
    host(&["ip", "address", "delete", "192.0.2.10/24", "dev", "eth0"])?;
    finds("host access to lan: waits for an address of the host on eth0")?;
    host(&["ip", "address", "add", "192.0.2.10/24", "dev", "eth0"])?;
    finds(FINE)?;
    world.host.landline_ok(binary(), &["nat", "web", "192.0.2.117/24", "--dev", "eth0"])?;
    finds(FINE)?;
    let nft = world.host.check(&["sh", "-c", "command -v nft"])?;
    host(&["mount", "--bind", "/bin/false", nft.trim()])?;
    finds("no address of the LAN can be translated to a container")?;
    host(&["umount", nft.trim()])?;
    world.host.landline_ok(binary(), &["nat", "rm", "web"])?;

    let socket = "/run/docker/plugins/landline.sock";
    host(&["mv", socket, "/run/aside.sock"])?;
    finds("its socket /run/docker/plugins/landline.sock is gone")?;
    host(&["mv", "/run/aside.sock", socket])?;
    finds(FINE)?;
    world.host.dockerd_stop(Signal::KILL)?;
    crate::doctor::finds(&world, "Docker's API does not answer")?;

    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    let output = doctor(&world, &[]);
    assert!(!output.success() && output.stdout.starts_with("the daemon does not run"), "{output:?}");
    Ok(())
}

#[test]
fn open_vswitch_is_out_of_reach() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let host = lan.docker_host("host1")?;
    let mut ovs = host.open_vswitch()?;
    ovs.make_bridge("ovs0", "192.0.2.10/24")?;
    let world = World::start(lan, dhcp, host)?;
    world.network("lan", &["mode=ovs", "bridge=ovs0"])?;
    finds(&world, FINE)?;
    ovs.kill_database();
    let said = says(&world);
    assert!(said.contains("network lan: cannot reach Open vSwitch"), "{said}");
    ovs.start_database()?;
    wait_for("the switch to be back", SOON, || says(&world).trim() == FINE)?;
    ovs.vsctl(&["del-br", "ovs0"])?;
    let said = says(&world);
    assert!(said.contains("network lan: Open vSwitch has no bridge ovs0"), "{said}");
    Ok(())
}
