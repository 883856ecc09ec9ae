//! Looking things up, each without waiting for the others.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Times;
use super::api::{ApiError, EngineApi};
use super::state::{Finding, Lookup};
use crate::driver::DriverError;

/// How many questions may be asked at once, so that a host with thousands of containers is not flooded.
const AT_ONCE: usize = 32;

/// After this long a question no longer counts: Docker is not busy, it waits.
const SLOW: Duration = Duration::from_millis(250);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Questions under way. Dropping it drops them.
pub(super) struct Lookups {
    api: EngineApi,
    times: Times,
    turns: Arc<Semaphore>,
    tasks: JoinSet<(Lookup, Option<Finding>)>,
    /// What is being asked, and whether something happened to it since.
    asked: BTreeMap<Lookup, bool>,
}

impl Lookups {
    pub(super) fn new(api: EngineApi, times: Times) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let api = api.with_deadline(times.lookup);
        Self { api, times, turns, tasks: JoinSet::new(), asked: BTreeMap::new() }
    }

    /// Asks, or asks again once the answer under way is there: that one may be older than the reason to ask.
    pub(super) fn ask(&mut self, lookup: Lookup) {
        if let Some(again) = self.asked.get_mut(&lookup) {
            *again = true;
        } else {
            self.asked.insert(lookup.clone(), false);
            self.start(lookup);
        }
    }

    /// The next answer; none if nothing is being asked. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Finding> {
        loop {
            // A task that panicked keeps its question marked as asked until the next connection.
            let Ok((lookup, finding)) = self.tasks.join_next().await? else { continue };
            if self.asked.remove(&lookup) == Some(true) {
                // What was found may be older than the reason to ask again.
                self.ask(lookup);
            } else if finding.is_some() {
                return finding;
            }
        }
    }

    fn start(&mut self, lookup: Lookup) {
        let (api, turns, first_pause) = (self.api.clone(), self.turns.clone(), self.times.first_pause);
        self.tasks.spawn(async move {
            let mut pause = first_pause.min(LONGEST_PAUSE);
            loop {
                match in_turn(&turns, find(&api, &lookup)).await {
                    Ok(finding) => return (lookup, Some(finding)),
                    Err(error) if !error.is_passing() => {
                        tracing::warn!(error = %DriverError::from(error), "Docker's answer is not understood");
                        return (lookup, None);
                    }
                    Err(error) => tracing::debug!(error = %DriverError::from(error), "asking Docker again"),
                }
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        });
    }
}

/// Asks when it is the question's turn. One that Docker does not answer soon lets others have theirs.
async fn in_turn<F: Future>(turns: &Semaphore, asking: F) -> F::Output {
    let mut asking = std::pin::pin!(asking);
    // The semaphore is never closed.
    let turn = turns.acquire().await.ok();
    if let Ok(found) = tokio::time::timeout(SLOW, asking.as_mut()).await {
        return found;
    }
    drop(turn);
    asking.await
}

async fn find(api: &EngineApi, lookup: &Lookup) -> Result<Finding, ApiError> {
    Ok(match lookup {
        Lookup::Container(id) => {
            Finding::Container(id.clone(), get(api, &format!("/containers/{id}/json")).await?)
        }
        Lookup::Network(id) => Finding::Network(id.clone(), get(api, &format!("/networks/{id}")).await?),
    })
}

/// What is there; nothing if it is not.
async fn get<T: DeserializeOwned>(api: &EngineApi, path: &str) -> Result<Option<Box<T>>, ApiError> {
    match api.get(path).await {
        Ok(thing) => Ok(Some(Box::new(thing))),
        Err(ApiError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
