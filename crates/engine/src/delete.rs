//! Deleting endpoints.

use landline_links::mark::{End, Mark};
use landline_links::{Host, HostError, Inside, blocking, driver_of, mark_of};
use landline_options::EndpointId;

use crate::engine::{Endpoint, Engine};

/// Why an endpoint was not deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteEndpointError {
    /// Its link is still there.
    #[error("cannot remove the link")]
    Link(#[source] HostError),
}

impl Engine {
    /// Removes an endpoint: its task, its link wherever it is, its row. What is gone already is fine. The link is
    /// gone when this returns, so a successor can bring up the same hardware address at once.
    ///
    /// # Errors
    /// See [`DeleteEndpointError`].
    pub async fn delete_endpoint(&self, id: &EndpointId) -> Result<(), DeleteEndpointError> {
        let slot = self.slot(id);
        let result = {
            let _turn = slot.operation.lock().await;
            let endpoint = slot.current();
            let result = self.unmake_endpoint(id, endpoint.as_deref()).await;
            if result.is_ok() {
                slot.set(None);
            }
            result
        };
        self.drop_slot(id, slot);
        result
    }

    async fn unmake_endpoint(
        &self,
        id: &EndpointId,
        endpoint: Option<&Endpoint>,
    ) -> Result<(), DeleteEndpointError> {
        let mut sandbox = None;
        if let Some(endpoint) = endpoint {
            endpoint.stop(false).await;
            let record = endpoint.state.read().await;
            self.withdraw(&record).await;
            sandbox = record.sandbox;
        }
        let mode = endpoint.map(|endpoint| endpoint.state.options().mode);
        let disconnect = mode.and_then(|mode| driver_of(mode).disconnect(id));
        let (host, owner, sandboxes) = (self.host.clone(), id.clone(), self.services.sandboxes.clone());
        let removed = blocking(move || {
            let removed = remove_links(&*host, &owner)?;
            // Docker moves the link back before it asks for this; if it could not, it is still in the sandbox.
            if !removed && let Some(path) = sandbox {
                let mark = Mark::new(&owner, End::Container);
                match sandboxes.enter(&path, &mark).and_then(|s| s.map_or(Ok(()), Inside::remove_link)) {
                    Ok(()) => {}
                    Err(error) => {
                        tracing::debug!(error = %landline_types::chain(&error), "sandbox not searched");
                    }
                }
            }
            if let Some(step) = disconnect
                && let Err(error) = host.apply(&step)
            {
                // It is done when the switch can be reached again.
                tracing::warn!(error = %landline_types::chain(&error), "the port of an endpoint could not be removed");
            }
            Ok(())
        });
        removed.await.map_err(DeleteEndpointError::Link)?;
        if let Some(endpoint) = endpoint {
            let record = endpoint.state.read().await;
            let identity = self.settle_identity(&record);
            if let Err(error) = endpoint.state.end(identity).await {
                // The link is gone, which is what counts; the next start finds that out by itself.
                tracing::error!(error = %landline_types::chain(&error), "the end of an endpoint could not be stored");
            }
            self.after_endpoint(&record).await;
            self.admission.ended(self, endpoint).await;
            tracing::info!(endpoint = %id.short(), "endpoint deleted");
        }
        Ok(())
    }
}

/// Removes the host's links that carry this endpoint's mark; `true` if there was any.
fn remove_links(host: &dyn Host, id: &EndpointId) -> Result<bool, HostError> {
    let mut any = false;
    for link in host.links()? {
        if let (Some(mark), Some(alias)) = (mark_of(&link), &link.alias)
            && mark.endpoint == *id
        {
            any |= host.remove_marked(link.index, alias)?;
        }
    }
    Ok(any)
}
