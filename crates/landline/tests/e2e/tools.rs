//! What several tests do or look at.

use landline_testbed::{Daemon, DockerHost, HostState, Lan, Node, wait_for};

use crate::world::{Result, SOON, binary};

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

/// The host's network state once its own IPv6 addresses have passed duplicate address detection: until then it
/// changes by itself.
pub(crate) fn settled(host: &DockerHost) -> Result<HostState> {
    wait_for("the host's IPv6 addresses", SOON, || {
        host.check(&["ip", "-6", "addr", "show", "tentative"]).is_ok_and(|tentative| tentative.is_empty())
    })?;
    Ok(host.snapshot()?)
}

/// A second NIC `eth1` of the host, up, without an address, on the same LAN: what one network hangs on does not
/// meet what another hangs on.
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

/// Has the host use this `iptables` (`iptables-nft`, `iptables-legacy`), Docker's included.
pub(crate) fn use_iptables(host: &DockerHost, flavour: &str) -> Result {
    for (name, program) in [("iptables", flavour.to_owned()), ("iptables-save", format!("{flavour}-save"))] {
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

/// A daemon on the host, in the place of one that has ended.
pub(crate) fn start_daemon(host: &DockerHost) -> Result<Daemon> {
    Ok(host.start_landline(binary(), &[], &[("LOG_LEVEL", "info,landline_engine=debug")])?)
}
