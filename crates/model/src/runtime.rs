//! Interfaces that a container runtime asks for, and answers for their end: by CNI, or by netavark's plugin interface.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use landline_types::{IfName, Mac};
use serde::{Deserialize, Serialize};

/// The interface by which a runtime asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeApi {
    /// The Container Network Interface.
    Cni,
    /// Netavark's plugins, which Podman uses.
    Netavark,
}

impl fmt::Display for RuntimeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cni => "cni",
            Self::Netavark => "netavark",
        })
    }
}

/// What a runtime calls one interface of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeOwner {
    /// How it asks.
    pub api: RuntimeApi,
    /// The name of its network.
    pub network: String,
    /// The container's id.
    pub container: String,
    /// The interface's name in the container.
    pub interface: IfName,
    /// What the container is called, also when it is recreated under another id: `NAMESPACE/POD`, or its name.
    #[serde(default)]
    pub name: Option<String>,
}

impl RuntimeOwner {
    /// Whether both are about the same interface.
    pub fn is_same(&self, other: &Self) -> bool {
        let key = |owner: &Self| (owner.api, owner.network.clone(), owner.interface.clone());
        key(self) == key(other) && self.container == other.container
    }

    /// The name of the container, or its id.
    pub fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.container)
    }

    /// The key of its identity. A container that is recreated under its name has the same one.
    pub fn key(&self) -> String {
        format!("{}/{}/{}/{}", self.api, self.network, self.shown(), self.interface)
    }

    /// What the network is called among Landline's.
    pub fn network_name(&self) -> String {
        format!("{}:{}", self.api, self.network)
    }
}

/// An interface as it is in its container, for the runtime that asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInterface {
    /// Its name there.
    pub name: IfName,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses, IPv4 first, without the link-local ones.
    pub addresses: Vec<IpNet>,
    /// The routes through it, but for those that come with the addresses: where to, and by which router.
    pub routes: Vec<(IpNet, Option<IpAddr>)>,
    /// The DNS servers of its LAN.
    pub dns: Vec<IpAddr>,
    /// The search domains of its LAN.
    pub search: Vec<String>,
}

impl RuntimeInterface {
    /// The default router of an address' family, if the default route goes through this interface.
    pub fn gateway(&self, of: &IpNet) -> Option<IpAddr> {
        let same = |to: &IpNet| to.prefix_len() == 0 && to.addr().is_ipv4() == of.addr().is_ipv4();
        self.routes.iter().find(|(to, _)| same(to)).and_then(|(_, router)| *router)
    }
}

/// Of which kind the failure of a runtime's request is, for the codes that runtimes tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeFailure {
    /// The request cannot be served as it is written.
    Request,
    /// The container's network namespace is not there.
    NoSandbox,
    /// It may work later: the parent is missing or down, or no server answered.
    Later,
    /// The container has an interface of this name.
    NameTaken,
    /// Another machine has the address.
    AddressTaken,
    /// The interface is not there, or not as it was.
    Lost,
    /// Anything else.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(container: &str, name: Option<&str>) -> RuntimeOwner {
        RuntimeOwner {
            api: RuntimeApi::Cni,
            network: "lan".into(),
            container: container.into(),
            interface: "eth0".parse().unwrap(),
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn a_pod_keeps_its_identity_and_not_its_interface() {
        let (old, new) = (owner("a", Some("shop/web-0")), owner("b", Some("shop/web-0")));
        assert!(!old.is_same(&new) && old.is_same(&owner("a", None)));
        assert_eq!((old.key(), new.key()), ("cni/lan/shop/web-0/eth0".into(), old.key()));
        assert_ne!(owner("a", None).key(), owner("b", None).key());
    }
}
