//! Follows Docker's containers and networks through its API, apart from the requests that Docker makes.
//!
//! One task, [`Watcher::run`], keeps a connection to the engine's API: it asks for events first, then for all
//! networks and containers, then goes on with the events. What an event is about is looked up by a task of its own
//! per question (`lookup`), since inspecting a container that is being started blocks for as long as that takes.
//! `state` pieces it all together; every change is published as a [`DockerView`]. When the connection ends, all
//! begins again, after a pause that grows while it keeps failing.
//!
//! Nothing here starts an engine: where a service manager listens on its socket, a connection would. `presence` finds out
//! who listens without connecting; as long as that is nobody but the service manager, a sign that the engine has started
//! is waited for (`door`).

mod api;
mod door;
mod doubts;
mod lookup;
mod model;
mod place;
mod presence;
mod requested;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use landline_kernel::boottime;
use landline_options::NetworkId;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::driver::DriverError;
use api::not_found;
pub(crate) use api::{ApiError, EngineApi};
use door::{Door, Signs};
pub use doubts::Doubts;
use lookup::Lookups;
use model::{ListedContainer, Network};
pub use place::Place;
use presence::Presence;
pub use requested::RequestedEndpoint;
use state::State;
pub use view::{Attachment, ContainerInfo, DockerNetwork, DockerPool, DockerView, Sketch};

/// Why Docker cannot be watched at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatcherError {
    /// The address is not one of a unix socket.
    #[error("{0:?} is not the address of a unix socket; write it like unix:///var/run/docker.sock")]
    Address(String),
}

/// The engine at this address: `unix:///path` or `/path`.
pub(crate) fn door_to(address: &str) -> Door {
    Door::new(address.strip_prefix("unix://").unwrap_or(address).into())
}

/// Whether Docker has this network, asked now on a connection of its own; `address` as for [`Watcher::new`].
///
/// # Errors
/// Docker does not say: it cannot be reached, or is too busy.
pub async fn has_network(address: &str, id: &NetworkId) -> Result<bool, DriverError> {
    let door = door_to(address);
    let asked = async {
        let api = EngineApi::negotiate(&door, Times::default().answer).await?;
        match api.get::<serde::de::IgnoredAny>(&format!("/networks/{id}")).await {
            Ok(_) => Ok(true),
            Err(ApiError::Status { status, .. }) if status == hyper::StatusCode::NOT_FOUND => Ok(false),
            Err(error) => Err(error),
        }
    };
    asked.await.map_err(DriverError::from)
}

/// How long the start of a container may take: Landline's own part of it has a shorter limit.
const START: Duration = Duration::from_mins(2);

/// Starts a container, on a connection of its own; `address` as for [`Watcher::new`]. One that runs is left as it is.
///
/// # Errors
/// It did not start, or Docker does not say.
pub async fn start_container(address: &str, id: &str) -> Result<(), DriverError> {
    // Ids come from Docker's own lists; nothing else gets into a path.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(not_found("/containers").into());
    }
    let door = door_to(address);
    let started = async {
        let api = EngineApi::negotiate(&door, Times::default().answer).await?;
        api.with_deadline(START).post(&format!("/containers/{id}/start"), None).await
    };
    started.await.map_err(DriverError::from)
}

/// Connects a container to a network with these settings (`EndpointConfig`); `address` and errors as for [`start_container`].
///
/// # Errors
/// It is not connected, or Docker does not say.
pub async fn connect_container(
    address: &str,
    network: &NetworkId,
    container: &str,
    settings: &serde_json::Value,
) -> Result<(), DriverError> {
    let door = door_to(address);
    let body = serde_json::json!({ "Container": container, "EndpointConfig": settings });
    let connected = async {
        let api = EngineApi::negotiate(&door, Times::default().answer).await?;
        api.with_deadline(START).post(&format!("/networks/{network}/connect"), Some(&body)).await
    };
    connected.await.map_err(DriverError::from)
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// One answer.
    answer: Duration,
    /// An answer about a container or a network: Docker gives none while that starts, and logs an error if nobody waits for it.
    lookup: Duration,
    /// The first pause after a failure; it doubles up to `longest_pause`.
    first_pause: Duration,
    longest_pause: Duration,
    /// The longest wait for a sign before the next look: not every sign can be seen from everywhere.
    longest_wait: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            lookup: START,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(5),
            longest_wait: Duration::from_mins(1),
        }
    }
}

/// Follows one Docker engine.
pub struct Watcher {
    door: Door,
    times: Times,
    view: watch::Sender<Arc<DockerView>>,
    doubts: Arc<Doubts>,
}

