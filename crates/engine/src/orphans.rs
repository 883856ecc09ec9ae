//! Endpoints that Docker knows no more.
//!
//! Docker forgets an endpoint at the end of its container whether the driver has answered or not, and older engines
//! repeat a request that met a dying daemon without its contents, which says nothing. So an endpoint whose link
//! is found on the host when the daemon starts is either about to join its sandbox, or has left it and nobody will
//! ask for its end. And a Docker that was killed starts its containers again without a word about the endpoints they
//! had before: what is left of those is nothing, or nothing but a row here.

use std::sync::Arc;
use std::time::Duration;

use landline_leases::Location;
use landline_leases::clock::Clock;
use landline_model::{EndpointRecord, NetworkRecord};
use tokio_util::sync::CancellationToken;

use crate::endpoints::CreateEndpoint;
use crate::engine::{Endpoint, Engine};
use crate::identity::Candidate;

/// Longer than Docker goes on repeating a request (30 s): what has not joined by then never will.
const PATIENCE: Duration = Duration::from_secs(40);

/// Closes what is left of such endpoints once Docker cannot come back to them.
pub(crate) async fn run(engine: Arc<Engine>, clock: Clock, cancel: CancellationToken) {
    let deadline = (clock.now() + PATIENCE).since_boot();
    if cancel.run_until_cancelled(clock.sleep_until(Some(deadline))).await.is_none() {
        return;
    }
    for endpoint in engine.found_on_host() {
        engine.close_if_forgotten(&endpoint).await;
    }
}

impl Engine {
    /// The endpoints whose links were on the host when the daemon started.
    pub(crate) fn found_on_host(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints().into_iter().filter(|endpoint| endpoint.found_on_host).collect()
    }

    /// Closes the forgotten endpoints that stand in the way of a new one: they hold its hardware address, or the
    /// identity its container had.
    pub(crate) async fn evict_orphans(&self, request: &CreateEndpoint, network: &NetworkRecord) {
        for endpoint in self.endpoints() {
            if endpoint.state.options().parent != network.options.parent {
                continue;
            }
            let record = endpoint.state.read().await;
            let left = endpoint.found_on_host && record.sandbox.is_some();
            if left || self.is_of_same_container(&record, request) {
                self.close_if_forgotten(&endpoint).await;
            }
        }
    }

    /// Whether the container that asks may be the one the endpoint was made for.
    fn is_of_same_container(&self, record: &EndpointRecord, request: &CreateEndpoint) -> bool {
        let identity = record.identity.as_ref().and_then(|id| self.identities.get(id));
        let (key, ports) = identity.map(|identity| (identity.key, identity.ports)).unwrap_or_default();
        if request.mac.is_some() || request.options.id.is_some() {
            return request.mac == Some(record.mac) || (key.is_some() && key == request.options.id);
        }
        let container = record.container.as_ref();
        let is = |c: &Candidate| container.is_some_and(|own| own.id == c.id || own.called() == c.called());
        match &request.candidates {
            Some(candidates) => candidates.iter().any(is),
            None => key.is_none() && ports == request.ports,
        }
    }

    /// Closes it if its sandbox is gone, or its link was left on the host.
    async fn close_if_forgotten(&self, endpoint: &Endpoint) {
        let record = endpoint.state.read().await;
        let forgotten = match self.find(&record).await {
            Some(Location::Host(_) | Location::Parent(_)) => endpoint.found_on_host,
            Some(Location::Sandbox(_)) => false,
            // One that has not joined is just being made.
            None => record.sandbox.is_some(),
        };
        if !forgotten {
            return;
        }
        tracing::info!(endpoint = %record.id.short(), "Docker has forgotten it; closed");
        if let Err(error) = self.delete_endpoint(&record.id).await {
            tracing::warn!(error = %landline_types::chain(&error), "an endpoint could not be closed");
        }
    }
}
