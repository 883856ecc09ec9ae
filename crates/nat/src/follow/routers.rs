//! Whether networks need forwarding whose containers the host routes to (`mode=routed`).

use std::collections::BTreeSet;

use landline_leases::Inventory;
use landline_links::facts_of;
use landline_model::NetworkRecord;
use landline_options::NetworkId;
use tokio::sync::watch;

/// Those networks.
#[derive(Debug)]
pub(crate) struct Routers {
    inventory: watch::Receiver<Inventory>,
    /// Those of the last run that the inventory has not shown yet.
    awaited: BTreeSet<NetworkId>,
}

impl Routers {
    /// `stored`: the networks that there were in the last run.
    pub(crate) fn new(inventory: watch::Receiver<Inventory>, stored: &[NetworkRecord]) -> Self {
        let routed = stored.iter().filter(|network| is_routed(network));
        Self { inventory, awaited: routed.map(|network| network.id.clone()).collect() }
    }

    /// Whether there are any.
    pub(super) fn any(&mut self) -> bool {
        let inventory = self.inventory.borrow_and_update();
        self.awaited.retain(|id| !inventory.networks.contains_key(id));
        !self.awaited.is_empty() || inventory.networks.values().any(is_routed)
    }

    /// Waits for a change of the inventory. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.inventory.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn is_routed(network: &NetworkRecord) -> bool {
    facts_of(network.options.mode).host_routes()
}
