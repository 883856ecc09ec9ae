//! Connections of containers to Landline's networks that Docker drops: noticed, said, and made again.
//!
//! `record` tells from what was remembered and what Docker shows now what has become of them.

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use landline_docker::{ContainerInfo, DockerView, Doubts, Sketch, connect_container};
use landline_doctor::Finding;
use landline_leases::{Foundation, Happened, History};
use landline_model::EventKind;
use landline_options::NetworkId;
use landline_store::Store;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use record::{ConnectedRecord, compare};

use crate::parts::Parts;

/// Which containers are connected to Landline's networks.
pub(crate) struct Connections {
    store: Arc<Store>,
    known: Mutex<BTreeMap<String, ConnectedRecord>>,
    dropped: Mutex<BTreeMap<(String, NetworkId), DroppedConnection>>,
    doubts: OnceLock<Arc<Doubts>>,
    history: Arc<History>,
}

/// A connection that Docker has dropped and that is not made again yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct DroppedConnection {
    /// The container's name.
    pub(crate) container: String,
    /// The network.
    pub(crate) network: String,
}

/// One to be made again.
struct Lost {
    container: String,
    network: NetworkId,
    names: DroppedConnection,
    settings: serde_json::Value,
}

impl Connections {
    /// Those of the last run.
    pub(crate) fn resume(ground: &mut Foundation) -> Arc<Self> {
        let records: Vec<ConnectedRecord> = ground.rows.take();
        let known = records.into_iter().map(|record| (record.container.clone(), record)).collect();
        Arc::new(Self {
            store: ground.store.clone(),
            known: Mutex::new(known),
            dropped: Mutex::default(),
            doubts: OnceLock::new(),
            history: ground.services.history.clone(),
        })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, ConnectedRecord>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that Docker has dropped, as far as is known. Their containers are looked at again: Docker does not tell if somebody
    /// connects one that does not run.
    pub(crate) fn dropped(&self) -> Vec<DroppedConnection> {
        let dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        for (container, _) in dropped.keys() {
            self.doubt(container);
        }
        dropped.values().cloned().collect()
    }

    fn doubt(&self, container: &str) {
        if let Some(doubts) = self.doubts.get() {
            doubts.about_container(container);
        }
    }

    /// Follows what Docker shows, until `cancel`; `docker` is the address of its API.
    pub(crate) async fn follow(
        self: Arc<Self>,
        parts: Arc<Parts>,
        mut view: watch::Receiver<Arc<DockerView>>,
        doubts: Arc<Doubts>,
        docker: String,
        cancel: CancellationToken,
    ) {
        self.doubts.get_or_init(|| doubts);
        // One that Docker refuses is not tried again before Docker was away.
        let mut tried = BTreeSet::new();
        let follow = async {
            loop {
                let seen = view.borrow_and_update().clone();
                if seen.connected {
                    for lost in self.look(&parts, &seen).await {
                        if tried.insert((lost.container.clone(), lost.network.clone())) {
                            self.mend(&docker, lost).await;
                        }
                    }
                } else {
                    tried.clear();
                }
                if view.changed().await.is_err() {
                    return;
                }
            }
        };
        cancel.run_until_cancelled(follow).await;
    }

    /// Takes note of what there is; those connections that are to be made again.
    async fn look(&self, parts: &Parts, view: &DockerView) -> Vec<Lost> {
        let Parts { engine, refused_starts, .. } = parts;
        let ours: BTreeSet<NetworkId> = engine.docker_networks().into_keys().collect();
        let (mut lost, mut dropped) = (Vec::new(), BTreeMap::new());
        for (container, before, now) in self.compare_all(view, &ours) {
            for (network, connection) in &now.networks {
                let known = before.as_ref().and_then(|before| before.networks.get(network));
                let names = DroppedConnection {
                    container: container.name.clone(),
                    network: engine.network_name(network),
                };
                if connection.dropped && !known.is_some_and(|known| known.dropped) {
                    let DroppedConnection { container, network } = &names;
                    tracing::warn!(
                        container,
                        network,
                        "Docker has dropped the connection after a failed start"
                    );
                }
                let mended =
                    known.is_some_and(|known| known.dropped && known.again > 0) && !connection.dropped;
                if mended && container.restarts && !container.running {
                    refused_starts.start_later(&container.container_id).await;
                }
                if connection.dropped {
                    dropped.insert((container.container_id.clone(), network.clone()), names.clone());
                }
                if connection.may_be_mended() && !container.running && refused_starts.mends_starts() {
                    let settings = connection.endpoint_config();
                    let (network, container) = (network.clone(), container.container_id.clone());
                    lost.push(Lost { container, network, names, settings });
                }
            }
            self.remember(container, before.as_ref(), now).await;
        }
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner) = dropped;
        self.forget_removed(view).await;
        lost
    }

