//! The task that removes networks which Docker no longer has, after a grace.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landline_docker::{DockerView, has_network};
use landline_engine::{Engine, ForgetNetworkError};
use landline_kernel::boottime::{self, Alarm};
use landline_options::NetworkId;
use landline_types::chain;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::NetworkRow;
use super::missing::{Listed, Missing};

/// Why a network was not forgotten on its user's word.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForgetError {
    #[error("Docker still has the network {0}; remove it there: docker network rm {0}")]
    InDocker(String),
    #[error(transparent)]
    Engine(#[from] ForgetNetworkError),
}

/// Networks that Docker no longer has.
pub(crate) struct Lost {
    engine: Arc<Engine>,
    view: watch::Receiver<Arc<DockerView>>,
    /// The address of Docker's API.
    docker: String,
    /// How long a network must have been missing.
    grace: Duration,
    missing: Mutex<Missing>,
}

impl Lost {
    pub(crate) fn new(
        engine: Arc<Engine>,
        view: watch::Receiver<Arc<DockerView>>,
        docker: String,
        grace: Duration,
    ) -> Arc<Self> {
        Arc::new(Self { engine, view, docker, grace, missing: Mutex::default() })
    }

    fn missing(&self) -> MutexGuard<'_, Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes them until `cancel`.
    pub(crate) async fn follow(self: Arc<Self>, alarm: Alarm, cancel: CancellationToken) {
        let mut view = self.view.clone();
        loop {
            let seen = view.borrow_and_update().clone();
            self.look(&seen);
            let due = self.missing().due(boottime::now(), self.grace);
            for id in due {
                self.remove(&id).await;
            }
            let next = self.missing().next(self.grace);
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = view.changed() => if changed.is_err() { return },
                () = alarm.sleep_until(next.unwrap_or_default()), if next.is_some() => {}
            }
        }
    }

    fn look(&self, view: &DockerView) {
        let networks: BTreeSet<NetworkId> = view.networks.keys().cloned().collect();
        let listed = view.listed.filter(|_| view.connected).map(|at| Listed { at, networks: &networks });
        let new = self.missing().look(boottime::now(), listed.as_ref(), &self.engine.docker_networks());
        for id in new {
            let (network, grace) = (self.engine.network_name(&id), self.grace);
            tracing::warn!(network, ?grace, "Docker no longer has this network; it will be removed");
        }
    }

    /// Removes one that is due, if Docker itself says that it does not have it.
    async fn remove(&self, id: &NetworkId) {
        let network = self.engine.network_name(id);
        match has_network(&self.docker, id).await {
            Ok(false) => match self.engine.forget_network(id).await {
                Ok(()) => tracing::info!(network, "removed a network that Docker no longer has"),
                Err(error) => {
                    tracing::warn!(
                        network,
                        error = chain(&error),
                        "a network that Docker no longer has stays"
                    );
                }
            },
            Ok(true) => tracing::debug!(network, "Docker has this network after all"),
            Err(error) => tracing::debug!(network, %error, "Docker does not say whether it has this network"),
        }
        let mut missing = self.missing();
        missing.wait_again(id, boottime::now());
        drop(missing);
        self.look(&self.view.borrow().clone());
    }

    /// Forgets the network of this name or id now, unless Docker has it.
    pub(crate) async fn forget(&self, called: &str) -> Result<(), ForgetError> {
        let id = self.engine.find_network(called)?;
        let network = self.engine.network_name(&id);
        let view = self.view.borrow().clone();
        // What an event has just told counts less than Docker's own word.
        if view.connected && has_network(&self.docker, &id).await.unwrap_or(view.networks.contains_key(&id)) {
            return Err(ForgetError::InDocker(network));
        }
        self.engine.forget_network(&id).await?;
        tracing::info!(network, "network forgotten, as the administrator said");
        Ok(())
    }

    /// All networks, and whether Docker has them.
    pub(crate) fn rows(&self) -> Vec<NetworkRow> {
        let (view, now) = (self.view.borrow().clone(), boottime::now());
        let missing = self.missing();
        let networks = self.engine.network_views().into_iter();
        networks
            .map(|network| {
                let id = network.id.parse().ok();
                let in_docker = id.as_ref().is_some_and(|id| view.networks.contains_key(id));
                let due = id.and_then(|id| missing.due_at(&id, self.grace));
                NetworkRow {
                    network,
                    in_docker: view.connected.then_some(in_docker),
                    removed_in_s: due.map(|due| due.saturating_sub(now).as_secs()),
                }
            })
            .collect()
    }
}
