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
    /// A macvlan network of Docker's own, on the NIC `eth2`.
    DockerMacvlan,
    /// Landline on the bridge `br0`.
    Bridge,
    /// The same with Landline's IPAM driver.
    BridgeIpam,
    /// Landline on the NIC `eth1`.
    Macvlan,
    /// The same with Landline's IPAM driver.
    MacvlanIpam,
}

impl Network {
    /// What `docker run --network` takes.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::DockerBridge => "docker",
            Self::DockerMacvlan => "docker-direct",
            Self::Bridge => "lan",
            Self::BridgeIpam => "lan-ipam",
            Self::Macvlan => "direct",
            Self::MacvlanIpam => "direct-ipam",
        }
    }

    /// What it is called in a table.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::DockerBridge => "Docker bridge",
            Self::DockerMacvlan => "Docker macvlan",
            Self::Bridge => "Landline bridge",
            Self::BridgeIpam => "Landline bridge, IPAM",
            Self::Macvlan => "Landline macvlan",
            Self::MacvlanIpam => "Landline macvlan, IPAM",
        }
    }
}

/// A Docker host with three NICs: `eth0` in `br0`, `eth1` and `eth2` on their own. All [`Network`]s are there.
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
        nic(&lan, &host, "eth1")?;
        nic(&lan, &host, "eth2")?;
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
        let direct = ["macvlan", "--subnet", "198.51.100.0/24", "-o", "parent=eth2"];
        create(&direct, Network::DockerMacvlan)?;
        for (network, ipam) in [(Network::Bridge, "null"), (Network::BridgeIpam, "landline")] {
            let options = ["-o", "bridge=br0", "-o", "ignore_conflicts=true"];
            create(&[&["landline", "--ipam-driver", ipam], &options[..]].concat(), network)?;
        }
        for (network, ipam) in [(Network::Macvlan, "null"), (Network::MacvlanIpam, "landline")] {
            let options = ["-o", "mode=macvlan", "-o", "parent=eth1"];
            create(&[&["landline", "--ipam-driver", ipam], &options[..]].concat(), network)?;
        }
        lab.addresses_are_there()?;
        Ok(lab)
    }

    /// What each step of a container's life takes, as whoever types the commands sees it: a start, the end of a container that
    /// has only begun, and that of `old`, which has lived for a while. Leaves `next` for the round to come.
    pub(super) fn life(&self, network: Network, old: &str, next: &str) -> Result<[Duration; 3]> {
        let run = |name: &str| {
            let command =
                ["run", "-d", "--name", name, "--network", network.name(), "box", "sleep", "infinity"];
            self.timed(&command)
        };
        let end = |name: &str| self.timed(&["rm", "-f", name]);
        let old_end = end(old)?;
        let (start, young_end) = (run("young")?, end("young")?);
        run(next)?;
        Ok([start, young_end, old_end])
    }

    fn timed(&self, command: &[&str]) -> Result<Duration> {
        let start = Instant::now();
        self.host.docker_ok(command)?;
        Ok(start.elapsed())
    }

    /// `docker run --rm --network NETWORK ARGS box true`: how long it takes, as whoever types it sees it.
    pub(super) fn run_once(&self, network: Network, args: &[&str]) -> Result<Duration> {
        self.run_on(network.name(), args)
    }

    /// The same on any network.
    pub(super) fn run_on(&self, network: &str, args: &[&str]) -> Result<Duration> {
        let head: &[&str] = &["run", "--rm", "--network", network];
        self.timed(&[head, args, &["box", "true"]].concat())
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
            (Network::DockerMacvlan, "inet 198.51.100."),
            (Network::Bridge, "inet 192.0.2."),
            (Network::BridgeIpam, "inet 192.0.2."),
            (Network::Macvlan, "inet 192.0.2."),
            (Network::MacvlanIpam, "inet 192.0.2."),
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
fn nic(lan: &Lan, host: &DockerHost, name: &str) -> Result<()> {
    let (netns, port) = (host.node().netns(), format!("p-{name}"));
    lan.switch()
        .check(&["ip", "link", "add", &port, "type", "veth", "peer", "name", name, "netns", &netns])?;
    lan.switch().check(&["ip", "link", "set", &port, "master", "sw", "up"])?;
    host.check(&["ip", "link", "set", name, "up"])?;
    Ok(())
}
