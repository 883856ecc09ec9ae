//! `/etc/landline/landline.toml`.

mod allow;
mod control;
mod defaults;
mod edit;
mod host_access;
mod http;
mod identity;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use allow::{Allowed, AttachKind, Refusal};
pub use control::Control;
pub use defaults::Defaults;
pub use http::Http;
pub use identity::Identity;

use crate::access::Access;
use crate::attach::{AttachSpec, Target};

/// What the administrator wrote. Without a file everything is as it is by default: containers may ask for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// What containers may ask for.
    pub containers: Containers,
    /// Attachments that are always there.
    pub attach: Vec<Standing>,
    /// Networks the host reaches.
    #[serde(deserialize_with = "host_access::list")]
    pub host_access: Vec<Access>,
    /// What networks have that do not say otherwise.
    pub defaults: Defaults,
    /// Where identities come from.
    pub identity: Identity,
    /// Who may use the control socket.
    pub control: Control,
    /// Where metrics, health and the page are served.
    pub http: Http,
}

/// `[containers]`: what containers may ask for in their labels and environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Containers {
    /// Only those whose variable `pipework_key` says the same are looked at.
    pub key: Option<String>,
    /// Whether the host is to reach all of them, as far as their links keep it from that (macvlan, ipvlan).
    pub host_routes: bool,
    /// Whether they may change the routes, rules and queues in their own namespace.
    pub changes: bool,
    /// `[containers.allow.PARENT]`: the interfaces they may be connected to, and how.
    pub allow: BTreeMap<String, Allowed>,
}

/// `[[attach]]`: an interface that a container, whoever started it, has whenever it is there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Where: a container's name, `pid:N` or `netns:/PATH`.
    pub container: Target,
    /// What: `PARENT ADDRESS… [key=value…]`.
    #[serde(deserialize_with = "spec")]
    pub interface: AttachSpec,
}

fn spec<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<AttachSpec, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

/// Why a configuration file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ConfigError {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// The longest file, in bytes.
const MAX_FILE: usize = 1 << 20;

impl ConfigFile {
    /// Reads the file's text.
    ///
    /// # Errors
    /// What is wrong first, and where: a key that nobody knows, a value it cannot have, or no TOML at all.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_FILE {
            return Err(ConfigError {
                line: 1,
                column: 1,
                message: "the file has more than a megabyte".into(),
            });
        }
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or(text);
            let (line, rest) = before
                .rsplit_once('\n')
                .map_or((1, before), |(lines, rest)| (lines.matches('\n').count() + 2, rest));
            let message = error.message().lines().collect::<Vec<_>>().join("; ");
            ConfigError { line, column: rest.chars().count() + 1, message }
        })
    }
}

#[cfg(test)]
mod tests;
