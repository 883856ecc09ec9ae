//! Which container is starting, for who has to know it before its endpoint is made.

use std::collections::BTreeSet;

use landline_model::{Called, ContainerRecord, NetworkRecord, Port};
use landline_options::{EndpointOptions, NetworkId};
use landline_types::Mac;

use crate::endpoints::CreateEndpointError;
use crate::engine::Engine;
use crate::identity::{Candidate, IdentityQuery};

/// What is known of a container that is starting, before there is a request for its endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Starting {
    /// Its name, if Docker says it.
    pub name: Option<String>,
    /// The container of that name, if more is known of it.
    pub container: Option<ContainerRecord>,
    /// The hardware address its user gave, if that is known.
    pub mac: Option<Mac>,
    /// Its user's options for the endpoint, as far as they are known.
    pub options: EndpointOptions,
    /// The containers of the network one of which is starting. `None`: Docker cannot be seen.
    pub candidates: Option<Vec<Candidate>>,
}

impl Starting {
    /// What the container is called, if Docker said its name.
    pub fn called(&self) -> Option<Called<'_>> {
        let name = self.name.as_deref()?;
        Some(self.container.as_ref().map_or(Called::of(name, None), ContainerRecord::called))
    }

    /// Who it is on a network, as far as that is known.
    pub(crate) fn query<'a>(&'a self, network: &'a NetworkRecord) -> IdentityQuery<'a> {
        IdentityQuery {
            mac: self.mac,
            key: self.options.id.as_deref(),
            name: self.called(),
            candidates: self.candidates.as_deref(),
            ..IdentityQuery::on(network)
        }
    }
}

impl Engine {
    /// The id of the only one of the `candidates` that can be the one that is starting on a network: it exposes or publishes
    /// these ports and has no endpoint there. `None`: there are several or none, or the network is not known.
    pub fn only_starting(
        &self,
        network: &NetworkId,
        ports: &BTreeSet<Port>,
        candidates: &[Candidate],
    ) -> Option<String> {
        let network = self.networks().get(network).cloned()?;
        let query =
            IdentityQuery { ports: Some(ports), candidates: Some(candidates), ..IdentityQuery::on(&network) };
        self.identities.starting(&query).map(|container| container.id)
    }

    /// What the container that is starting on a network is called, as far as that can be told: an address that it is given
    /// is its own for good. Until a container that was just made has started, Docker often says no more of it than its name.
    /// `for_good`: nobody named the address, so it depends on who it is; a start that cannot be told apart is refused.
    ///
    /// # Errors
    /// It is refused.
    pub async fn owner_to_be(
        &self,
        network: &NetworkRecord,
        container: &Starting,
        for_good: bool,
    ) -> Result<Option<String>, CreateEndpointError> {
        let query = container.query(network);
        if for_good {
            self.refuse_unsure(network, &query).await?;
        }
        let called = container.called().map(|called| called.to_string());
        Ok(called.or_else(|| self.identities.expected(&query)))
    }
}
