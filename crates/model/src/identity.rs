//! Who a container interface is to the LAN, kept across restarts and recreation.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use landline_dhcp::Random;
use landline_options::{IdentitySource, Ipv6Mode, Mode, NetworkId, NetworkOptions, Vlan};
use landline_types::{IfName, Mac};
use serde::{Deserialize, Serialize};

use crate::{
    ContainerRecord, Defaults6, Ipv6Identity, Ipv6Record, KnownBy, LeaseRecord, NetworkRecord, Record,
};

/// Names an identity: 16 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdentityId(String);

impl IdentityId {
    /// A new one.
    pub fn random(random: &mut impl Random) -> Self {
        Self(format!("{:08x}{:08x}", random.next_u32(), random.next_u32()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no identity's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an identity; landline identity ls shows them")]
pub struct IdentityIdError(String);

impl FromStr for IdentityId {
    type Err = IdentityIdError;

    fn from_str(text: &str) -> Result<Self, IdentityIdError> {
        let fits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if fits {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(IdentityIdError(text.chars().take(64).collect()))
        }
    }
}

/// An identity as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityRecord {
    /// Its key.
    pub id: IdentityId,
    /// The network it was last on.
    pub network: NetworkId,
    /// That network's name, if known: Compose recreates networks under the same name.
    #[serde(default)]
    pub network_name: Option<String>,
    /// That network's parent on the host: the same address makes no sense on another LAN.
    pub parent: IfName,
    /// How the wire ran.
    #[serde(default)]
    pub mode: Mode,
    /// The VLAN it was in.
    #[serde(default)]
    pub vlan: Option<Vlan>,
    /// The directory of the VDE switch it had a port of.
    #[serde(default)]
    pub socket_dir: Option<PathBuf>,
    /// The hardware address.
    pub mac: Mac,
    /// Option 61 as it was sent.
    #[serde(default)]
    pub client_id: Option<Vec<u8>>,
    /// The key its user gave (`landline.id`).
    #[serde(default)]
    pub key: Option<String>,
    /// The container it belongs to, once known.
    #[serde(default)]
    pub container: Option<ContainerRecord>,
    /// The last lease.
    #[serde(default)]
    pub lease: Option<LeaseRecord>,
    /// Who it is in IPv6, once it was asked for.
    #[serde(default)]
    pub ipv6: Option<Ipv6Identity>,
    /// The ports its container exposes or publishes.
    #[serde(default)]
    pub ports: BTreeSet<Port>,
    /// Made for one endpoint only: its container has another identity, or was never found out.
    #[serde(default)]
    pub temporary: bool,
    /// When it was last in use: seconds of the wall clock, for nothing but forgetting what is very old.
    #[serde(default)]
    pub used: u64,
    /// Whether its container is removed.
    #[serde(default)]
    pub destroyed: bool,
    /// The container's key or name from which, with the site key, it was derived; `None`: it was drawn.
    #[serde(default)]
    pub derived: Option<String>,
    /// When it was made, in seconds of the wall clock, for people to read; `None`: it is older than this field.
    #[serde(default)]
    pub made: Option<u64>,
    /// How it was known whose it is the last time that it was taken up; `None`: it is not known whose it is, or not how.
    #[serde(default)]
    pub known_by: Option<KnownBy>,
}

impl Record for IdentityRecord {
    const TABLE: &'static str = "identities";
    type Key = IdentityId;

    fn key(&self) -> &IdentityId {
        &self.id
    }
}

impl IdentityRecord {
    /// One on this network of which nothing else is known.
    pub fn on(network: &NetworkRecord, id: IdentityId, mac: Mac) -> Self {
        let mut identity = Self {
            id,
            network: network.id.clone(),
            network_name: None,
            parent: network.options.parent.clone(),
            mode: network.options.mode,
            vlan: None,
            socket_dir: None,
            mac,
            client_id: None,
            key: None,
            container: None,
            lease: None,
            ipv6: None,
            ports: BTreeSet::new(),
            temporary: false,
            used: 0,
            destroyed: false,
            derived: None,
            made: None,
            known_by: None,
        };
        identity.follow(network);
        identity
    }

    /// It is on this network from now on, of the same parent.
    pub fn follow(&mut self, network: &NetworkRecord) {
        self.network = network.id.clone();
        self.network_name.clone_from(&network.name);
        self.mode = network.options.mode;
        self.vlan = network.options.vlan;
        self.socket_dir = network.options.switch_dir().map(Path::to_owned);
    }

    /// The options of a network that has its links where it last had one.
    pub fn link_options(&self) -> NetworkOptions {
        let on_parent = NetworkOptions::new(self.parent.clone());
        let options = NetworkOptions { mode: self.mode, vlan: self.vlan, ..on_parent };
        options.on_switch(self.socket_dir.clone())
    }

    /// Where it is from.
    pub fn source(&self) -> IdentitySource {
        if self.derived.is_some() { IdentitySource::Derived } else { IdentitySource::Drawn }
    }

    /// Its leases were given back: the addresses stay as those that are requested.
    pub fn end_leases(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.expires = Some(lease.obtained);
        }
        if let Some(state) = self.ipv6.as_mut().and_then(|ipv6| ipv6.state.as_mut()) {
            state.end_lease();
        }
    }

    /// The IPv6 side of an endpoint with this identity on such a network, if there is to be one. Who it is in IPv6 is
    /// settled the first time. `shared_mac`: other interfaces have its hardware address too.
    pub fn with_ipv6(
        &mut self,
        options: &NetworkOptions,
        shared_mac: bool,
        hostname: Option<String>,
        hostname_given: bool,
        random: &mut impl Random,
    ) -> Option<Ipv6Record> {
        if options.ipv6 == Ipv6Mode::Off {
            return None;
        }
        let (mac, client_id) = (self.mac, self.client_id.as_deref());
        let who = self.ipv6.take().unwrap_or_else(|| Ipv6Identity::draw(mac, shared_mac, client_id, random));
        self.ipv6 = Some(who.clone());
        Some(Ipv6Record {
            identity: who,
            hostname,
            hostname_given,
            told: None,
            applied: Vec::new(),
            defaults: Defaults6::default(),
            routes: Vec::new(),
            switched_on: false,
        })
    }
}

/// A transport port of a container: IP protocol number and port.
pub type Port = (u8, u16);