    /// Containers whose connections have changed or are dropped: what was known of them, and what is now.
    fn compare_all<'v>(
        &self,
        view: &'v DockerView,
        ours: &BTreeSet<NetworkId>,
    ) -> Vec<(&'v ContainerInfo, Option<ConnectedRecord>, ConnectedRecord)> {
        let known = self.known();
        let compared = view.containers.values().filter_map(|sketch| {
            let Sketch::Info(container) = sketch else { return None };
            let before = known.get(&container.container_id);
            let now = compare(before, container, view, ours.iter());
            let is_dropped = now.networks.values().any(|connection| connection.dropped);
            let changed = before.map_or(!now.networks.is_empty(), |before| *before != now);
            (changed || is_dropped).then(|| (&**container, before.cloned(), now))
        });
        compared.collect()
    }

    async fn remember(
        &self,
        container: &ContainerInfo,
        before: Option<&ConnectedRecord>,
        now: ConnectedRecord,
    ) {
        let id = &container.container_id;
        let stored = match before {
            Some(before) if *before == now => return,
            None if now.networks.is_empty() => return,
            _ if now.networks.is_empty() => {
                self.known().remove(id);
                self.store.remove::<ConnectedRecord>(id).await
            }
            _ => {
                self.known().insert(id.clone(), now.clone());
                self.store.put(&now).await
            }
        };
        report(stored);
    }

    async fn forget_removed(&self, view: &DockerView) {
        let removed: Vec<String> =
            self.known().keys().filter(|id| !view.containers.contains_key(*id)).cloned().collect();
        for id in removed {
            self.known().remove(&id);
            report(self.store.remove::<ConnectedRecord>(&id).await);
        }
    }

    async fn mend(&self, docker: &str, lost: Lost) {
        let Lost { container: id, network: network_id, names, settings } = lost;
        let DroppedConnection { container, network } = &names;
        // Counted before it is done: whatever ends this process may be what makes it fail.
        let counted = {
            let mut known = self.known();
            let Some(record) = known.get_mut(&id) else { return };
            let Some(connection) = record.networks.get_mut(&network_id) else { return };
            connection.again = connection.again.saturating_add(1);
            record.clone()
        };
        report(self.store.put(&counted).await);
        match connect_container(docker, &network_id, &id, &settings).await {
            Ok(()) => {
                tracing::info!(container, network, "connected again");
                let happened = Happened::new(EventKind::ConnectedAgain).container(container);
                self.history.note(
                    happened.because(format!("to {network}, which Docker had dropped after a failed start")),
                );
                self.doubt(&id);
            }
            Err(error) => {
                tracing::warn!(container, network, %error, "cannot connect the container again; docker network connect does it");
            }
        }
    }
}

fn report(stored: Result<(), landline_store::StoreError>) {
    if let Err(error) = stored {
        tracing::warn!(error = %landline_types::chain(&error), "a container's connections could not be stored");
    }
}

impl DroppedConnection {
    /// For `landline ls` and `landline doctor`.
    pub(crate) fn says(&self) -> String {
        let Self { container, network } = self;
        format!(
            "Docker has dropped {container}'s connection to {network} after a failed start, so it would start without that \
             network; docker network connect {network} {container} connects it again"
        )
    }

    /// For `landline doctor`.
    pub(crate) fn finding(&self) -> Finding {
        Finding::new("dropped", self.says())
    }
}
