//! What Docker has, as far as we were told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use landline_options::{EndpointId, NetworkId};
use landline_types::{IfName, Mac};

use super::requested::{RequestedEndpoint, is_called};
use crate::protocol::PublishedPort;

/// A snapshot of Docker's networks and of the containers on them. It may be some milliseconds old, and is as old
/// as the connection when there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DockerView {
    /// Whether Docker's API is being followed right now. If not, the rest is what was known last.
    pub connected: bool,
    /// When the lists were asked for that it began with (`CLOCK_BOOTTIME`): what was there before and is not among the
    /// networks is not there. `None`: there were none yet.
    pub listed: Option<Duration>,
    /// Whether this engine tells IPAM drivers which container an address is for, as 29.0 and later do.
    pub names_endpoints: bool,
    /// The engine's version, if it says one.
    pub engine: Option<String>,
    /// All networks, whoever drives them.
    pub networks: BTreeMap<NetworkId, DockerNetwork>,
    /// Whose each endpoint is: those of containers about which everything is known.
    pub endpoints: BTreeMap<EndpointId, ContainerInfo>,
    /// The network each of these endpoints is on.
    pub endpoint_networks: BTreeMap<EndpointId, NetworkId>,
    /// What Docker gave each of these endpoints.
    pub attachments: BTreeMap<EndpointId, Attachment>,
    /// All containers by id, running or not; nothing about those that were not inspected yet but their names.
    pub containers: BTreeMap<String, Sketch>,
}

/// An endpoint's addresses, as Docker knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Docker's id for the endpoint.
    pub endpoint: EndpointId,
    /// Its hardware address; ipvlan has none of its own.
    pub mac: Option<Mac>,
    /// Its IPv4 and IPv6 address.
    pub addresses: Vec<IpAddr>,
}

/// What is known of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sketch {
    /// It was created a moment ago. The name may be empty.
    Name(String),
    /// It was inspected.
    Info(Box<ContainerInfo>),
}

/// A network of Docker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerNetwork {
    /// What the user called it.
    pub name: String,
    /// Who drives it: `bridge`, `macvlan`, ..., or a plugin's name.
    pub driver: String,
    /// Its bridge, if Docker's own bridge driver drives it.
    pub bridge: Option<IfName>,
    /// Its parent, if Docker's own macvlan or ipvlan driver drives it.
    pub parent: Option<IfName>,
    /// The subnets its IPAM driver takes addresses from.
    pub subnets: Vec<IpNet>,
    /// That driver: `default`, `null`, or a plugin's name.
    pub ipam: String,
    /// That driver's options.
    pub ipam_options: BTreeMap<String, String>,
    /// What the driver was asked for.
    pub pools: Vec<DockerPool>,
    /// The addresses its endpoints have, once it was inspected. That is done for networks whose addresses a plugin
    /// gives.
    pub in_use: Option<Vec<IpAddr>>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

/// What a network takes addresses from, as its user or its IPAM driver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerPool {
    /// The subnet.
    pub subnet: IpNet,
    /// The part of it that addresses nobody names are from (`--ip-range`).
    pub range: Option<IpNet>,
    /// The gateway.
    pub gateway: Option<IpAddr>,
    /// Addresses for others (`--aux-address`).
    pub set_aside: Vec<IpAddr>,
}

