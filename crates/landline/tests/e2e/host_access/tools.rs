//! What the tests of host access start from and look at.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use landline_testbed::{Dnsmasq, DockerHost, Lan, Node, Process, wait_for};
use serde_json::Value;

use crate::world::{Result, SOON, World, binary};

/// The host's own addresses.
pub(super) const HOST: &str = "192.0.2.10";
pub(super) const HOST_V6: &str = "2001:db8:1::10";

/// A host whose reverse path filter is strict and whose route to its LAN has a metric, as network managers give it.
pub(super) fn strict_world() -> Result<World> {
    strict_world_with(&[])
}

/// The same, with arguments for the daemon.
pub(super) fn strict_world_with(args: &[&str]) -> Result<World> {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let host = lan.docker_host("host1")?;
    host.node().sh(&format!(
        "for c in all default eth0; do echo 1 > /proc/sys/net/ipv4/conf/$c/rp_filter; done
         ip address add {HOST}/24 dev eth0 noprefixroute
         ip route add 192.0.2.0/24 dev eth0 src {HOST} metric 100
         ip address add {HOST_V6}/64 dev eth0 nodad
         mkdir -p /run/page && echo the host > /run/page/index.html"
    ))?;
    World::start_with(lan, dhcp, host, args)
}

/// The address of a container by its number, in Docker's built-in networks on the LAN.
pub(super) fn v4(n: usize) -> String {
    format!("192.0.2.{}", 64 + n)
}

pub(super) fn v6(n: usize) -> String {
    format!("2001:db8:1::{}", 6400 + n)
}

/// Docker's own macvlan network on a NIC, with IPv4 and IPv6.
pub(super) fn docker_network(host: &DockerHost, driver: &str, name: &str, further: &[&str]) -> Result {
    let mut command = vec!["network", "create", "-d", driver, "-o", "parent=eth0", "--ipv6"];
    command.extend(["--subnet", "192.0.2.0/24", "--gateway", "192.0.2.1"]);
    command.extend(["--subnet", "2001:db8:1::/64", "--gateway", "2001:db8:1::1"]);
    command.extend(further);
    command.push(name);
    host.docker_ok(&command)?;
    Ok(())
}

impl World {
    /// A container with a web server at addresses of its number.
    pub(super) fn serve(&self, name: &str, network: &str, n: usize) -> Result {
        self.host.docker_ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--network",
            network,
            "--ip",
            &v4(n),
            "--ip6",
            &v6(n),
            "box",
            "httpd",
            "-f",
            "-h",
            "/www",
        ])?;
        Ok(())
    }

    /// `landline host-access ARGS`, which must work.
    pub(super) fn access(&self, args: &[&str]) -> Result<String> {
        Ok(self.host.landline_ok(binary(), &[&["host-access"], args].concat())?)
    }

    /// What `landline host-access ls --json` says of a network.
    pub(super) fn access_row(&self, network: &str) -> Result<Value> {
        let text = self.access(&["ls", "--json"])?;
        let rows: Value = serde_json::from_str(&text)?;
        let found =
            rows.as_array().and_then(|rows| rows.iter().find(|row| row["network"] == network).cloned());
        found.ok_or_else(|| format!("{network} is not in {text}").into())
    }

    /// Waits until `landline host-access ls` says that a network and its containers are ready, as many as these.
    pub(super) fn access_ready(&self, network: &str, containers: usize) -> Result {
        let row = || self.access_row(network).unwrap_or_default();
        wait_for(format!("{network} to be ready with {containers}"), SOON, || {
            let row = row();
            let all = row["containers"].as_array().cloned().unwrap_or_default();
            row["state"] == "ready" && all.len() == containers && all.iter().all(|c| c["state"] == "ready")
        })
        .map_err(|error| format!("{error}: {:#}\n{}", row(), self.daemon.log()))?;
        Ok(())
    }

    /// Waits until the host reaches an address.
    pub(super) fn host_reaches(&self, address: &str) -> Result {
        wait_for(format!("the host to reach {address}"), SOON, || ping(self.host.node(), address)).map_err(
            |error| {
                let look = "ip -d link; ip addr; ip route; ip -6 route; ip neigh; nft list ruleset";
                let state = self.host.node().sh(look).unwrap_or_default();
                format!("{error}\n{state}\n{}", self.daemon.log())
            },
        )?;
        Ok(())
    }

    /// Ping and TCP, both ways, IPv4 and IPv6, between the host and a container that [serves](Self::serve).
    pub(super) fn both_ways(&self, name: &str, n: usize) -> Result {
        self.host_reaches(&v4(n))?;
        self.host_reaches(&v6(n))?;
        for address in [v4(n), format!("[{}]", v6(n))] {
            let page = self.host.check(&["curl", "-sf", "-m", "5", &format!("http://{address}/")])?;
            assert!(page.contains("A container on the LAN"), "{page}");
        }
        // busybox's wget cannot.
        let script = format!(
            "ping -q -c1 -W5 {HOST} && ping -6 -q -c1 -W5 {HOST_V6}
             curl -sf -m5 http://{HOST}:8080/ && curl -sf -m5 'http://[{HOST_V6}]:8080/'"
        );
        let pid = self.host.container_pid(name)?.to_string();
        let said = self.host.check(&["nsenter", "-t", &pid, "--net", "sh", "-ec", &script])?;
        assert_eq!(said.matches("the host").count(), 2, "{said}");
        Ok(())
    }

    /// A web server on all of the host's addresses, port 8080.
    pub(super) fn host_serves(&self) -> Result<Process> {
        let server = self.host.spawn(&["busybox", "httpd", "-f", "-p", "8080", "-h", "/run/page"])?;
        wait_for("the host's web server", SOON, || {
            self.host.exec(&["curl", "-sf", "-m", "5", "http://127.0.0.1:8080/"]).success()
        })?;
        Ok(server)
    }
}

/// One answer within a second.
pub(super) fn ping(node: &Node, address: &str) -> bool {
    node.run(&["ping", "-q", "-n", "-c1", "-W1", address]).success()
}

/// The hardware addresses from which a machine of the LAN has its ARP question answered, asked three times; the answers
/// must not be more than the questions.
pub(super) fn answers(world: &World, asker: &Node, address: &str) -> Result<BTreeSet<String>> {
    let wanted: Ipv4Addr = address.parse()?;
    let capture = world.lan.capture(asker, "eth0", "arp")?;
    let own = asker.mac("eth0")?;
    // Every question is for all. It fails when it has more answers than questions, too.
    asker.run(&["arping", "-q", "-b", "-c", "3", "-w", "5", "-I", "eth0", address]);
    let frames = capture.stop()?;
    let arp: Vec<_> = frames.iter().filter_map(landline_testbed::Frame::arp).collect();
    let asked =
        arp.iter().filter(|p| p.operation == 1 && p.sender_mac == own && p.target_ip == wanted).count();
    let answers: Vec<_> = arp.iter().filter(|p| p.operation == 2 && p.sender_ip == wanted).collect();
    assert!(asked >= 3, "{asked} questions");
    assert!(
        (1..=asked).contains(&answers.len()),
        "{} answers to {asked} questions: {answers:?}",
        answers.len()
    );
    Ok(answers.iter().map(|packet| packet.sender_mac.clone()).collect())
}
