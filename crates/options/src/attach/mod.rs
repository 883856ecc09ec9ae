//! Attachments: one more interface for a container that is there already.
//!
//! One value, [`AttachSpec`], whatever it was written in: `landline attach PARENT CONTAINER ADDRESS… [key=value…]`, a
//! label (the same without CONTAINER), or one of pipework's forms ([`crate::Pipework`]).

mod address;
mod error;
mod grammar;
mod on_network;
mod target;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use landline_types::{IfName, Mac};
use serde::{Deserialize, Serialize};

pub use address::StaticAddress;
pub(crate) use address::parse as parse_static;
pub use error::AttachError;
pub(crate) use grammar::{hardware_address, interface};
pub use target::{ContainerName, Target};
pub(crate) use words::refuse_long;
pub use words::split_words;

use crate::endpoint::EndpointOptions;
use crate::error::OptionError;
use crate::modes::Mode;
use crate::network::NetworkOptions;
use crate::words::Addressing;

/// An interface to be put into a container. Goes into the store, so fields that come later have a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachSpec {
    /// Its parent.
    pub parent: Parent,
    /// How the wire runs.
    #[serde(default)]
    pub link: LinkChoice,
    /// What it is called in the container; `None`: the first free of `eth0`, `eth1`, ….
    #[serde(default)]
    pub ifname: Option<IfName>,
    /// What its other end is called on the host, where there is one.
    #[serde(default)]
    pub host_end: Option<IfName>,
    /// Its hardware address.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// Addresses that are set as they are.
    #[serde(default)]
    pub addresses: Vec<StaticAddress>,
    /// Whether an address is asked for on the LAN.
    #[serde(default)]
    pub dhcp: bool,
    /// Whether static addresses are used without looking for another user first.
    #[serde(default)]
    pub force: bool,
    /// Whether a bridge that is not there is made.
    #[serde(default)]
    pub create: bool,
    /// Network options that were given beside these, among them `mode` and `vlan`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Options of the endpoint: `client_id`, `hostname`, `ip`.
    #[serde(default)]
    pub endpoint: EndpointOptions,
}

/// The parent of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parent {
    /// The host interface of this name.
    Name(IfName),
    /// The host interface with this hardware address.
    Mac(Mac),
    /// Nothing: the interface goes nowhere.
    Dummy,
    /// The VDE switch that somebody runs in this directory: absolute, without `..`, at most 96 bytes long.
    #[serde(rename = "vde")]
    Switch(PathBuf),
}

impl fmt::Display for Parent {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Mac(mac) => write!(f, "mac:{mac}"),
            Self::Dummy => f.write_str("dummy"),
            Self::Switch(dir) => dir.display().fmt(f),
        }
    }
}

/// How the wire of an attachment runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkChoice {
    /// As the parent has it, unless the options say a mode: a veth into a bridge, a macvlan child of a network card.
    #[default]
    Follow,
    /// The parent itself is moved into the container.
    Nic,
}

/// Options that have no meaning for a network card that moves in itself: of links whose parent it is, and of IPv6, whose
/// routers nobody would hear on the host once the card is gone.
const OF_CHILDREN: [&str; 7] = ["mode", "vlan", "trunks", "macvlan_mode", "host_access", "ipv6", "mtu"];

/// A container and the interface it is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Where.
    pub target: Target,
    /// What.
    pub spec: AttachSpec,
}

impl AttachSpec {
    /// An interface on this parent, without an address.
    pub fn new(parent: Parent) -> Self {
        Self {
            parent,
            link: LinkChoice::Follow,
            ifname: None,
            host_end: None,
            mac: None,
            addresses: Vec::new(),
            dhcp: false,
            force: false,
            create: false,
            options: BTreeMap::new(),
            endpoint: EndpointOptions::default(),
        }
    }

    /// The first static IPv4 address, which is the one the endpoint is known by when there is no lease.
    pub fn first_v4(&self) -> Option<&StaticAddress> {
        self.addresses.iter().find(|address| matches!(address.net, IpNet::V4(_)))
    }

    /// The network this is an endpoint of, once it is known what the parent is called and which mode it follows.
    ///
    /// # Errors
    /// An option that does not exist, or excludes another, or has another mode's meaning.
    pub fn network(&self, parent: &IfName, follow: Mode) -> Result<NetworkOptions, OptionError> {
        self.network_with(("parent", parent.to_string()), follow)
    }

    /// The same where the parent is the switch in this directory, which decides the mode.
    ///
    /// # Errors
    /// See [`Self::network`].
    pub fn network_on_switch(&self, dir: &Path) -> Result<NetworkOptions, OptionError> {
        self.network_with(("socket_dir", dir.to_string_lossy().into_owned()), Mode::Vde)
    }

    fn network_with(
        &self,
        (key, parent): (&str, String),
        follow: Mode,
    ) -> Result<NetworkOptions, OptionError> {
        let mut options = self.options.clone();
        options.insert(key.into(), parent);
        if self.link == LinkChoice::Nic {
            for option in OF_CHILDREN {
                if options.contains_key(option) {
                    return Err(OptionError::NotInMode { option, mode: Mode::Nic });
                }
            }
            // What else there is of options is the same for a card as for its children.
            options.insert("mode".into(), Mode::Macvlan.to_string());
        }
        options.entry("mode".into()).or_insert_with(|| follow.to_string());
        let addressing = match (self.dhcp, self.first_v4()) {
            (true, _) => Addressing::Dhcp,
            (false, Some(_)) => Addressing::Static,
            (false, None) => Addressing::None,
        };
        options.insert("addressing".into(), addressing.to_string());
        let network = NetworkOptions::parse(&options)?;
        if network.mode == Mode::Routed {
            self.check_routed()?;
        }
        Ok(if self.link == LinkChoice::Nic { NetworkOptions { mode: Mode::Nic, ..network } } else { network })
    }

    /// Refuses what the host cannot route to: it has a route to one IPv4 address of each container, and its firewall knows the links by
    /// their names.
    fn check_routed(&self) -> Result<(), OptionError> {
        if self.host_end.is_some() {
            return Err(OptionError::NotInMode { option: "host_ifname", mode: Mode::Routed });
        }
        let others =
            self.addresses.len().saturating_sub(usize::from(self.first_v4().is_some() && !self.dhcp));
        if others > 0 { Err(OptionError::OneAddress { mode: Mode::Routed }) } else { Ok(()) }
    }

    /// Refuses options that can be seen to be wrong before the parent is looked at.
    pub(crate) fn check(&self) -> Result<(), AttachError> {
        let parent = match &self.parent {
            Parent::Name(name) => name.clone(),
            Parent::Mac(_) | Parent::Dummy | Parent::Switch(_) => {
                "eth0".parse().map_err(|_| AttachError::NoParent)?
            }
        };
        let network = |mode| match &self.parent {
            Parent::Switch(dir) => self.network_on_switch(dir),
            _ => self.network(&parent, mode),
        };
        let vde = self.options.get("mode").map(|mode| mode.trim().eq_ignore_ascii_case("vde"));
        if vde.is_some_and(|vde| vde != matches!(self.parent, Parent::Switch(_))) {
            return Err(AttachError::Contradiction(
                "mode=vde and the directory of a VDE switch, like /run/vde.ctl, as the parent belong together",
            ));
        }
        // What the parent is, and so what goes with it, is seen later.
        let first = network(Mode::Bridge);
        let other = |mode| network(mode).is_ok();
        if first.is_err() && [Mode::Macvlan, Mode::Ovs].into_iter().any(other) {
            return Ok(());
        }
        first.map(drop).map_err(AttachError::from)
    }
}
