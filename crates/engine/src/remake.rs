//! Making a link again in a sandbox that has lost it: its NIC was gone for a while.

use landline_links::mark::{End, Mark};
use landline_links::{HostError, SandboxError, Task, Wanted, apply_and_wait_for_carrier, blocking, facts_of};
use landline_model::{AddressRecord, EndpointRecord, NetworkRecord};

use crate::engine::{Endpoint, Engine};
use crate::join::{self, fixed_gateway_v6};
use crate::parent_links::{PlanLinkError, WantedLink};

/// Why a link was not made again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemakeError {
    #[error("the sandbox is not usable")]
    Sandbox(#[from] SandboxError),
    #[error("the link cannot be planned")]
    Plan(#[from] PlanLinkError),
    #[error("the host refused")]
    Host(#[from] HostError),
}

impl Engine {
    /// Makes the endpoint's link again if its sandbox lives and the link is in neither namespace.
    pub(crate) async fn make_link_again(&self, endpoint: &Endpoint) -> Result<(), RemakeError> {
        let Some(slot) = self.slot_if_known(endpoint.state.id()) else { return Ok(()) };
        let _turn = slot.operation.lock().await;
        if !slot.current().is_some_and(|now| std::ptr::eq(&raw const *now, endpoint)) {
            // It was deleted while this waited.
            return Ok(());
        }
        let record = endpoint.state.read().await;
        let network = self.networks().get(&record.network).cloned();
        let (Some(network), Some(path)) = (network, record.sandbox.clone()) else { return Ok(()) };
        if facts_of(network.options.mode).moves_parent() {
            // A card that is not there cannot be made.
            return Ok(());
        }
        let mark = Mark::new(&record.id, End::Container);

        let (host, look, sandbox) = (self.host.clone(), mark.clone(), path.clone());
        let sandboxes = self.services.sandboxes.clone();
        let missing = blocking(move || {
            let alias = look.to_string();
            let on_host = host.links()?.iter().any(|link| link.alias.as_deref() == Some(&*alias));
            let inside = sandboxes.enter(&sandbox, &look)?.is_some();
            Ok::<_, RemakeError>(!on_host && !inside && sandboxes.lives(&sandbox))
        });
        if !missing.await? {
            return Ok(());
        }

        let (mac, host_name) = (record.mac, record.host_end.clone());
        let planned =
            self.parents.plan(&network.options, WantedLink { endpoint: &record.id, mac, host_name });
        let plan = planned.await?.plan;
        let index =
            apply_and_wait_for_carrier(&self.host, &self.services.link_table, &plan, mark.link_name())
                .await?;
        let (host, name) = (self.host.clone(), record.interface.clone());
        let (wanted, own_v6) = (fixed(&record, &network), record.ipv6.is_some());
        let (mut applied, shared) =
            (record.applied.clone(), landline_links::mark::is_implicit(&record.network));
        let (fixed_v6, gateway_v6) = (record.address_v6, fixed_gateway_v6(&record, &network));
        let sandboxes = self.services.sandboxes.clone();
        let moved = blocking(move || {
            let moved = sandboxes.hand_over(&*host, index, &path).map_err(RemakeError::from).and_then(|()| {
                let Some(mut sandbox) = sandboxes.enter(&path, &mark)? else { return Ok(()) };
                sandbox.quiet_v6(own_v6);
                if own_v6 {
                    sandbox.enable_v6();
                }
                sandbox.set_up(name)?;
                if let Some(wanted) = &wanted {
                    let task = Task { wanted: Some(wanted), setting_up: false, shared };
                    sandbox.configure(task, &mut applied)?;
                }
                if let Some(address) = fixed_v6 {
                    sandbox.fix_v6(address, gateway_v6)?;
                }
                Ok(())
            });
            moved.inspect_err(|_| plan.undo(&*host)).map(|()| applied)
        });
        let applied = moved.await?;
        if matches!(record.address, AddressRecord::Static { .. })
            && let Err(error) = endpoint.state.update(|record| record.applied = applied).await
        {
            tracing::error!(error = %landline_types::chain(&error), "a change of a sandbox could not be stored");
        }
        tracing::info!(endpoint = %record.id.short(), "its link is there again");
        self.repaired(endpoint, "its link was gone and was made again");
        self.ledger.remade(&record.id);
        endpoint.reconnected();
        Ok(())
    }
}

/// What a sandbox without a lease is to carry; leases see to themselves.
fn fixed(record: &EndpointRecord, network: &NetworkRecord) -> Option<Wanted> {
    let AddressRecord::Static { address } = record.address else { return None };
    Some(join::fixed(network, address, record.copied_routes.clone()))
}
