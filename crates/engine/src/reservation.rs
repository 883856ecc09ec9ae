//! Who a container is to DHCP servers, for a reservation that is written before the container has ever run.

use std::net::Ipv4Addr;

use landline_dhcp::v4::ClientId;
use landline_dhcp::v6::Duid;
use landline_links::facts_of;
use landline_model::{IdentityRecord, NetworkRecord};
use landline_options::{Addressing, HostnameMode, IdentitySource};
use landline_types::Mac;
use serde::{Deserialize, Serialize};

use crate::endpoints::chosen_name;
use crate::engine::Engine;
use crate::forget::ForgetNetworkError;

/// Who a container is on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The container's key (`landline.id`) or its name, as it was asked for.
    pub name: String,
    /// The network's name.
    pub network: String,
    /// The hardware address; `None` where that is the parent's, which says nothing.
    pub mac: Option<Mac>,
    /// Option 61 as it is sent; `None` if only the start decides, by the network's option `client_id`.
    pub client_id: Option<Vec<u8>>,
    /// Who it is to `DHCPv6` servers, if that is settled.
    pub duid: Option<Duid>,
    /// The number of its association there.
    pub iaid: Option<[u8; 4]>,
    /// The name that the server receives, if any.
    pub hostname: Option<String>,
    /// The address of its last lease, if it had one.
    pub address: Option<Ipv4Addr>,
    /// Where this is from.
    pub source: IdentitySource,
}

/// Why nothing can be said of a container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReservationError {
    /// No such network.
    #[error(transparent)]
    Network(#[from] ForgetNetworkError),
    /// Its addresses come from elsewhere.
    #[error(
        "the network {network} has addressing={addressing}: its containers ask no DHCP server, so there is nothing to reserve"
    )]
    NoDhcp {
        /// The network.
        network: String,
        /// Where from.
        addressing: Addressing,
    },
    /// Its identity is drawn when it starts for the first time.
    #[error(
        "{name} has no identity on the network {network} yet: it is drawn at the first start. Start the container once, or set \
         derive = true under [identity] in the configuration file (or create the network with -o identity=derived)"
    )]
    Unknown {
        /// The container.
        name: String,
        /// The network.
        network: String,
    },
}

impl Engine {
    /// Who the container with this key or name is on a network: the identity that it has, else the one that it will have.
    ///
    /// # Errors
    /// See [`ReservationError`].
    pub async fn reservation_for(&self, network: &str, name: &str) -> Result<Reservation, ReservationError> {
        let id = self.find_network(network)?;
        let record = self.networks().get(&id).cloned();
        let record = record.ok_or_else(|| ForgetNetworkError::Unknown(network.to_owned()))?;
        if record.options.addressing != Addressing::Dhcp && !record.options.host_has_leases() {
            let network = record.name.clone().unwrap_or_else(|| id.short().to_owned());
            return Err(ReservationError::NoDhcp { network, addressing: record.options.addressing });
        }
        let called = record.name.clone().unwrap_or_else(|| id.short().to_owned());
        if let Some(identity) = self.identities.of(&record, name) {
            let address = self.last_address(&identity).await;
            return Ok(Reservation { address, ..known(&record, name, &identity) });
        }
        let derived = || {
            let derived = self.identities.derived(&record, name)?;
            Some(Reservation {
                client_id: record.options.client_id.is_none().then(|| derived.client_id()),
                mac: own_mac(&record, derived.mac),
                duid: Some(derived.duid),
                iaid: Some(derived.iaid),
                address: None,
                source: IdentitySource::Derived,
                ..nobody(&record, name)
            })
        };
        derived().ok_or_else(|| ReservationError::Unknown { name: name.to_owned(), network: called })
    }
}

fn known(network: &NetworkRecord, name: &str, identity: &IdentityRecord) -> Reservation {
    let of_mac = || own_mac(network, identity.mac).map(|mac| ClientId::from_mac(mac).as_bytes().to_vec());
    // Only the start expands the network's template.
    let own = identity.client_id.clone().filter(|_| network.options.client_id.is_none());
    let hostname =
        identity.container.as_ref().and_then(|c| chosen_name(&c.id, c.hostname.as_deref(), &c.name));
    let nobody = nobody(network, name);
    Reservation {
        mac: own_mac(network, identity.mac),
        client_id: own.or_else(|| of_mac().filter(|_| network.options.client_id.is_none())),
        duid: identity.ipv6.as_ref().map(|ipv6| ipv6.duid.clone()),
        iaid: identity.ipv6.as_ref().map(|ipv6| ipv6.iaid),
        hostname: hostname
            .filter(|_| network.options.hostname != HostnameMode::Off)
            .or(nobody.hostname.clone()),
        source: identity.source(),
        ..nobody
    }
}

fn nobody(network: &NetworkRecord, name: &str) -> Reservation {
    let hostname = chosen_name("", None, name).filter(|_| network.options.hostname != HostnameMode::Off);
    Reservation {
        name: name.to_owned(),
        network: network.name.clone().unwrap_or_else(|| network.id.short().to_owned()),
        mac: None,
        client_id: None,
        duid: None,
        iaid: None,
        hostname,
        address: None,
        source: IdentitySource::Drawn,
    }
}

fn own_mac(network: &NetworkRecord, mac: Mac) -> Option<Mac> {
    let facts = facts_of(network.options.mode);
    // Behind a translation the host asks, with its NIC's.
    (!facts.shares_mac() && !facts.is_translated()).then_some(mac)
}
