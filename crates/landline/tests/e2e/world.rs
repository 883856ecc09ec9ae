//! What most tests start from: a LAN, its DHCP server, a Docker host with `br0`, and a running daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use landline_testbed::{Daemon, DhcpServer, Dnsmasq, DockerHost, Dockerd, LOG_IN_DETAIL, Lan, wait_for};
use serde_json::Value;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long anything may take that should happen at once. Generous: the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// The program under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_landline"))
}

/// What a test's first daemon runs: this build, or for upgrades the older one that `LANDLINE_TEST_BEFORE` names.
fn before() -> PathBuf {
    std::env::var_os("LANDLINE_TEST_BEFORE").map_or_else(|| binary().to_owned(), PathBuf::from)
}

pub(crate) struct World {
    // Dropped in this order: the daemon before its host before the LAN.
    pub(crate) daemon: Daemon,
    pub(crate) host: DockerHost,
    pub(crate) dhcp: DhcpServer,
    pub(crate) lan: Lan,
}

impl World {
    /// A host whose NIC is in `br0` (192.0.2.10), dnsmasq on the router, dockerd and Landline running.
    pub(crate) fn bridge() -> Result<Self> {
        Self::bridge_with(Dnsmasq::default())
    }

    pub(crate) fn bridge_with(dhcp: Dnsmasq) -> Result<Self> {
        let lan = Lan::new()?;
        let dhcp = lan.dnsmasq(dhcp)?;
        let host = lan.docker_host("host1")?;
        host.make_bridge("br0", Some("192.0.2.10/24"))?;
        Self::start(lan, dhcp, host)
    }

    /// A host whose NIC `eth0` (192.0.2.10) is its own, for macvlan.
    pub(crate) fn nic() -> Result<Self> {
        Self::nic_with(Dnsmasq::default())
    }

    pub(crate) fn nic_with(dhcp: Dnsmasq) -> Result<Self> {
        let lan = Lan::new()?;
        let dhcp = lan.dnsmasq(dhcp)?;
        let host = lan.docker_host("host1")?;
        host.check(&["ip", "address", "add", "192.0.2.10/24", "dev", "eth0"])?;
        Self::start(lan, dhcp, host)
    }

    /// As [`World::bridge`], with further arguments for the daemon; the server's addresses come one after the other.
    pub(crate) fn bridge_named(args: &[&str]) -> Result<Self> {
        let lan = Lan::new()?;
        let dhcp = lan.dnsmasq(Dnsmasq { sequential: true, ..Dnsmasq::default() })?;
        let host = lan.docker_host("host1")?;
        host.make_bridge("br0", Some("192.0.2.10/24"))?;
        Self::start_with(lan, dhcp, host, args)
    }

    pub(crate) fn start(lan: Lan, dhcp: DhcpServer, host: DockerHost) -> Result<Self> {
        Self::start_with(lan, dhcp, host, &[])
    }

    pub(crate) fn start_with(
        lan: Lan,
        dhcp: DhcpServer,
        mut host: DockerHost,
        args: &[&str],
    ) -> Result<Self> {
        host.dockerd(Dockerd::default())?;
        let daemon = host.start_landline(&before(), args, &[LOG_IN_DETAIL])?;
        Ok(Self { daemon, host, dhcp, lan })
    }

    /// Has the daemon read its configuration again (SIGHUP), and waits until it has said what it makes of it.
    pub(crate) fn reload(&self) -> Result {
        let words = ["configuration read", "the configuration stays as it was"];
        let said = || words.iter().map(|words| self.daemon.log().matches(words).count()).sum::<usize>();
        let before = said();
        self.host.check(&["kill", "-HUP", &self.host.pid_in_host(self.daemon.pid()?)?.to_string()])?;
        wait_for("the configuration to be read", SOON, || said() > before)?;
        Ok(())
    }

    /// `docker network create -d landline --ipam-driver null OPTIONS NAME`.
    pub(crate) fn network(&self, name: &str, options: &[&str]) -> Result<String> {
        let mut command = vec!["network", "create", "-d", "landline", "--ipam-driver", "null"];
        for option in options {
            command.extend(["-o", option]);
        }
        command.push(name);
        Ok(self.host.docker_ok(&command)?.trim().to_owned())
    }

    /// `docker run -d --name NAME --network NETWORK ARGS box sleep infinity`.
    pub(crate) fn run(&self, name: &str, network: &str, args: &[&str]) -> Result {
        let mut command = vec!["run", "-d", "--name", name, "--network", network];
        command.extend(args);
        command.extend(["box", "sleep", "infinity"]);
        self.host.docker_ok(&command)?;
        Ok(())
    }

    /// What `landline ls --json` says.
    pub(crate) fn ls(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.host.landline_ok(binary(), &["ls", "--json"])?)?)
    }

    /// The row of `landline ls` for a container, once it has this name there.
    pub(crate) fn row(&self, container: &str) -> Result<Value> {
        let row = wait_for(format!("{container} in landline ls"), SOON, || {
            let listing = self.ls().ok()?;
            listing["endpoints"].as_array()?.iter().find(|e| e["container"] == container).cloned()
        })?;
        Ok(row)
    }

    /// The first IPv4 address (with its prefix) on an interface of a container.
    pub(crate) fn address(&self, container: &str, interface: &str) -> Result<String> {
        let text =
            self.host.docker_ok(&["exec", container, "ip", "-4", "-o", "addr", "show", "dev", interface])?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "inet");
        Ok(words.nth(1).ok_or_else(|| format!("no address on {interface}: {text}"))?.to_owned())
    }

    /// The container's hardware address on an interface.
    pub(crate) fn mac(&self, container: &str, interface: &str) -> Result<String> {
        let path = format!("/sys/class/net/{interface}/address");
        Ok(self.host.docker_ok(&["exec", container, "cat", &path])?.trim().to_owned())
    }
}

/// Just the address of `address/length`.
pub(crate) fn bare(address: &str) -> &str {
    address.split('/').next().unwrap_or(address)
}