impl Watcher {
    /// A watcher of the engine whose API is at this address: `unix:///path` or `/path`. It does nothing yet; Docker
    /// need not run.
    ///
    /// # Errors
    /// The address is of another kind.
    pub fn new(address: &str) -> Result<Self, WatcherError> {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        if path.starts_with('/') {
            let view = watch::Sender::new(Arc::default());
            Ok(Self { door: Door::new(path.into()), times: Times::default(), view, doubts: Arc::default() })
        } else {
            Err(WatcherError::Address(address.chars().take(128).collect()))
        }
    }

    /// What Docker has, as it changes.
    pub fn view(&self) -> watch::Receiver<Arc<DockerView>> {
        self.view.subscribe()
    }

    /// To be notified when the engine has shown that it lives, by a request to a plugin for one.
    pub fn sign(&self) -> Arc<Notify> {
        self.door.sign()
    }

    /// To be told what may have changed without an event.
    pub fn doubts(&self) -> Arc<Doubts> {
        self.doubts.clone()
    }

    /// Watches until `cancel`.
    pub async fn run(self, cancel: CancellationToken) {
        // Whatever is under way ends at its next await.
        cancel.run_until_cancelled(self.watch()).await;
    }

    async fn watch(&self) {
        let mut state = State::default();
        let mut pause = self.times.first_pause;
        let mut wait = self.times.longest_pause;
        let mut signs = Signs::of(&self.door);
        loop {
            signs.follow(&self.door);
            let presence = self.door.presence().await;
            if matches!(presence, Presence::OnDemand | Presence::Nobody) {
                tracing::debug!(?presence, "Docker does not run");
                pause = self.times.first_pause;
                self.wait_for_sign(&mut signs, &mut wait).await;
                continue;
            }
            let (started, mut connected) = (Instant::now(), false);
            let ended = self.session(&mut state, &mut connected).await;
            self.publish(&state, false);
            // A connection that held was worth it; one that broke at once was not.
            if started.elapsed() > self.times.longest_pause {
                pause = self.times.first_pause;
            }
            // A file that is left over: after some tries, only a new one is worth another.
            let left_over =
                matches!(&ended, Err(error) if error.is_refusal()) && pause == self.times.longest_pause;
            let reason = match ended {
                Ok(()) => "Docker ended the connection".to_owned(),
                Err(error) => DriverError::from(error).to_string(),
            };
            if connected {
                tracing::info!(reason, "Docker's API is gone; networks and containers go on");
            } else {
                tracing::debug!(reason, "Docker's API cannot be reached");
            }
            if left_over && signs.are_followed() {
                if self.wait_for_sign(&mut signs, &mut wait).await {
                    pause = self.times.first_pause;
                }
            } else {
                wait = self.times.longest_pause;
                let sign = signs.next_within(pause).await;
                pause = if sign { self.times.first_pause } else { self.times.longest_pause.min(pause * 2) };
            }
        }
    }

    /// Waits until the engine may have started; whether there was a sign of that. In a container the files that the engine
    /// makes may be others than those that are seen here, so the wait ends without a sign as well, each time later.
    async fn wait_for_sign(&self, signs: &mut Signs, wait: &mut Duration) -> bool {
        let followed = signs.are_followed();
        let sign = signs.next_within(*wait).await;
        let Times { longest_pause, longest_wait, .. } = self.times;
        *wait = if sign || !followed { longest_pause } else { longest_wait.min(*wait * 2) };
        sign
    }

    /// One connection, from complete lists to its end.
    async fn session(&self, state: &mut State, connected: &mut bool) -> Result<(), ApiError> {
        let api = EngineApi::negotiate(&self.door, self.times.answer).await?;
        // Docker answers before it begins to listen to itself, so ask for the last second as well. Events that the
        // lists include do no harm.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let asked = boottime::now();
        let mut events = api.events(since.as_secs().saturating_sub(1)).await?;
        let networks: Vec<Network> = api.get("/networks").await?;
        let containers: Vec<ListedContainer> = api.get("/containers/json?all=true").await?;
        state.names_endpoints = api.names_endpoints();
        state.engine = api.engine().map(str::to_owned);
        let mut lookups = Lookups::new(api, self.times);
        for lookup in state.resync(&networks, &containers) {
            lookups.ask(lookup);
        }
        state.listed = Some(asked);
        drop((networks, containers));
        *connected = true;
        tracing::debug!("following Docker's events");
        loop {
            self.publish(state, true);
            tokio::select! {
                event = events.next() => match event? {
                    Some(event) => {
                        for lookup in state.event(&event) {
                            lookups.ask(lookup);
                        }
                    }
                    None => return Ok(()),
                },
                Some(finding) = lookups.next() => state.found(finding),
                doubts = self.doubts.next() => {
                    for lookup in state.doubted(&doubts) {
                        lookups.ask(lookup);
                    }
                }
            }
        }
    }

    fn publish(&self, state: &State, connected: bool) {
        let view = state.view(connected);
        self.view.send_if_modified(|before| {
            let changed = **before != view;
            if changed {
                *before = Arc::new(view);
            }
            changed
        });
    }
}
