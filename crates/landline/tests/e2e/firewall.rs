//! A host whose firewall drops what is bridged, as Docker's does on a host with `br_netfilter`.

use landline_testbed::{Dnsmasq, Dockerd, Lan, wait_for};

use crate::firewalld::start_firewalld;
use crate::tools::{behind_rules, opening_comes_back, start_daemon, use_iptables};
use crate::world::{Result, SOON, World, bare, binary};

#[test]
fn a_bridge_is_let_through_if_the_network_says_so() -> Result {
    let_through("iptables-nft")
}

#[test]
fn a_bridge_is_let_through_with_legacy_rules() -> Result {
    let_through("iptables-legacy")
}

/// Bridged packets meet the host's rules, which drop what no other lets through.
const DROPPING: &str = "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
    echo 1 > /proc/sys/net/bridge/bridge-nf-call-ip6tables
    iptables -P FORWARD DROP
    ip6tables -P FORWARD DROP";

/// On a host whose `iptables` is this one, Docker's included.
fn let_through(flavour: &str) -> Result {
    let mut world = behind_rules(flavour, DROPPING, &[])?;
    let rules = |world: &World| world.host.node().sh("iptables -S DOCKER-USER; ip6tables -S FORWARD");
    let before = (world.host.snapshot()?, rules(&world)?);

    let refused = world.network("shut", &["bridge=br0"]).unwrap_err().to_string();
    let says = "the host's firewall drops what goes over br0 (chain FORWARD of iptables)";
    for words in [says, "add -o firewall=open", "landline doctor --fix"] {
        assert!(refused.contains(words), "{refused}");
    }
    assert!(before.0.diff(&world.host.snapshot()?).is_empty() && rules(&world)? == before.1);

    world.network("shut", &["bridge=br0", "firewall=keep", "lease_timeout=1s"])?;
    let error = world.run("web", "shut", &[]).unwrap_err().to_string();
    assert!(error.contains("no DHCP server") || error.contains("within 1 s"), "{error}");
    world.host.docker_ok(&["rm", "-f", "web"])?;
    world.host.docker_ok(&["network", "rm", "shut"])?;

    world.network("open", &["bridge=br0", "firewall=open"])?;
    let opening = "-A DOCKER-USER -i br0 -o br0 -m comment --comment \"landline: br0\" -j ACCEPT";
    let opening_v6 = opening.replace("DOCKER-USER", "FORWARD");
    let open = rules(&world)?;
    assert!(open.contains(opening) && open.contains(&opening_v6), "{open}");
    world.run("web", "open", &[])?;
    let address = world.address("web", "br00")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    let in_web = format!("nsenter -t {} -n", world.host.container_pid("web")?);
    world.host.node().sh(&format!(
        "{in_web} sysctl -q -w net.ipv6.conf.br00.disable_ipv6=0
         {in_web} ip address add 2001:db8:1::77/64 dev br00 nodad"
    ))?;
    wait_for("the peer to reach it by IPv6", SOON, || {
        world.lan.peer().run(&["ping", "-c1", "-W2", "2001:db8:1::77"]).success()
    })?;

    if flavour == "iptables-nft" {
        // Engines before 28 have a rule of their own there.
        let engines = before.1.lines().filter(|rule| rule.starts_with("-A"));
        let again = engines.map(|rule| format!("iptables {rule}"));
        let flush: Vec<String> = std::iter::once("iptables -F DOCKER-USER".to_owned()).chain(again).collect();
        world.host.node().sh(&flush.join("; "))?;
        wait_for("the rule after a flush", SOON, || {
            rules(&world).is_ok_and(|rules| rules.contains(opening))
        })?;
        assert!(
            !world.host.exec(&["cat", "/proc/net/ip_tables_names"]).stdout.contains("filter"),
            "made by listing"
        );
    }

    opening_comes_back(&mut world, |world| rules(world).is_ok_and(|rules| rules.contains(opening)))?;

    world.host.docker_ok(&["rm", "-f", "web"])?;
    world.host.docker_ok(&["network", "rm", "open"])?;
    wait_for("the host to be as before", SOON, || {
        let now = world.host.snapshot().ok()?;
        let same = before.0.diff(&now).is_empty() && rules(&world).is_ok_and(|rules| rules == before.1);
        same.then_some(())
    })
    .map_err(|error| {
        let now = world.host.snapshot().map_or_else(|e| e.to_string(), |now| before.0.diff(&now));
        format!("{error}: {now}\n{:?}", rules(&world))
    })?;
    Ok(())
}

