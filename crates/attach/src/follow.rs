//! What attachments do when the host or their links change: cards that are back are set up, links that were made again dressed.

use std::collections::BTreeMap;
use std::sync::Arc;

use landline_leases::Inventory;
use landline_options::EndpointId;

use super::Attachments;

/// Follows for ever.
pub(super) async fn run(attach: Arc<Attachments>) {
    let mut links = attach.engine.services().link_table.clone();
    let mut inventory = attach.engine.inventory();
    let mut dressed = Dressed::default();
    dressed.due(&inventory.borrow_and_update());
    loop {
        attach.cards_back().await;
        tokio::select! {
            () = links.changed() => {}
            Ok(()) = inventory.changed() => {}
        }
        let due = dressed.due(&inventory.borrow_and_update());
        for endpoint in due {
            attach.dress_again(&endpoint).await;
        }
    }
}

/// How often the link of each endpoint had been made again when it was last dressed.
#[derive(Debug, Default)]
struct Dressed(BTreeMap<EndpointId, u64>);

impl Dressed {
    /// The endpoints whose links were made again since then. They count as dressed.
    fn due(&mut self, inventory: &Inventory) -> Vec<EndpointId> {
        self.0.retain(|id, _| inventory.endpoints.contains_key(id));
        let remade = inventory.endpoints.iter().filter(|(_, present)| present.remade > 0);
        remade
            .filter(|(id, present)| self.0.insert((*id).clone(), present.remade) != Some(present.remade))
            .map(|(id, _)| id.clone())
            .collect()
    }
}
