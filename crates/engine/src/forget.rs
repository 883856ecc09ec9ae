//! Networks that Docker no longer has.
//!
//! Docker removes a network by a request. One that it removed while no daemon ran, or lost with its own state, is never
//! asked for again: it is removed on its own, once whoever watches Docker has made sure of that.

use std::collections::BTreeMap;
use std::time::Duration;

use landline_leases::Location;
use landline_model::NetworkRecord;
use landline_options::NetworkId;

use crate::delete::DeleteEndpointError;
use crate::engine::Engine;
use crate::networks::DeleteNetworkError;

/// Why a network was not forgotten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetNetworkError {
    /// There is no such network.
    #[error("there is no network {0:?}; landline network ls shows those there are")]
    Unknown(String),
    /// Several networks are meant.
    #[error("several networks are called {0:?}; give the id of one, which landline network ls shows")]
    Ambiguous(String),
    /// A container still has an interface on it.
    #[error(
        "the network {network} still connects {container}, which would lose its address; stop that container first"
    )]
    InUse {
        /// The network's name or id.
        network: String,
        /// The container's name, or what is known of it.
        container: String,
    },
    /// An endpoint whose container is gone could not be removed.
    #[error("cannot remove an endpoint of the network {network}")]
    Endpoint {
        /// The network's name or id.
        network: String,
        /// Why.
        #[source]
        source: DeleteEndpointError,
    },
    /// The network could not be removed.
    #[error(transparent)]
    Network(#[from] DeleteNetworkError),
}

impl Engine {
    /// The networks that were made for Docker, and when each was created (`CLOCK_BOOTTIME`): zero for those of before
    /// the daemon started.
    pub fn docker_networks(&self) -> BTreeMap<NetworkId, Duration> {
        let inventory = self.ledger.read();
        let known = inventory.networks.keys().filter(|id| !landline_links::mark::is_implicit(id));
        known.map(|id| (id.clone(), inventory.created.get(id).copied().unwrap_or_default())).collect()
    }

    /// The network made for Docker with this name or id, or with an id that begins like this.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn find_network(&self, called: &str) -> Result<NetworkId, ForgetNetworkError> {
        let networks = self.networks();
        let all = || networks.values().filter(|network| !landline_links::mark::is_implicit(&network.id));
        let named: Vec<&NetworkRecord> = all().filter(|n| n.name.as_deref() == Some(called)).collect();
        let begins = |n: &&NetworkRecord| !called.is_empty() && n.id.as_str().starts_with(called);
        let found = if named.is_empty() { all().filter(begins).collect() } else { named };
        match found.as_slice() {
            [only] => Ok(only.id.clone()),
            [] => Err(ForgetNetworkError::Unknown(called.to_owned())),
            _ => Err(ForgetNetworkError::Ambiguous(called.to_owned())),
        }
    }

    /// What people call a network.
    pub fn network_name(&self, id: &NetworkId) -> String {
        let name = self.networks().get(id).and_then(|network| network.name.clone());
        name.unwrap_or_else(|| id.short().to_owned())
    }

    /// Forgets a network that Docker does not have, with its pools and all that was made for it on the host. Its
    /// containers' identities stay for as long as those of removed containers do.
    ///
    /// # Errors
    /// See [`ForgetNetworkError`]. A container that still runs on it keeps what it has.
    pub async fn forget_network(&self, id: &NetworkId) -> Result<(), ForgetNetworkError> {
        let network = self.network_name(id);
        for endpoint in self.endpoints() {
            let record = endpoint.state.read().await;
            if record.network != *id {
                continue;
            }
            if let Some(Location::Sandbox(_)) = self.find(&record).await {
                let container = record.container.map_or_else(
                    || format!("the endpoint {}", record.id.short()),
                    |container| format!("the container {}", container.name),
                );
                return Err(ForgetNetworkError::InUse { network, container });
            }
            let deleted = self.delete_endpoint(&record.id).await;
            deleted.map_err(|source| ForgetNetworkError::Endpoint { network: network.clone(), source })?;
        }
        Ok(self.remove_network(id, true).await?)
    }
}
