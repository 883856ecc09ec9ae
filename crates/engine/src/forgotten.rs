//! Endpoints that Docker knows no more.
//!
//! Docker forgets an endpoint at the end of its container whether the driver has answered or not, and older engines
//! repeat a request that met a dying daemon without its contents, which says nothing. So an endpoint whose link
//! is found on the host when the daemon starts is either about to join its sandbox, or has left it and nobody will
//! ask for its end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use landline_kernel::boottime::{self, Alarm};
use landline_spec::EndpointId;
use tokio_util::sync::CancellationToken;

use crate::endpoints::CreateEndpoint;
use crate::engine::{Endpoint, Engine};
use crate::lease::Place;
use crate::records::NetworkRecord;

/// Longer than Docker goes on repeating a request (30 s): what has not joined by then never will.
const PATIENCE: Duration = Duration::from_secs(40);

/// Closes what is left of such endpoints once Docker cannot come back to them.
pub(crate) async fn run(engine: Weak<Engine>, alarm: Alarm, cancel: CancellationToken) {
    let deadline = boottime::now() + PATIENCE;
    if cancel.run_until_cancelled(alarm.sleep_until(deadline)).await.is_none() {
        return;
    }
    let Some(engine) = engine.upgrade() else { return };
    for endpoint in engine.found_on_host() {
        engine.close_if_on_host(&endpoint).await;
    }
}

impl Engine {
    /// The endpoints whose links were on the host when the daemon started.
    pub(crate) fn found_on_host(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints().into_iter().filter(|endpoint| endpoint.found_on_host).collect()
    }

    /// Closes what stands in the way of a new endpoint: those that have left their sandbox, and one that shows the
    /// same key or hardware address, which its container would not ask for again if it had it.
    pub(crate) async fn make_way(&self, request: &CreateEndpoint, network: &NetworkRecord) {
        for endpoint in self.found_on_host() {
            if endpoint.cell.options().parent != network.options.parent {
                continue;
            }
            let record = endpoint.cell.read().await;
            let key = record.identity.as_ref().and_then(|id| self.identities.get(id)?.key);
            let same = request.mac == Some(record.mac) || (key.is_some() && key == request.options.id);
            if same || record.sandbox.is_some() {
                self.close_if_on_host(&endpoint).await;
            }
        }
    }

    async fn close_if_on_host(&self, endpoint: &Endpoint) {
        let id: &EndpointId = endpoint.cell.id();
        let record = endpoint.cell.read().await;
        if !matches!(self.find(&record).await, Some(Place::Host(_))) {
            return;
        }
        tracing::info!(endpoint = %id.short(), "Docker has forgotten it; closed");
        if let Err(error) = self.delete_endpoint(id).await {
            tracing::warn!(error = %crate::chain(&error), "an endpoint could not be closed");
        }
    }
}
