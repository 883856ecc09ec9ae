//! Host access as shown to people and programs.

use std::fmt;
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

/// Whether all is well with a network or a container; its text is what people and programs see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum AccessState {
    /// It is reached.
    #[default]
    Ready,
    /// It is not, for this reason.
    Trouble(String),
}

/// The text of [`AccessState::Ready`].
const READY: &str = "ready";

impl fmt::Display for AccessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str(READY),
            Self::Trouble(why) => f.write_str(why),
        }
    }
}

impl From<String> for AccessState {
    fn from(text: String) -> Self {
        if text == READY { Self::Ready } else { Self::Trouble(text) }
    }
}

impl From<AccessState> for String {
    fn from(state: AccessState) -> Self {
        state.to_string()
    }
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
    /// The NIC that is its containers' parent.
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
    pub state: AccessState,
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
    pub state: AccessState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_its_text_to_programs() {
        for (state, text) in [(AccessState::Ready, "ready"), (AccessState::Trouble("gone".into()), "gone")] {
            assert_eq!(serde_json::to_value(&state).unwrap(), text);
            assert_eq!(serde_json::from_value::<AccessState>(text.into()).unwrap(), state);
        }
    }
}