/// A container. All text in it was chosen by a user and may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerInfo {
    /// Docker's id for it.
    pub container_id: String,
    /// Its name, without the slash.
    pub name: String,
    /// Its host name (by default the first 12 digits of its id); may be empty.
    pub hostname: String,
    /// Its domain name; mostly empty.
    pub domainname: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Those variables of its environment whose names have `pipework` in them, `NAME=value` each.
    pub environment: Vec<String>,
    /// Its first process, in the engine's pid namespace, while it runs.
    pub pid: Option<u32>,
    /// Where its sandbox's namespace is bound, while it runs.
    pub sandbox: Option<PathBuf>,
    /// Whether it runs.
    pub running: bool,
    /// Where its root file system is mounted while it runs or starts, if the storage driver says so.
    pub root: Option<PathBuf>,
    /// Its `resolv.conf` on the host, which Docker mounts in it; a container that never ran has none.
    pub resolv_conf: Option<PathBuf>,
    /// The DNS servers its user chose for it.
    pub dns: Vec<String>,
    /// The search domains its user chose for it.
    pub dns_search: Vec<String>,
    /// Whether it is removed when it ends (`--rm`).
    pub auto_remove: bool,
    /// Whether Docker starts it again by itself (`--restart`).
    pub restarts: bool,
    /// The networks that its user has disconnected it from, by what happened since Docker is followed.
    pub disconnected: BTreeSet<NetworkId>,
    /// Why its last start failed; empty if it did not.
    pub error: String,
    /// The ports it exposes or publishes: IP protocol number and port.
    pub ports: BTreeSet<(u8, u16)>,
    /// Those it publishes, and where.
    pub published: Vec<PublishedPort>,
    /// What its user said about its endpoints on networks (`--network name=N,driver-opt=K=V`).
    pub driver_options: BTreeMap<NetworkId, BTreeMap<String, String>>,
    /// The same, and the hardware addresses that its user gave, by what [`networks`](Self::networks) calls the networks.
    pub requested: BTreeMap<String, RequestedEndpoint>,
    /// The networks it is attached to, by id, or by whatever its user called them as long as it never ran.
    pub networks: BTreeSet<String>,
}

impl DockerView {
    /// The network an endpoint is on.
    pub fn network_of(&self, endpoint: &EndpointId) -> Option<&NetworkId> {
        self.endpoint_networks.get(endpoint)
    }

    /// The container that runs in this sandbox.
    pub fn occupant(&self, sandbox: &Path) -> Option<&str> {
        self.containers.iter().find_map(|(id, sketch)| match sketch {
            Sketch::Info(info) if info.sandbox.as_deref() == Some(sandbox) => Some(id.as_str()),
            _ => None,
        })
    }

    /// Whether Docker is followed and every container was looked at.
    pub fn is_complete(&self) -> bool {
        self.connected && self.containers.values().all(|sketch| matches!(sketch, Sketch::Info(_)))
    }

    /// The containers that are attached to this network, or may be, and do not run: id and what is known. One that
    /// runs but has no endpoint there any more is about to be one: Docker tells that a container has lost its
    /// networks before it tells that it has ended.
    pub fn stopped_on(&self, network: &NetworkId) -> impl Iterator<Item = (&str, &Sketch)> {
        let name = self.networks.get(network).map(|n| n.name.as_str());
        let is_it = move |called: &String| is_called(network, name, called);
        let here = self.endpoints.iter().filter(|(endpoint, _)| self.network_of(endpoint) == Some(network));
        let connected: BTreeSet<&str> = here.map(|(_, info)| info.container_id.as_str()).collect();
        self.containers.iter().filter_map(move |(id, sketch)| match sketch {
            Sketch::Info(info) if info.running && connected.contains(id.as_str()) => None,
            Sketch::Info(info) if !info.networks.iter().any(is_it) => None,
            sketch => Some((id.as_str(), sketch)),
        })
    }

    /// The network of one of Docker's own drivers that uses this bridge already: it is the network's bridge, or
    /// one of the bridge's addresses is within the network's subnets.
    ///
    /// Plugins' networks, among them Landline's own, are not looked at: their subnets are the LAN's.
    pub fn bridge_user(
        &self,
        bridge: &IfName,
        addresses_on_bridge: &[IpNet],
        except: &NetworkId,
    ) -> Option<&DockerNetwork> {
        let others = self.networks.iter().filter(|(id, _)| *id != except).map(|(_, network)| network);
        let overlaps = |subnet: &IpNet| {
            let within = |address: &IpNet| subnet.contains(address) || address.contains(subnet);
            subnet.prefix_len() > 0 && addresses_on_bridge.iter().any(within)
        };
        others
            .filter(|network| network.is_dockers_own())
            .find(|network| network.bridge.as_ref() == Some(bridge) || network.subnets.iter().any(overlaps))
    }
}

