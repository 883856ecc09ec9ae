//! What several tests do or look at.

use landline_testbed::{Daemon, Dnsmasq, DockerHost, Dockerd, LOG_IN_DETAIL, Lan, Node, Signal, wait_for};

use crate::world::{Result, SOON, World, binary};

/// `PREFIX0`, `PREFIX1`, …
pub(crate) fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

/// Does the same for every name at the same time, and says what went wrong for which.
pub(crate) fn at_once(names: &[String], work: impl Fn(&str) -> Result + Sync) -> Result {
    let work = &work;
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = names
            .iter()
            // The errors of a test cannot leave their thread; their text can.
            .map(|name| scope.spawn(move || work(name).map_err(|error| format!("{name}: {error}"))))
            .collect();
        let ended =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("panicked".into())));
        ended.filter_map(std::result::Result::err).collect()
    });
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// Has a machine answer for 192.0.2.64 to 192.0.2.255, as fast as its kernel does: for the probes of those who are about to
/// use an address, too, which are answered for local addresses only.
pub(crate) fn answers_for_all(node: &Node) -> Result {
    for net in ["192.0.2.64/26", "192.0.2.128/25"] {
        node.check(&["ip", "route", "add", "local", net, "dev", "lo"])?;
    }
    Ok(())
}

/// The host has heard its LAN's router: what a router advertises comes after a host is up.
pub(crate) fn hears_router(host: &DockerHost) -> Result {
    wait_for("the host's own default route", SOON, || {
        host.check(&["ip", "-6", "route", "show", "default"]).is_ok_and(|shown| !shown.is_empty())
    })?;
    Ok(())
}

/// A second NIC `eth1` of the host, up, without an address, on the same LAN: one network's parent does not
/// meet another's.
pub(crate) fn second_nic(lan: &Lan, host: &impl AsRef<Node>) -> Result {
    let host = host.as_ref();
    let (port, netns) = (format!("p-{}-2", host.name()), host.netns());
    // The one from before a reboot goes with its namespace, for which the kernel takes its time.
    let _ = lan.switch().run(&["ip", "link", "delete", &port]);
    lan.switch()
        .check(&["ip", "link", "add", &port, "type", "veth", "peer", "name", "eth1", "netns", &netns])?;
    lan.switch().check(&["ip", "link", "set", &port, "master", "sw", "up"])?;
    host.check(&["ip", "link", "set", "eth1", "up"])?;
    Ok(())
}

/// Has the host use this `iptables` (`iptables-nft`, `iptables-legacy`), Docker's included, and its twin for IPv6.
pub(crate) fn use_iptables(host: &DockerHost, flavour: &str) -> Result {
    let twin = flavour.replace("iptables", "ip6tables");
    for (name, program) in
        [("iptables", flavour.to_owned()), ("iptables-save", format!("{flavour}-save")), ("ip6tables", twin)]
    {
        let link = format!("/etc/alternatives/{name}");
        host.check(&["ln", "-sf", &format!("/usr/sbin/{program}"), &link])?;
    }
    let kind = if flavour == "iptables-nft" { "nf_tables" } else { "legacy" };
    assert!(host.check(&["iptables", "-V"])?.contains(kind));
    Ok(())
}

/// All rules of iptables, without their counters.
pub(crate) fn saved_rules(host: &DockerHost) -> Result<String> {
    Ok(host.node().sh("iptables-save | sed 's/^:\\(.*\\) \\[.*/\\1/' | sed '/^#/d'")?)
}

/// A bridge on the LAN, on a host with Docker's rules in this flavour; `prepare` is run before the daemon starts.
pub(crate) fn behind_rules(flavour: &str, prepare: &str, env: &[(&str, &str)]) -> Result<World> {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    use_iptables(&host, flavour)?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    host.dockerd(Dockerd { iptables: true, ..Dockerd::default() })?;
    host.node().sh(prepare)?;
    let daemon = host.start_landline(binary(), &[], env)?;
    Ok(World { daemon, host, dhcp, lan })
}

/// Somebody closes an opening for `br0`, and Docker starts again; again, and Landline does.
pub(crate) fn opening_comes_back(world: &mut World, opened: impl Fn(&World) -> bool) -> Result {
    let close = "iptables -D DOCKER-USER -i br0 -o br0 -m comment --comment 'landline: br0' -j ACCEPT";
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.node().sh(close)?;
    world.host.dockerd_start()?;
    wait_for("the rule after Docker's start", SOON, || opened(world))?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.node().sh(close)?;
    world.daemon = start_daemon(&world.host)?;
    wait_for("the rule after Landline's start", SOON, || opened(world))?;
    Ok(())
}

/// A daemon on the host, in the place of one that has ended.
pub(crate) fn start_daemon(host: &DockerHost) -> Result<Daemon> {
    Ok(host.start_landline(binary(), &[], &[LOG_IN_DETAIL])?)
}
