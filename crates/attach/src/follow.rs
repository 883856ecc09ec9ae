//! What attachments do when the host or their links change: cards that are back are set up, links that were made again dressed.

use std::collections::BTreeMap;
use std::sync::Arc;

use landline_leases::Inventory;
use landline_options::EndpointId;

use super::Attachments;

/// Follows for ever.
pub(super) async fn run(attach: Arc<Attachments>) {
    let mut links = attach.shared.services.link_table.clone();
    let mut inventory = attach.engine.inventory();
    let mut dressed = Dressed::default();
    loop {
        // Some may have been made again since the engine was started.
        let due = dressed.due(&inventory.borrow_and_update());
        for endpoint in due {
            attach.dress_again(&endpoint).await;
        }
        attach.cards_back().await;
        tokio::select! {
            () = links.changed() => {}
            Ok(()) = inventory.changed() => {}
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

#[cfg(test)]
mod tests {
    use landline_leases::Present;
    use landline_model::EndpointRecord;

    use super::*;

    fn id(n: u8) -> EndpointId {
        format!("{n:064}").parse().unwrap()
    }

    /// The n-th endpoint, whose link was made again this often.
    fn remade(n: u8, remade: u64) -> Present {
        let record: EndpointRecord = serde_json::from_value(serde_json::json!({
            "id": id(n), "network": "n", "mac": "02:00:00:00:00:01", "link": "llc0", "prefix": "eth",
            "address": "none",
        }))
        .unwrap();
        Present { remade, ..Present::new(&record) }
    }

    fn inventory(endpoints: &[(u8, u64)]) -> Inventory {
        Inventory::of([], endpoints.iter().map(|&(n, times)| remade(n, times)))
    }

    #[test]
    fn a_link_is_dressed_once_each_time_that_it_was_made_again() {
        let mut dressed = Dressed::default();
        assert_eq!(dressed.due(&inventory(&[(1, 0), (2, 0)])), []);
        assert_eq!(dressed.due(&inventory(&[(1, 1), (2, 0)])), [id(1)]);
        assert_eq!(dressed.due(&inventory(&[(1, 1), (2, 0)])), []);
        // Several times between two looks are one.
        assert_eq!(dressed.due(&inventory(&[(1, 4), (2, 1)])), [id(1), id(2)]);
        // Something else about it is no reason.
        let mut moved = inventory(&[(1, 4), (2, 1)]);
        moved.endpoints.values_mut().for_each(|present| present.set_up += 1);
        assert_eq!(dressed.due(&moved), []);
    }

    /// One of the same id is another endpoint.
    #[test]
    fn an_endpoint_that_ended_is_forgotten() {
        let mut dressed = Dressed::default();
        assert_eq!(dressed.due(&inventory(&[(1, 1)])), [id(1)]);
        assert_eq!(dressed.due(&inventory(&[])), []);
        assert_eq!(dressed.due(&inventory(&[(1, 1)])), [id(1)]);
    }
}
