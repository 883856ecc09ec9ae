//! Which container is starting, for who has to know it before its endpoint is made.

use std::collections::BTreeSet;

use landline_model::Port;
use landline_spec::NetworkId;

use crate::engine::Engine;
use crate::identity::{Candidate, IdentityQuery};

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
        let wish = IdentityQuery {
            network: &network.id,
            network_name: network.name.as_deref(),
            parent: &network.options.parent,
            mac: None,
            key: None,
            name: None,
            address: None,
            ports: Some(ports),
            candidates: Some(candidates),
        };
        self.identities.starting(&wish).map(|container| container.id)
    }
}