/// Containers on a bridge of Landline's own reach each other without anybody's word, and nothing else is let through.
#[test]
fn bridges_of_our_own_are_let_through() -> Result {
    let world = behind_rules("iptables-nft", DROPPING, &[])?;
    let rules = || world.host.node().sh("iptables -S DOCKER-USER; ip6tables -S FORWARD");
    let before = rules()?;
    for (network, own, subnet) in
        [("vde1", &["mode=vde"][..], "198.51.100"), ("nat1", &["mode=nat", "-o", "parent=eth0"], "203.0.113")]
    {
        let net = format!("{subnet}.0/24");
        let begin = ["network", "create", "-d", "landline", "--subnet", &net, "-o"];
        world.host.docker_ok(&[&begin[..], own, &[network]].concat())?;
        let open = rules()?;
        let added: Vec<&str> = open.lines().filter(|rule| !before.contains(rule)).collect();
        let only_within = |rule: &&str| {
            let words: Vec<&str> = rule.split_whitespace().collect();
            words[2] == "-i" && words[4] == "-o" && words[3] == words[5] && words[3].starts_with("llb")
        };
        assert!(added.len() == 2 && added.iter().all(only_within), "{open}");
        let (one, two) = (format!("{network}-1"), format!("{network}-2"));
        world.run(&one, network, &["--ip", &format!("{subnet}.2")])?;
        world.run(&two, network, &["--ip", &format!("{subnet}.3")])?;
        world.host.in_container(&one, &["ping", "-c3", "-i0.2", "-W5", &format!("{subnet}.3")])?;
        world.host.docker_ok(&["rm", "-f", &one, &two])?;
        world.host.docker_ok(&["network", "rm", network])?;
        wait_for("the rules to be as before", SOON, || rules().is_ok_and(|rules| rules == before))?;
    }
    Ok(())
}

/// `iptables-legacy` changes its rules without a word, as Docker does at boot before it starts containers.
#[test]
fn a_start_on_a_bridge_of_our_own_has_it_let_through_again() -> Result {
    let world = behind_rules("iptables-legacy", DROPPING, &[])?;
    let create =
        ["network", "create", "-d", "landline", "--subnet", "198.51.100.0/24", "-o", "mode=vde", "vde1"];
    world.host.docker_ok(&create)?;
    let rules = || world.host.check(&["iptables", "-S", "DOCKER-USER"]);
    let open = rules()?;
    assert!(open.contains("landline: llb"), "{open}");
    world.host.check(&["iptables", "-F", "DOCKER-USER"])?;
    world.run("one", "vde1", &[])?;
    wait_for("the rule", SOON, || rules().is_ok_and(|rules| rules.contains("landline: llb")))?;
    Ok(())
}

/// A host may have no rules for IPv6 and nobody to ask for them. Where there are some that cannot be changed, nothing is.
#[test]
fn openings_for_both_families_or_none() -> Result {
    let path = format!("/run/own:{}", std::env::var("PATH")?);
    let prepare = format!("{DROPPING}\n    mkdir /run/own");
    let world = behind_rules("iptables-nft", &prepare, &[("PATH", &path)])?;
    let ip6tables = |does: &str| {
        world.host.node().sh(&format!(
            "for name in ip6tables ip6tables-nft ip6tables-legacy; do
                 printf '#!/bin/sh\\n%s\\n' '{does}' > /run/own/$name
                 chmod 755 /run/own/$name
             done"
        ))
    };
    let rules = || world.host.check(&["iptables", "-S", "DOCKER-USER"]);
    let before = rules()?;
    let open = ["bridge=br0", "firewall=open"];

    ip6tables("exit 1")?;
    world.network("four", &open)?;
    assert!(rules()?.contains("landline: br0"));
    world.run("web", "four", &[])?;
    world.host.docker_ok(&["rm", "-f", "web"])?;
    world.host.docker_ok(&["network", "rm", "four"])?;
    assert_eq!(rules()?, before);

    ip6tables(
        r#"case "$*" in *"-S FORWARD") echo "-P FORWARD DROP";; *) echo "no room" >&2; exit 1;; esac"#,
    )?;
    let error = world.network("both", &open).unwrap_err().to_string();
    assert!(error.contains("could not be opened: ip6tables") && error.contains("no room"), "{error}");
    assert_eq!(rules()?, before);
    Ok(())
}

