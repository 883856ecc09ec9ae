//! The LAN and the Docker host that are measured on.

use std::path::Path;
use std::time::{Duration, Instant};

use landline_testbed::{Daemon, DhcpServer, Dnsmasq, DockerHost, Dockerd, Error, Lan, Result};

/// A network a container can be started on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    /// No network: what Docker takes anyway.
    None,
    /// A bridge network of Docker's own.
    DockerBridge,
    /// Landline on the bridge `br0`.
    Bridge,
    /// Landline on the NIC `eth1`.
    Macvlan,
}

impl Network {
    /// What `docker run --network` takes.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::DockerBridge => "docker",
            Self::Bridge => "lan",
            Self::Macvlan => "direct",
        }
    }

    /// What it is called in a table.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::DockerBridge => "Docker bridge",
            Self::Bridge => "Landline bridge",
            Self::Macvlan => "Landline macvlan",
        }
    }
}

/// A Docker host with two NICs: `eth0` in `br0`, `eth1` on its own. All [`Network`]s are there.
#[derive(Debug)]
pub(super) struct Lab {
    // In the order in which they are to be ended.
    pub(super) daemon: Daemon,
    pub(super) host: DockerHost,
    pub(super) server: DhcpServer,
    pub(super) lan: Lan,
}

impl Lab {
    /// Brings it up, with a dnsmasq that does not ping.
    pub(super) fn new(landline: &Path) -> Result<Self> {
        Self::configured(landline, &[])
    }

    /// The same with arguments for the daemon.
    pub(super) fn configured(landline: &Path, args: &[&str]) -> Result<Self> {
        let lan = Lan::new()?;
        let server = lan.dnsmasq(dnsmasq(true))?;
        let mut host = lan.docker_host("host1")?;
        host.make_bridge("br0", Some("192.0.2.10/24"))?;
        second_nic(&lan, &host)?;
        // Docker's own bridge networks come with firewall rules everywhere; without them they would look too good.
        host.dockerd(Dockerd { iptables: true, ..Dockerd::default() })?;
        let daemon = host.start_landline(landline, args, &[])?;
        let lab = Self { daemon, host, server, lan };
        // With its rules Docker drops what is forwarded; bridged frames count as forwarded where `br_netfilter` is.
        lab.host.check(&["iptables", "-I", "DOCKER-USER", "-i", "br0", "-j", "ACCEPT"])?;
        let create = |args: &[&str], network: Network| {
            let command = [&["network", "create", "-d"], args, &[network.name()]].concat();
            lab.host.docker_ok(&command).map(drop)
        };
        create(&["bridge", "--subnet", "203.0.113.0/24"], Network::DockerBridge)?;
        create(&["landline", "--ipam-driver", "null", "-o", "bridge=br0"], Network::Bridge)?;
        create(
            &["landline", "--ipam-driver", "null", "-o", "mode=macvlan", "-o", "parent=eth1"],
            Network::Macvlan,
        )?;
        lab.addresses_are_there()?;
        Ok(lab)
    }

    /// `docker run --rm --network NETWORK ARGS box true`: how long it takes, as whoever types it sees it.
    pub(super) fn run_once(&self, network: Network, args: &[&str]) -> Result<Duration> {
        self.run_on(network.name(), args)
    }

    /// The same on any network.
    pub(super) fn run_on(&self, network: &str, args: &[&str]) -> Result<Duration> {
        let head: &[&str] = &["run", "--rm", "--network", network];
        let command = [head, args, &["box", "true"]].concat();
        let start = Instant::now();
        self.host.docker_ok(&command)?;
        Ok(start.elapsed())
    }

    /// Does something for every name at the same time; how long it takes until the last is done.
    pub(super) fn at_once(
        &self,
        names: &[String],
        work: impl Fn(&DockerHost, &str) -> Result<()> + Sync,
    ) -> Result<Duration> {
        let (host, work) = (&self.host, &work);
        let start = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = names.iter().map(|name| scope.spawn(move || work(host, name))).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(Error::Unexpected("a thread panicked".to_owned())))
            })
        })?;
        Ok(start.elapsed())
    }

    /// A container that has no address would be a fast one.
    fn addresses_are_there(&self) -> Result<()> {
        for (network, prefix) in [
            (Network::DockerBridge, "inet 203.0.113."),
            (Network::Bridge, "inet 192.0.2."),
            (Network::Macvlan, "inet 192.0.2."),
        ] {
            let name = network.name();
            let shown =
                self.host.docker_ok(&["run", "--rm", "--network", name, "box", "ip", "-4", "addr"])?;
            if !shown.contains(prefix) {
                return Err(Error::Unexpected(format!("no {prefix} in a container on {name}:\n{shown}")));
            }
        }
        Ok(())
    }
}

/// The server of the LAN. Every container is a new machine to it, so the pool is as large as it can be.
pub(super) fn dnsmasq(no_ping: bool) -> Dnsmasq {
    Dnsmasq { range: ("192.0.2.20".to_owned(), "192.0.2.250".to_owned()), no_ping, ..Dnsmasq::default() }
}

/// A NIC of the host that no bridge has, on the same LAN.
fn second_nic(lan: &Lan, host: &DockerHost) -> Result<()> {
    let netns = host.node().netns();
    lan.switch()
        .check(&["ip", "link", "add", "p-nic2", "type", "veth", "peer", "name", "eth1", "netns", &netns])?;
    lan.switch().check(&["ip", "link", "set", "p-nic2", "master", "sw", "up"])?;
    host.check(&["ip", "link", "set", "eth1", "up"])?;
    Ok(())
}
