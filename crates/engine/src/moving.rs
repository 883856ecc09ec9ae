//! Export and import of identities, for moving containers to another host.
//!
//! What a DHCP server knows a container by goes along, and the address that it had, as the one that is requested. What belongs to the host does not: the
//! container's id, the lease's times, the interface. There, networks are known by their names.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use landline_dhcp::v6::Duid;
use landline_model::{
    Called, ContainerRecord, IdentityId, IdentityRecord, Ipv6Identity, KnownBy, LeaseRecord, NetworkRecord,
    Port,
};
use landline_types::Mac;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use landline_links::facts_of;
use landline_store::StoreError;

/// What the document says that it is.
const FORMAT: &str = "landline-identities";

/// The version of the document that this program writes, and the newest it reads.
const VERSION: u32 = 1;

/// The longest client identifier, DUID or secret, in octets.
const LONGEST: usize = 255;

/// Identities of one host, for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityExport {
    /// `landline-identities`.
    pub format: String,
    /// 1. A field that is added later does not change it.
    pub version: u32,
    /// The identities.
    pub identities: Vec<ExportedIdentity>,
}

/// One of them. Octets are pairs of hex digits with colons between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedIdentity {
    /// What `landline identity ls` calls it, on both hosts.
    pub id: IdentityId,
    /// The network's name.
    pub network: String,
    /// The container's name.
    pub container: Option<String>,
    /// Its place, if an orchestrator gives it a new name each time.
    #[serde(default)]
    pub slot: Option<String>,
    /// The key its user gave (`landline.id`).
    #[serde(default)]
    pub key: Option<String>,
    /// The hardware address.
    pub mac: Mac,
    /// Option 61.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Who it is to `DHCPv6` servers.
    #[serde(default)]
    pub duid: Option<String>,
    /// The number of its association there.
    #[serde(default)]
    pub iaid: Option<u32>,
    /// What its stable IPv6 addresses are made of (RFC 7217).
    #[serde(default)]
    pub secret: Option<String>,
    /// The address of its last lease.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// The ports its container exposes or publishes: IP protocol number and port.
    #[serde(default)]
    pub ports: BTreeSet<Port>,
    /// From what it was derived; nothing: it was drawn.
    #[serde(default)]
    pub derived: Option<String>,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    pub made: Option<u64>,
}

/// What became of one that was to be imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Its id.
    pub id: IdentityId,
    /// Its network.
    pub network: String,
    /// Its container or its key.
    pub name: String,
    /// Why not; nothing: it is this host's now, or was already.
    pub refused: Option<String>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It is something else.
    #[error("this is no export of identities: its format is {0:?}; landline identity export writes one")]
    Format(String),
    /// It is too new.
    #[error("the export has version {found}, and this program reads up to {VERSION}; update Landline here")]
    Version {
        /// Its version.
        found: u32,
    },
    /// It could not be stored.
    #[error("cannot store the identities")]
    Store(#[from] StoreError),
}

/// Why one identity was not imported.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("there is no network {0} here; create it first")]
    NoNetwork(String),
    #[error("{0} has an identity here already; landline identity forget {1} ends that one")]
    Has(String, IdentityId),
    #[error("the hardware address {0} is the identity {1}'s here")]
    Mac(Mac, IdentityId),
    #[error("its {0} makes no sense")]
    Odd(&'static str),
    #[error("it has neither a container nor a key, so nothing would ask for it")]
    Nobody,
}

impl Engine {
    /// All identities that last, for another host.
    pub async fn export_identities(&self) -> IdentityExport {
        let mut identities = Vec::new();
        for identity in self.identities.all() {
            let lasts = !identity.temporary && (identity.container.is_some() || identity.key.is_some());
            if let (true, Some(network)) = (lasts, &identity.network_name) {
                identities.push(exported(&identity, network, self.last_address(&identity).await));
            }
        }
        IdentityExport { format: FORMAT.to_owned(), version: VERSION, identities }
    }

