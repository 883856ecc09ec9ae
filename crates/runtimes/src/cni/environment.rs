//! The variables of a request.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};

use landline_types::{IfName, Shown};

use super::CniError;

/// The longest container id, in bytes.
const MAX_ID: usize = 253;

/// The longest path of a namespace, in bytes.
const MAX_PATH: usize = 255;

/// The variables that the runtime sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `CNI_COMMAND`
    pub command: String,
    container: String,
    netns: String,
    interface: String,
    arguments: String,
}

impl Environment {
    /// Reads them. A variable that is not set is the same as an empty one.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| variable(name).unwrap_or_default();
        Self {
            command: get("CNI_COMMAND"),
            container: get("CNI_CONTAINERID"),
            netns: get("CNI_NETNS"),
            interface: get("CNI_IFNAME"),
            arguments: get("CNI_ARGS"),
        }
    }

    pub(super) fn container(&self) -> Result<String, CniError> {
        if is_identifier(&self.container) {
            return Ok(self.container.clone());
        }
        Err(bad("CNI_CONTAINERID", &self.container, "a container's id of letters, digits, '_', '.' and '-'"))
    }

    pub(super) fn interface(&self) -> Result<IfName, CniError> {
        self.interface
            .parse()
            .map_err(|_| bad("CNI_IFNAME", &self.interface, "an interface's name of at most 15 characters"))
    }

    /// The path of the container's namespace.
    pub(super) fn netns(&self) -> Result<PathBuf, CniError> {
        let path = PathBuf::from(&self.netns);
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let clean = self.netns.len() <= MAX_PATH && !self.netns.chars().any(char::is_control);
        if path.is_absolute() && plain && clean && path.file_name().is_some() {
            return Ok(path);
        }
        Err(bad("CNI_NETNS", &self.netns, "the absolute path of a network namespace"))
    }

    /// `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`.
    pub(super) fn arguments(&self) -> Result<BTreeMap<&str, &str>, CniError> {
        let pairs = self.arguments.split(';').map(str::trim).filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').ok_or(pair));
        pairs
            .collect::<Result<_, _>>()
            .map_err(|pair| bad("CNI_ARGS", pair, "KEY=VALUE, with semicolons between"))
    }
}

/// Names of networks and containers, as the specification has them.
pub(super) fn is_identifier(text: &str) -> bool {
    let clean = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    text.len() <= MAX_ID
        && text.bytes().all(clean)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

fn bad(variable: &str, value: &str, what: &str) -> CniError {
    if value.is_empty() {
        return CniError::environment(format!("{variable} is missing"));
    }
    CniError::environment(format!("{variable}={:.64} is not {what}", Shown(value)))
}
