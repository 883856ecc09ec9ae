//! Starts that are refused for now, because nothing tells which container it is.
//!
//! While Docker restores its containers, its API does not answer. Of several containers that look the same each would get a new
//! address then. Their starts are refused, which changes nothing about the containers, and Docker keeps the reason with each of
//! them. The reason has a token in it, which is remembered here: whoever watches Docker finds the containers by their tokens as
//! soon as the API answers, and starts them one at a time, so that each can be told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use landline_dhcp::Random as _;
use landline_kernel::boottime;
use landline_leases::OsRandom;
use landline_model::{NetworkRecord, Record};
use landline_options::NetworkId;
use landline_store::Store;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::endpoints::{CreateEndpointError, network_name};
use crate::engine::Engine;
use crate::identity::IdentityQuery;

/// How long a container is looked for that was refused.
const LOOKED_FOR: Duration = Duration::from_hours(1);

/// A start that was refused, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedStart {
    /// A word that is in the reason Docker keeps with the container.
    pub token: String,
    /// The boot during which that was: after another one Docker starts its containers by itself.
    pub boot: String,
    /// When, in seconds since then (`CLOCK_BOOTTIME`).
    pub at: u64,
    /// The container, once it was found: from then on Docker may keep another reason with it.
    #[serde(default)]
    pub container: Option<String>,
}

impl Record for RefusedStart {
    const TABLE: &'static str = "refused_starts";
    type Key = str;

    fn key(&self) -> &str {
        &self.token
    }
}

impl RefusedStart {
    fn is_current(&self, boot: &str) -> bool {
        let now = boottime::now().as_secs();
        self.boot == boot && now < self.at.saturating_add(LOOKED_FOR.as_secs())
    }
}

/// Those that wait to be started again, by token.
#[derive(Debug)]
pub(crate) struct RefusedStarts {
    store: Arc<Store>,
    waiting: watch::Sender<BTreeMap<String, RefusedStart>>,
    allowed: AtomicBool,
    /// Whether Docker may be restoring its containers, as far as is known.
    restoring: AtomicBool,
    boot: Arc<str>,
}

impl RefusedStarts {
    pub(crate) fn new(store: Arc<Store>, stored: Vec<RefusedStart>, boot: Arc<str>) -> Self {
        let (current, stale): (Vec<_>, Vec<_>) =
            stored.into_iter().partition(|start| start.is_current(&boot));
        for start in stale {
            // Nobody waits for that.
            drop(store.remove::<RefusedStart>(&start.token));
        }
        let waiting = current.into_iter().map(|start| (start.token.clone(), start)).collect();
        Self {
            store,
            waiting: watch::Sender::new(waiting),
            allowed: AtomicBool::new(true),
            restoring: AtomicBool::new(false),
            boot,
        }
    }
}

impl Engine {
    /// Whether starts may be refused at all.
    pub fn allow_refused_starts(&self, allowed: bool) {
        self.refused_starts.allowed.store(allowed, Ordering::Relaxed);
    }

    /// Whether what a failed start has left of a container may be mended without its user's word.
    pub fn mends_starts(&self) -> bool {
        self.refused_starts.allowed.load(Ordering::Relaxed)
    }

    /// Has a container started again whose start failed, if that was while Docker restored its containers: nobody else does.
    pub async fn start_later(&self, container: &str) {
        if self.may_refuse()
            && let Some(token) = self.remember_refused().await
        {
            tracing::info!(
                container,
                token,
                "a start that failed while Docker restored its containers is made up for"
            );
            self.start_begins(&token, container).await;
        }
    }

    /// Whether Docker may be restoring its containers: only then a start is refused because its API does not answer.
    pub fn docker_restores(&self, restoring: bool) {
        self.refused_starts.restoring.store(restoring, Ordering::Relaxed);
    }

    /// The tokens of starts that were refused and not tried again.
    pub fn refused_starts(&self) -> watch::Receiver<BTreeMap<String, RefusedStart>> {
        self.refused_starts.waiting.subscribe()
    }

