//! Something that happened, for whoever asks later.

use std::fmt;
use std::net::IpAddr;

use landline_options::{EndpointId, NetworkId};
use serde::{Deserialize, Serialize};

use crate::Record;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A container has its first address from the LAN.
    LeaseAcquired,
    /// A server has extended a lease.
    LeaseRenewed,
    /// A container has another address than before.
    LeaseChanged,
    /// A container has lost its address.
    LeaseLost,
    /// Another machine has a container's address.
    Conflict,
    /// A server gave an address that cannot be used.
    AddressRefused,
    /// A container that the state did not know of is supervised again.
    Adopted,
    /// A link was put back on its bridge or switch, or made again.
    Repaired,
    /// A start was refused, because nothing told which container it was.
    StartRefused,
    /// A container was started again.
    StartedAgain,
    /// A container was connected to its network again.
    ConnectedAgain,
    /// Docker's API no longer answers.
    DockerGone,
    /// Docker's API answers again.
    DockerBack,
    /// What a newer version has written.
    #[serde(other)]
    Unknown,
}

impl EventKind {
    /// The word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeaseAcquired => "lease-acquired",
            Self::LeaseRenewed => "lease-renewed",
            Self::LeaseChanged => "lease-changed",
            Self::LeaseLost => "lease-lost",
            Self::Conflict => "conflict",
            Self::AddressRefused => "address-refused",
            Self::Adopted => "adopted",
            Self::Repaired => "repaired",
            Self::StartRefused => "start-refused",
            Self::StartedAgain => "started-again",
            Self::ConnectedAgain => "connected-again",
            Self::DockerGone => "docker-gone",
            Self::DockerBack => "docker-back",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that happened, once or several times in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Its number, with leading zeros, so that keys are in the order of time.
    pub number: String,
    /// What happened.
    pub kind: EventKind,
    /// When it happened first, in milliseconds since 1970.
    pub first_ms: u64,
    /// When it happened last, in milliseconds since 1970.
    pub at_ms: u64,
    /// How often.
    pub count: u64,
    /// To which endpoint.
    #[serde(default)]
    pub endpoint: Option<EndpointId>,
    /// The container's name, once it is known.
    #[serde(default)]
    pub container: Option<String>,
    /// On which network.
    #[serde(default)]
    pub network_id: Option<NetworkId>,
    /// That network's name.
    #[serde(default)]
    pub network: Option<String>,
    /// The address that it is about; the latest, if it happened several times.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Why, or what else there is to say; the latest, if it happened several times.
    #[serde(default)]
    pub detail: Option<String>,
}

impl Record for EventRecord {
    const TABLE: &'static str = "events";
    type Key = str;

    fn key(&self) -> &str {
        &self.number
    }
}