    /// Makes another host's identities this one's. Those that cannot be are left, and said; those that are here already stay as
    /// they are.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub async fn import_identities(&self, export: IdentityExport) -> Result<Vec<Imported>, ImportError> {
        if export.format != FORMAT {
            return Err(ImportError::Format(export.format.chars().take(64).collect()));
        }
        if export.version > VERSION {
            return Err(ImportError::Version { found: export.version });
        }
        let mut all = Vec::new();
        for one in export.identities {
            let refused = match self.import(&one) {
                Ok(None) => None,
                Ok(Some(record)) => {
                    self.store.put(&record).await?;
                    self.identities.keep(record);
                    None
                }
                Err(refused) => Some(refused.to_string()),
            };
            let name = one.key.or(one.slot).or(one.container).unwrap_or_default();
            all.push(Imported { id: one.id, network: one.network, name, refused });
        }
        Ok(all)
    }

    /// The record of one; `None`: it is here.
    fn import(&self, one: &ExportedIdentity) -> Result<Option<IdentityRecord>, Refused> {
        if one.id.as_str().parse().as_ref() != Ok(&one.id) {
            return Err(Refused::Odd("id"));
        }
        if self.identities.get(&one.id).is_some() {
            return Ok(None);
        }
        let networks = self.networks();
        let network = networks.values().find(|network| network.name.as_deref() == Some(&one.network));
        let network = network.ok_or_else(|| Refused::NoNetwork(one.network.chars().take(64).collect()))?;
        let record = imported(one, network)?;
        for other in self.identities.all() {
            let same_lan = other.parent == record.parent;
            let here = same_lan && other.network_name == record.network_name;
            if here && !other.temporary && same_holder(&other, &record) {
                return Err(Refused::Has(holder(&record), other.id));
            }
            if same_lan && clashes(&other, &record) {
                return Err(Refused::Mac(record.mac, other.id));
            }
        }
        Ok(Some(record))
    }
}

fn exported(identity: &IdentityRecord, network: &str, address: Option<Ipv4Addr>) -> ExportedIdentity {
    let (container, ipv6) = (identity.container.as_ref(), identity.ipv6.as_ref());
    ExportedIdentity {
        id: identity.id.clone(),
        network: network.to_owned(),
        container: container.map(|container| container.name.clone()),
        slot: container.and_then(|container| container.slot.clone()),
        key: identity.key.clone(),
        mac: identity.mac,
        client_id: identity.client_id.as_deref().map(hex),
        duid: ipv6.map(|ipv6| hex(ipv6.duid.as_bytes())),
        iaid: ipv6.map(|ipv6| u32::from_be_bytes(ipv6.iaid)),
        secret: ipv6.map(|ipv6| hex(&ipv6.secret)),
        address,
        ports: identity.ports.clone(),
        derived: identity.derived.clone(),
        made: identity.made,
    }
}

fn imported(one: &ExportedIdentity, network: &NetworkRecord) -> Result<IdentityRecord, Refused> {
    let mac = Some(one.mac).filter(|mac| !mac.is_zero() && !mac.is_multicast());
    let mac = mac.ok_or(Refused::Odd("hardware address"))?;
    let octets = |text: &Option<String>, what| match text {
        None => Ok(None),
        Some(text) => unhex(text).map(Some).ok_or(Refused::Odd(what)),
    };
    let duid = octets(&one.duid, "DUID")?;
    let duid = duid.map(|octets| Duid::new(octets).map_err(|_| Refused::Odd("DUID"))).transpose()?;
    let ipv6 = match (duid, one.iaid, octets(&one.secret, "secret")?) {
        (Some(duid), Some(iaid), Some(secret)) => {
            Some(Ipv6Identity { duid, iaid: iaid.to_be_bytes(), secret, state: None })
        }
        _ => None,
    };
    let client_id = octets(&one.client_id, "client identifier")?;
    if client_id.as_ref().is_some_and(|id| id.len() < 2) {
        return Err(Refused::Odd("client identifier"));
    }
    let fits = |text: &Option<String>| {
        text.as_ref().is_none_or(|text| {
            (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        })
    };
    if ![&one.container, &one.slot, &one.key, &one.derived].into_iter().all(fits) {
        return Err(Refused::Odd("container or key"));
    }
    let named = |name: &String| ContainerRecord { slot: one.slot.clone(), ..ContainerRecord::named(name) };
    let container = one.container.as_ref().map(named);
    if container.is_none() && one.key.is_none() {
        return Err(Refused::Nobody);
    }
    // A lease that is over says which address to ask for.
    let requested = |address| LeaseRecord {
        address,
        prefix_len: 32,
        server: Ipv4Addr::UNSPECIFIED,
        boot: String::new(),
        obtained: 0,
        t1: None,
        t2: None,
        expires: Some(0),
        wall: 0,
        options: Vec::new(),
    };
    Ok(IdentityRecord {
        client_id,
        key: one.key.clone(),
        container,
        lease: one.address.map(requested),
        ipv6,
        ports: one.ports.clone(),
        used: landline_leases::clock::wall(),
        derived: one.derived.clone(),
        made: one.made,
        known_by: Some(KnownBy::Import),
        ..IdentityRecord::on(network, one.id.clone(), mac)
    })
}

/// Whether both have one hardware address, and use it.
fn clashes(one: &IdentityRecord, other: &IdentityRecord) -> bool {
    one.mac == other.mac && ![one, other].into_iter().any(|identity| facts_of(identity.mode).shares_mac())
}

/// Whether both would be given to the same container.
fn same_holder(one: &IdentityRecord, other: &IdentityRecord) -> bool {
    fn called(identity: &IdentityRecord) -> Option<Called<'_>> {
        identity.container.as_ref().map(ContainerRecord::called)
    }
    match (&one.key, &other.key) {
        (Some(one), Some(other)) => one == other,
        (None, None) => called(one).is_some() && called(one) == called(other),
        _ => false,
    }
}

