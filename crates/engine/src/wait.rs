//! Waiting for a container's addresses, for `landline wait`: by the events of those who change them.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use landline_dhcp::v4::StateName;
use landline_leases::{MoveOutcome, SandboxMove, wait_for_move};
use landline_links::mark::Mark;
use landline_model::{AddressRecord, EndpointRecord};
use landline_options::EndpointId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::address_state::AddressState;
use crate::engine::{Endpoint, Engine};
use crate::inspect::is_called;
use crate::view::EndpointView;

/// What a container is waited for to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// An address on each of its networks that gives it one.
    #[default]
    Address,
    /// An address that its server has confirmed since the daemon started: it is `BOUND`.
    Bound,
    /// The address is set in the container, and no spanning tree keeps its packets from the LAN.
    Reachable,
}

type Change = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many digits of its id stand for a container that is waited for. It may not exist yet, and its name may be what the id of
/// another begins with.
const DIGITS: usize = 12;

impl Engine {
    /// Waits until all endpoints of the container of this name or id, and those that are `also` meant, have what is awaited.
    /// There is at least one.
    pub async fn wait_for(
        &self,
        container: &str,
        also: impl Fn(&EndpointId) -> bool,
        awaited: Awaited,
    ) -> Vec<EndpointView> {
        let mut inventory = self.inventory();
        let mut links = self.services.link_table.clone();
        loop {
            links.seen();
            let ids = its(
                inventory.borrow_and_update().endpoints.values().map(|e| &*e.record),
                container,
                &also,
                DIGITS,
            );
            let mut changes: Vec<Change> = Vec::new();
            let (mut endpoints, mut views) = (Vec::new(), Vec::new());
            for endpoint in ids.iter().filter_map(|id| self.endpoint(id)) {
                // Followed before it is looked at, so nothing falls in between.
                changes.extend(endpoint.changes());
                views.extend(self.endpoint_view(endpoint.state.id()).await);
                endpoints.push(endpoint);
            }
            let follow_links = awaited == Awaited::Reachable;
            let mut change = std::pin::pin!(async {
                tokio::select! {
                    _ = inventory.changed() => {}
                    () = any(changes) => {}
                    () = links.changed(), if follow_links => {}
                }
            });
            if !views.is_empty() && views.iter().all(|view| has(view, awaited)) {
                if awaited != Awaited::Reachable {
                    return views;
                }
                tokio::select! {
                    there = self.all_in_place(&endpoints) => if there { return views },
                    () = &mut change => continue,
                }
            }
            change.await;
        }
    }

    /// What the container of this name or id has now; nothing if none is on a network.
    pub async fn views_of(&self, container: &str, also: impl Fn(&EndpointId) -> bool) -> Vec<EndpointView> {
        let ids = its(self.ledger.read().endpoints.values().map(|e| &*e.record), container, &also, 1);
        let mut views = Vec::new();
        for id in ids {
            views.extend(self.endpoint_view(&id).await);
        }
        views
    }

    /// Waits until all links are in their sandboxes, with their addresses. `false`: one is not on its way there now.
    async fn all_in_place(&self, endpoints: &[Arc<Endpoint>]) -> bool {
        for endpoint in endpoints {
            let record = endpoint.state.read().await;
            let leased = endpoint.status().and_then(|status| status.lease).map(|lease| lease.address);
            let Some(sandbox) = record.sandbox.clone() else { return false };
            let link_move = SandboxMove {
                link_table: self.services.link_table.clone(),
                sandboxes: self.services.sandboxes.clone(),
                index: None,
                sandbox,
                mark: Mark::inside(&record.id, endpoint.state.options().mode),
                address: match record.address {
                    AddressRecord::Static { address } => Some(address.addr().into()),
                    AddressRecord::Dhcp(_) => leased.map(Into::into),
                    AddressRecord::None => None,
                },
                own_v6: false,
            };
            // What is late, or cannot be looked at, is looked at again when something changes.
            if wait_for_move(link_move).await != MoveOutcome::Ready {
                return false;
            }
        }
        true
    }
}