/// With rules of iptables, all of which it throws away when it loads its own anew. With nftables see `firewalld`.
#[test]
fn firewalld_loads_its_rules_anew_and_the_opening_is_back() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    let _firewalld = start_firewalld(&host, "iptables")?;
    host.dockerd(Dockerd { iptables: true, ..Dockerd::default() })?;
    host.check(&["sh", "-ec", "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables"])?;
    let daemon = start_daemon(&host)?;
    let world = World { daemon, host, dhcp, lan };
    world.network("open", &["bridge=br0", "firewall=open"])?;
    world.run("web", "open", &[])?;
    let address = world.address("web", "br00")?;
    let ping = || world.lan.peer().run(&["ping", "-c1", "-W2", bare(&address)]).success();
    wait_for("the peer to reach it", SOON, ping)?;
    let opened = |chain: &str| world.host.exec(&["iptables", "-S", chain]).stdout.contains("landline: br0");
    assert!(opened("DOCKER-USER"));
    world.host.check(&["firewall-cmd", "--reload"])?;
    wait_for("the opening in Docker's chain, and nowhere else", SOON, || {
        opened("DOCKER-USER") && !opened("FORWARD")
    })
    .map_err(|error| format!("{error}: {}", world.host.exec(&["iptables-save"]).stdout))?;
    wait_for("the peer to reach it", SOON, ping)?;
    Ok(())
}

#[test]
fn what_starts_with_the_host_finds_its_bridge_open() -> Result {
    starts_with_the_host("iptables-nft")
}

#[test]
fn what_starts_with_the_host_finds_its_bridge_open_with_legacy_rules() -> Result {
    starts_with_the_host("iptables-legacy")
}

/// When the host boots nothing drops bridged packets yet; Docker loads `br_netfilter` and sets its rules, and starts
/// containers at once, which it does only once.
fn starts_with_the_host(flavour: &str) -> Result {
    let mut world = behind_rules(flavour, DROPPING, &[])?;
    world.network("open", &["bridge=br0", "firewall=open", "lease_timeout=3s"])?;
    // Nothing tells them apart, so each asks for an address as if it had none.
    let names = ["web", "app"];
    for name in names {
        world.run(name, "open", &["--restart=always", "--stop-signal=KILL"])?;
    }

    world.host.reboot()?;
    use_iptables(&world.host, flavour)?;
    world.host.make_bridge("br0", Some("192.0.2.10/24"))?;
    let nf = |value: &str| format!("echo {value} > /proc/sys/net/bridge/bridge-nf-call-iptables");
    world.host.node().sh(&nf("0"))?;
    world.daemon = start_daemon(&world.host)?;
    // Once that is answered it has looked at the firewall, where it had nothing to do.
    let said = world.host.landline(binary(), &["doctor", "--fix"]).stdout;
    assert!(!said.contains("fixed"), "{said}");
    world.host.node().sh(&format!("{}; iptables -P FORWARD DROP", nf("1")))?;
    world.host.dockerd(Dockerd { iptables: true, ..Dockerd::default() })?;
    let reached = |name: &str| {
        let address = world.address(name, "br00");
        address.is_ok_and(|a| world.lan.peer().run(&["ping", "-c1", "-W2", bare(&a)]).success())
    };
    wait_for("the containers that start with Docker", SOON, || names.into_iter().all(reached))
        .map_err(|error| format!("{error}\n{}\n{}", world.daemon.log(), world.host.dockerd_log()))?;
    Ok(())
}

/// Of what bridged packets meet, a setting of the kernel's changes without a word.
#[test]
fn what_starts_once_bridged_packets_are_filtered_is_let_through() -> Result {
    let nf = |value: &str| format!("echo {value} > /proc/sys/net/bridge/bridge-nf-call-iptables");
    let world = behind_rules("iptables-nft", &format!("{DROPPING}\n{}", nf("0")), &[])?;
    world.network("open", &["bridge=br0", "firewall=open", "lease_timeout=3s"])?;
    world.run("web", "open", &[])?;
    let address = world.address("web", "br00")?;
    world.host.node().sh(&nf("1"))?;
    let ping = |address: &str| world.lan.peer().run(&["ping", "-c1", "-W2", bare(address)]).success();
    wait_for("the one that ran before", SOON, || ping(&address))?;
    world.run("app", "open", &[])?;
    assert!(ping(&world.address("app", "br00")?));
    Ok(())
}
