//! The networks there are and the containers on them, whoever runs them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use landline_options::{EndpointId, NetworkId};
use landline_types::{IfName, Mac};

/// What the front end sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether it is in touch with the engine that runs containers.
    pub connected: bool,
    /// Whether it has looked at every container.
    pub complete: bool,
    /// All networks.
    pub networks: BTreeMap<NetworkId, SeenNetwork>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenNetwork {
    /// What its user called it.
    pub name: String,
    /// Who runs it: `macvlan`, `ipvlan`, `landline`, ...
    pub driver: String,
    /// How its containers are connected to the parent.
    pub wire: Wire,
    /// Their parent, a NIC.
    pub parent: Option<IfName>,
    /// What their addresses are from, where somebody on this host gives them.
    pub subnets: Vec<IpNet>,
    /// The containers on it.
    pub members: Vec<Member>,
}

/// How containers are connected to a NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// Each with a hardware address of its own, in mode `bridge`.
    Macvlan,
    /// All with the NIC's, in mode `l2`.
    Ipvlan,
    /// In a way a sibling on the host does not help with, or need not; why, as half a sentence about the network.
    Unsuitable(String),
}

/// A container on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The endpoint's id, which is another one each time a container starts or is connected.
    pub endpoint: EndpointId,
    /// The container's name, if known.
    pub container: Option<String>,
    /// Its hardware address; ipvlan containers have their parent's.
    pub mac: Option<Mac>,
    /// Its addresses on the network.
    pub addresses: Vec<IpAddr>,
    /// Where its network namespace can be entered.
    pub sandbox: Option<PathBuf>,
}

impl Wire {
    /// A macvlan network's, by its mode (ip-link(8)); empty for the default.
    pub fn macvlan(mode: &str) -> Self {
        match mode {
            "" | "bridge" => Self::Macvlan,
            "private" => Self::Unsuitable(
                "has macvlan_mode=private, which keeps its containers from everything else on the host"
                    .into(),
            ),
            "vepa" => Self::Unsuitable(
                "has macvlan_mode=vepa, which leaves it to the switch outside to send the host's frames back"
                    .into(),
            ),
            "passthru" => Self::Unsuitable(
                "has macvlan_mode=passthru, which gives the whole NIC to one container".into(),
            ),
            other => Self::Unsuitable(format!("has macvlan_mode={other}, which Landline does not know")),
        }
    }

    /// An ipvlan network's, by its mode and its flag (ip-link(8)); empty for the defaults.
    pub fn ipvlan(mode: &str, flag: &str) -> Self {
        match (mode, flag) {
            ("" | "l2", "" | "bridge") => Self::Ipvlan,
            ("" | "l2", flag) => Self::Unsuitable(format!(
                "has ipvlan_flag={flag}, which keeps its containers from everything else on the host"
            )),
            (mode, _) => Self::Unsuitable(format!(
                "has ipvlan_mode={mode}, where containers are reached through routes and not over a LAN"
            )),
        }
    }

    /// A network's that is no NIC's child.
    pub fn other(driver: &str) -> Self {
        Self::Unsuitable(format!(
            "is a {driver} network, and host access is for the children of a NIC, macvlan and ipvlan"
        ))
    }
}

/// The network that is meant by a name, an id, or the beginning of an id.
pub(crate) fn find<'a>(
    networks: &'a BTreeMap<NetworkId, SeenNetwork>,
    text: &str,
) -> Option<(&'a NetworkId, &'a SeenNetwork)> {
    let exact = networks.iter().find(|(id, network)| network.name == text || id.as_str() == text);
    exact.or_else(|| {
        let mut begin = networks.iter().filter(|(id, _)| text.len() >= 4 && id.as_str().starts_with(text));
        begin.next().filter(|_| begin.next().is_none())
    })
}