impl DockerNetwork {
    /// Whether a plugin gives its addresses.
    pub(super) fn has_foreign_ipam(&self) -> bool {
        !matches!(self.ipam.as_str(), "" | "default" | "null" | "windows")
    }

    fn is_dockers_own(&self) -> bool {
        matches!(self.driver.as_str(), "bridge" | "macvlan" | "ipvlan" | "overlay")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(driver: &str, bridge: Option<&str>, subnet: &str) -> DockerNetwork {
        DockerNetwork {
            name: format!("{driver}-net"),
            driver: driver.to_owned(),
            bridge: bridge.map(|name| name.parse().unwrap()),
            parent: None,
            subnets: vec![subnet.parse().unwrap()],
            ipam: "default".into(),
            ipam_options: BTreeMap::new(),
            pools: Vec::new(),
            in_use: None,
            options: BTreeMap::new(),
        }
    }

    fn user(networks: &[DockerNetwork], bridge: &str, addresses: &[&str], except: &str) -> Option<String> {
        let numbered = networks.iter().enumerate();
        let view = DockerView {
            networks: numbered.map(|(i, n)| (format!("n{i}").parse().unwrap(), n.clone())).collect(),
            ..DockerView::default()
        };
        let addresses: Vec<IpNet> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let user = view.bridge_user(&bridge.parse().unwrap(), &addresses, &except.parse().unwrap());
        user.map(|network| network.name.clone())
    }

    #[test]
    fn a_bridge_of_dockers_is_in_use() {
        let networks = [network("bridge", Some("docker0"), "198.51.100.0/24")];
        assert_eq!(user(&networks, "docker0", &[], "x").as_deref(), Some("bridge-net"));
        assert_eq!(user(&networks, "docker0", &[], "n0"), None);
        assert_eq!(user(&networks, "br0", &["192.0.2.1/24"], "x"), None);
    }

    #[test]
    fn a_bridge_within_a_subnet_is_in_use() {
        for (subnet, address) in [("192.0.2.0/24", "192.0.2.1/24"), ("192.0.2.0/25", "192.0.2.200/24")] {
            let networks = [network("macvlan", None, subnet)];
            assert_eq!(
                user(&networks, "br0", &["203.0.113.1/24", address], "x").as_deref(),
                Some("macvlan-net")
            );
        }
    }

    #[test]
    fn plugins_and_pools_of_everything_are_not() {
        let networks = [network("landline", None, "192.0.2.0/24"), network("macvlan", None, "0.0.0.0/0")];
        assert_eq!(user(&networks, "br0", &["192.0.2.1/24"], "x"), None);
    }

    #[test]
    fn who_runs_without_an_endpoint_is_about_to_have_ended() {
        let lan: NetworkId = "n1".parse().unwrap();
        let endpoint: EndpointId = "e1".parse().unwrap();
        let info = |id: &str, networks: &[&str], running| ContainerInfo {
            container_id: id.to_owned(),
            networks: networks.iter().map(|n| (*n).to_owned()).collect(),
            running,
            ..ContainerInfo::default()
        };
        let containers = [
            info("runs", &["n1"], true),
            info("stopped", &["lan"], false),
            info("just-disconnected", &["n1"], true),
            info("elsewhere", &["n2"], true),
        ];
        let view = DockerView {
            networks: [(
                lan.clone(),
                DockerNetwork { name: "lan".into(), ..network("landline", None, "0.0.0.0/0") },
            )]
            .into(),
            endpoints: [(endpoint.clone(), containers[0].clone())].into(),
            endpoint_networks: [(endpoint, lan.clone())].into(),
            containers: containers.map(|c| (c.container_id.clone(), Sketch::Info(Box::new(c)))).into(),
            ..DockerView::default()
        };
        let stopped: Vec<&str> = view.stopped_on(&lan).map(|(id, _)| id).collect();
        assert_eq!(stopped, ["just-disconnected", "stopped"]);
    }
}
