//! Host access as shown to people and programs.

use std::net::IpAddr;

use ipnet::IpNet;
use landline_types::IfName;
use serde::{Deserialize, Serialize};

/// By whose word a network has host access.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessOrigin {
    /// A command's.
    #[default]
    Command,
    /// The configuration file's.
    Configuration,
    /// An option of the network.
    Option,
}

/// A network with host access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessView {
    /// Its name.
    pub network: String,
    /// By whose word it has it.
    #[serde(default)]
    pub by: AccessOrigin,
    /// Who runs it; `None`: there is no such network now.
    pub driver: Option<String>,
    /// The NIC its containers hang on.
    pub parent: Option<IfName>,
    /// The host's interface through which they are reached.
    pub interface: Option<IfName>,
    /// That interface's own addresses.
    pub addresses: Vec<IpNet>,
    /// What else is reached through it.
    pub routes: Vec<IpNet>,
    /// The containers there are.
    pub containers: Vec<AccessContainer>,
    /// `ready`, or what is wrong.
    pub state: String,
    /// What was changed about the host's own settings.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A container on such a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessContainer {
    /// Its name, if known.
    pub container: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// `ready`, or what is wrong.
    pub state: String,
}