impl Endpoint {
    /// The next change of what its clients know.
    fn changes(&self) -> Vec<Change> {
        let lease = self.supervised().as_ref().map(|task| next(task.status.clone()));
        let ipv6 = self.ipv6().as_ref().map(|task| next(task.status.clone()));
        lease.into_iter().chain(ipv6).collect()
    }
}

fn next<T: Send + Sync + 'static>(mut status: watch::Receiver<T>) -> Change {
    status.mark_unchanged();
    Box::pin(async move {
        if status.changed().await.is_err() {
            // The client has ended; what comes after that is in the inventory.
            pending::<()>().await;
        }
    })
}

/// Ends as soon as one of them does.
async fn any(mut changes: Vec<Change>) {
    poll_fn(|context| {
        let ready = changes.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// The endpoints of a container by its name, or by at least so many digits of its id.
fn its<'r>(
    records: impl Iterator<Item = &'r EndpointRecord>,
    container: &str,
    also: impl Fn(&EndpointId) -> bool,
    digits: usize,
) -> Vec<EndpointId> {
    let is_its = |record: &&EndpointRecord| {
        let known = record.container.as_ref();
        let id = known.map(|c| c.id.as_str()).filter(|_| container.len() >= digits);
        is_called(container, known.map(|c| c.name.as_str()), id) || also(&record.id)
    };
    let (named, by_id): (Vec<_>, Vec<_>) = records
        .filter(is_its)
        .partition(|record| record.container.as_ref().is_some_and(|known| known.name == container));
    // A name counts more than what happens to be the beginning of an id.
    let meant = if named.is_empty() { by_id } else { named };
    meant.into_iter().map(|record| record.id.clone()).collect()
}

/// Whether an endpoint has what is awaited, as far as it shows.
fn has(view: &EndpointView, awaited: Awaited) -> bool {
    let address = match (&view.ipv6, view.state) {
        (Some(ipv6), AddressState::LinkOnly) => !ipv6.addresses.is_empty(),
        (None, AddressState::LinkOnly) => true,
        _ => view.address.is_some(),
    };
    address
        && match awaited {
            Awaited::Address => true,
            Awaited::Bound => match view.state {
                AddressState::LinkOnly | AddressState::Static => true,
                AddressState::Dhcp(state) => state == StateName::Bound,
            },
            Awaited::Reachable => view.held.is_none(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: &str, address: Option<&str>) -> EndpointView {
        EndpointView {
            endpoint: "e".repeat(64),
            network_id: "n".repeat(64),
            network: None,
            container_id: None,
            container: None,
            interface: "eth0".into(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            address: address.map(|address| address.parse().unwrap()),
            server: None,
            lease_left_s: None,
            lease_ends_at: None,
            lease_length_s: None,
            state: state.parse().unwrap(),
            held: None,
            naks: 0,
            conflicts: 0,
            elsewhere: None,
            ipv6: None,
        }
    }

    #[test]
    fn an_address_is_what_the_network_gives() {
        let address = Some("192.0.2.7/24");
        for (state, address, has_address, bound) in [
            ("BOUND", address, true, true),
            ("REBOOTING", address, true, false),
            ("RENEWING", address, true, false),
            ("SELECTING", None, false, false),
            ("static", address, true, true),
            ("link only", None, true, true),
        ] {
            let view = view(state, address);
            assert_eq!(has(&view, Awaited::Address), has_address, "{state}");
            assert_eq!(has(&view, Awaited::Bound), bound, "{state}");
        }
    }

    #[test]
    fn who_is_held_back_cannot_be_reached() {
        let mut view = view("BOUND", Some("192.0.2.7/24"));
        assert!(has(&view, Awaited::Reachable));
        view.held = Some("spanning tree: listening".into());
        assert!(!has(&view, Awaited::Reachable) && has(&view, Awaited::Bound));
    }

    #[tokio::test]
    async fn any_change_ends_the_wait() {
        let (sender, receiver) = watch::channel(1);
        let (_other, silent) = watch::channel(1);
        let (gone, ended) = watch::channel(1);
        drop(gone);
        let changes = vec![next(silent), next(ended), next(receiver)];
        let waiting = tokio::spawn(any(changes));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "nothing has changed");
        sender.send_replace(2);
        waiting.await.unwrap();
    }
}