    /// The container with this token is about to be started. That is remembered beyond the end of this process, which may be
    /// the one that ends the start.
    pub async fn start_begins(&self, token: &str, container: &str) {
        let mut known = None;
        self.refused_starts.waiting.send_if_modified(|waiting| {
            let Some(start) = waiting.get_mut(token) else { return false };
            let new = start.container.as_deref() != Some(container);
            start.container = Some(container.to_owned());
            known = Some(start.clone()).filter(|_| new);
            new
        });
        if let Some(start) = known
            && let Err(error) = self.store.put(&start).await
        {
            tracing::warn!(error = %landline_types::chain(&error), "a start that begins could not be remembered");
        }
    }

    /// The container with this token is looked after: it runs, or will not be started.
    pub async fn start_settled(&self, token: &str) {
        self.refused_starts.waiting.send_if_modified(|waiting| waiting.remove(token).is_some());
        if let Err(error) = self.store.remove::<RefusedStart>(token).await {
            tracing::warn!(error = %landline_types::chain(&error), "a start that is settled could not be forgotten");
        }
    }

    /// Refuses the start if it is one of several containers and nothing tells which.
    pub(crate) async fn refuse_unsure(
        &self,
        network: &NetworkRecord,
        wish: &IdentityQuery<'_>,
    ) -> Result<(), CreateEndpointError> {
        let possible = if self.may_refuse() { self.identities.possible(wish) } else { 0 };
        if possible < 2 {
            return Ok(());
        }
        self.refuse(network).await
    }

    /// Refuses the start of a container that nothing is known about, though its user has said who it is.
    pub async fn refuse_untold(&self, network: &NetworkId) -> Result<(), CreateEndpointError> {
        let network = self.networks().get(network).cloned();
        match network.filter(|_| self.may_refuse()) {
            Some(network) => self.refuse(&network).await,
            None => Ok(()),
        }
    }

    async fn refuse(&self, network: &NetworkRecord) -> Result<(), CreateEndpointError> {
        let Some(token) = self.remember_refused().await else { return Ok(()) };
        let network = network_name(network);
        tracing::info!(
            network,
            token,
            "Docker restores its containers and this one cannot be told yet: it is started again later"
        );
        Err(CreateEndpointError::Unsure { network, token })
    }

    /// Why a start is refused whose request came without its contents, if its container will be started again.
    pub async fn refuse_unread(&self) -> Option<CreateEndpointError> {
        if !self.may_refuse() {
            return None;
        }
        let token = self.remember_refused().await?;
        tracing::info!(
            token,
            "Docker repeated a start without its contents: the container is started again later"
        );
        Some(CreateEndpointError::Unread { token })
    }

    fn may_refuse(&self) -> bool {
        let RefusedStarts { allowed, restoring, .. } = &self.refused_starts;
        allowed.load(Ordering::Relaxed) && restoring.load(Ordering::Relaxed)
    }

    /// Remembers a start that is refused, and returns its token. `None`: it cannot be stored, and what is not remembered is not
    /// refused: nobody would start it again.
    async fn remember_refused(&self) -> Option<String> {
        let boot = &self.refused_starts.boot;
        let token = format!("landline-start-{:08x}{:08x}", OsRandom.next_u32(), OsRandom.next_u32());
        let at = boottime::now().as_secs();
        let start = RefusedStart { token: token.clone(), boot: boot.to_string(), at, container: None };
        if let Err(error) = self.refused_starts.store.put(&start).await {
            tracing::warn!(error = %landline_types::chain(&error), "a start is not refused, because nothing can be stored");
            return None;
        }
        let mut gone = Vec::new();
        self.refused_starts.waiting.send_modify(|waiting| {
            gone.extend(waiting.extract_if(.., |_, start| !start.is_current(boot)).map(|(token, _)| token));
            waiting.insert(token.clone(), start);
        });
        for token in gone {
            self.start_settled(&token).await;
        }
        Some(token)
    }
}