fn holder(identity: &IdentityRecord) -> String {
    let container = identity.container.as_ref().map(|container| container.called().to_string());
    identity.key.clone().or(container).unwrap_or_default()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &str| (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok())?;
    let octets: Vec<u8> = text.split(':').map(pair).collect::<Option<_>>()?;
    (octets.len() <= LONGEST).then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("moving/example.json");

    fn network() -> NetworkRecord {
        let options = landline_options::NetworkOptions::new("enp1s0".parse().unwrap());
        NetworkRecord { name: Some("lan".into()), ..NetworkRecord::new("n2".parse().unwrap(), options) }
    }

    #[test]
    fn the_documented_example_is_read_and_written_again() {
        let export: IdentityExport = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!((export.format.as_str(), export.version), (FORMAT, VERSION));
        for one in &export.identities {
            let record = imported(one, &network()).unwrap();
            assert_eq!(record.parent.as_str(), "enp1s0", "that of the network here");
            assert_eq!(exported(&record, "lan", record.lease.as_ref().map(|lease| lease.address)), *one);
            assert!(record.lease.is_none_or(|lease| lease.restore("").is_none_or(|l| l.expires.is_some())));
        }
        let again: IdentityExport = serde_json::from_str(&serde_json::to_string(&export).unwrap()).unwrap();
        assert_eq!(again, export);
    }

    #[test]
    fn one_hardware_address_clashes_whatever_its_network_is_called() {
        let export: IdentityExport = serde_json::from_str(DOCUMENT).unwrap();
        let one = imported(&export.identities[0], &network()).unwrap();
        let other = NetworkRecord { name: Some("other".into()), ..network() };
        let other = imported(&export.identities[0], &other).unwrap();
        assert!(clashes(&one, &other));
        let shared = IdentityRecord { mode: landline_options::Mode::Ipvlan, ..other.clone() };
        assert!(!clashes(&one, &shared), "that one has its parent's");
        assert!(!clashes(&one, &IdentityRecord { mac: Mac::new([2, 0, 0, 0, 0, 9]), ..other }));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let export: IdentityExport = serde_json::from_str(DOCUMENT).unwrap();
        let good = &export.identities[0];
        let odd = |change: &dyn Fn(&mut ExportedIdentity)| {
            let mut one = good.clone();
            change(&mut one);
            imported(&one, &network()).unwrap_err().to_string()
        };
        assert!(odd(&|one| one.mac = Mac::new([1, 0, 0, 0, 0, 1])).contains("hardware address"));
        for text in ["", "f", "ff", "zz:00", "ff:0", &["ff"; 256].join(":")] {
            assert!(odd(&|one| one.client_id = Some(text.into())).contains("client identifier"), "{text}");
        }
        assert!(odd(&|one| one.duid = Some("é:".into())).contains("DUID"));
        assert!(odd(&|one| one.container = Some("a\nb".into())).contains("container or key"));
        assert!(odd(&|one| (one.container, one.key) = (None, None)).contains("neither"));
    }
}
