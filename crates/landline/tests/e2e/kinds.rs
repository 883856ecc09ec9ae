//! The link kinds, for what must hold with each of them.

use landline_testbed::{Dnsmasq, Lan, LeaseRow, ServerConfig, wait_for};
use serde_json::Value;

use crate::world::{Result, SOON, World};

/// A link kind, and what is different about it from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The host's NIC is in `br0`.
    Bridge,
    /// The NIC itself is the parent.
    Macvlan,
}

impl Kind {
    /// The options of a network of this kind.
    pub(crate) const fn options(self) -> &'static [&'static str] {
        match self {
            Self::Bridge => &["bridge=br0"],
            Self::Macvlan => &["mode=macvlan", "parent=eth0"],
        }
    }

    /// What the first interface is called in a container.
    pub(crate) const fn interface(self) -> &'static str {
        match self {
            Self::Bridge => "br00",
            Self::Macvlan => "eth0",
        }
    }

    /// A running host for it, and this DHCP server on the LAN.
    pub(crate) fn world(self, dhcp: &Dnsmasq) -> Result<World> {
        self.world_on(Lan::new()?, dhcp)
    }

    /// A running host for it on this LAN.
    pub(crate) fn world_on(self, lan: Lan, dhcp: &(impl ServerConfig + ?Sized)) -> Result<World> {
        let dhcp = lan.server_on(lan.router(), dhcp)?;
        let host = lan.docker_host("host1")?;
        match self {
            Self::Bridge => host.make_bridge("br0", Some("192.0.2.10/24"))?,
            Self::Macvlan => {
                host.check(&["ip", "address", "add", "192.0.2.10/24", "dev", "eth0"])?;
            }
        }
        World::start(lan, dhcp, host)
    }
}

impl World {
    /// A network of this kind with further options. Several may be on one bridge.
    pub(crate) fn network_of(&self, kind: Kind, name: &str, further: &[&str]) -> Result<String> {
        let mut options = kind.options().to_vec();
        options.extend(further);
        if kind == Kind::Bridge {
            options.push("ignore_conflicts=true");
        }
        self.network(name, &options)
    }

    /// A command in a container; its standard output.
    pub(crate) fn inside(&self, container: &str, argv: &[&str]) -> Result<String> {
        Ok(self.host.in_container(container, argv)?)
    }

    /// The names of a container's interfaces, `lo` left out, in order.
    pub(crate) fn interfaces(&self, container: &str) -> Result<Vec<String>> {
        let listed = self.inside(container, &["ls", "/sys/class/net"])?;
        let mut names: Vec<String> =
            listed.split_whitespace().filter(|name| *name != "lo").map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// The lines of `ip route` in a container.
    pub(crate) fn routes(&self, container: &str) -> Result<Vec<String>> {
        let listed = self.inside(container, &["ip", "route"])?;
        Ok(listed.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// The next hops of a container's IPv4 default routes.
    pub(crate) fn gateways(&self, container: &str) -> Result<Vec<String>> {
        let routes = self.routes(container)?;
        let defaults = routes.iter().filter_map(|line| line.strip_prefix("default via "));
        Ok(defaults.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect())
    }

    /// The server's lease for a hardware address. dnsmasq empties its file before it writes it, so that a lease may be
    /// out of sight for a moment.
    pub(crate) fn lease_of(&self, mac: &str) -> Result<LeaseRow> {
        Ok(wait_for(format!("a lease of {mac}"), SOON, || self.dhcp.lease_of(mac))?)
    }

    /// The host's links with Landline's mark, one line of `ip link` each.
    pub(crate) fn marked_links(&self) -> Result<Vec<String>> {
        let links = self.host.check(&["ip", "-oneline", "link", "show"])?;
        Ok(links.lines().filter(|line| line.contains("alias landline:")).map(str::to_owned).collect())
    }

    /// The row of `landline ls --json` for a network, once it has this name there.
    pub(crate) fn row_of_network(&self, name: &str) -> Result<Value> {
        let row = wait_for(format!("{name} in landline ls"), SOON, || {
            let listing = self.ls().ok()?;
            listing["networks"].as_array()?.iter().find(|n| n["name"] == name).cloned()
        })?;
        Ok(row)
    }
}
