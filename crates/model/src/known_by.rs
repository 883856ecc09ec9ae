//! By what a container was recognised.

use serde::{Deserialize, Serialize};

/// How it was known whose an identity is, the last time that it was taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// Its user gave the hardware address.
    Mac,
    /// Its user gave the key (`landline.id`).
    Key,
    /// Docker said the container's name.
    Name,
    /// It had the address that was asked for.
    Address,
    /// No other container could be starting.
    OnlyCandidate,
    /// Docker said whose the endpoint is after it was made.
    Events,
    /// Another host's identities were imported.
    Import,
}

impl KnownBy {
    /// In a few words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::Key => "key",
            Self::Name => "name",
            Self::Address => "address",
            Self::OnlyCandidate => "only candidate",
            Self::Events => "seen running",
            Self::Import => "import",
        }
    }
}
