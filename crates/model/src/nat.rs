//! Whose an address of the LAN on the host is (`mode=nat`, `landline nat`).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use landline_options::{NatPort, NetworkId};
use serde::{Deserialize, Serialize};

use crate::IdentityId;

/// Whose address it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NatOwner {
    /// That of the container with this name, on a network that the host routes for (`landline nat`).
    Container(String),
    /// A `mode=nat` network's: for whichever container is on it.
    Network(NetworkId),
    /// That of one container on a `mode=nat` network.
    Identity {
        /// The network.
        network: NetworkId,
        /// The container, as it is remembered.
        identity: IdentityId,
    },
}

impl NatOwner {
    /// Its network, if that is one of `mode=nat`.
    pub const fn network(&self) -> Option<&NetworkId> {
        match self {
            Self::Container(_) => None,
            Self::Network(network) | Self::Identity { network, .. } => Some(network),
        }
    }
}

impl fmt::Display for NatOwner {
    /// No name of a container has spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => f.write_str(name),
            Self::Network(network) => write!(f, "network {network}"),
            Self::Identity { network, identity } => write!(f, "network {network} {identity}"),
        }
    }
}

/// The text is no owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoOwner;

impl FromStr for NatOwner {
    type Err = NoOwner;

    /// Reads what [`Display`](fmt::Display) writes, which is the key of its record.
    fn from_str(text: &str) -> Result<Self, NoOwner> {
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            [name] if !name.is_empty() => Ok(Self::Container(name.to_owned())),
            ["network", network] => Ok(Self::Network(network.parse().map_err(|_| NoOwner)?)),
            ["network", network, identity] => Ok(Self::Identity {
                network: network.parse().map_err(|_| NoOwner)?,
                identity: identity.parse().map_err(|_| NoOwner)?,
            }),
            _ => Err(NoOwner),
        }
    }
}

/// What an endpoint of a `mode=nat` network has of the LAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatBinding {
    /// Whose address it is.
    pub owner: NatOwner,
    /// What of it is passed on; `None`: all.
    pub ports: Option<BTreeSet<NatPort>>,
}
