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

use landline_engine::{Admission, Refusal, Verdict};
use landline_kernel::boottime;
use landline_leases::{Foundation, Happened, History};
use landline_model::{EventKind, NetworkRecord, Record};
use landline_store::Store;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How long a container is looked for that was refused.
const LOOKED_FOR: Duration = Duration::from_hours(1);

/// Why a start is refused for now. Docker prints it, and keeps it with the container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotYet {
    /// Several containers look the same, and Docker does not say which one this is.
    #[error(
        "network {network}: Docker is still restoring its containers, so Landline cannot tell which one this is. Landline starts \
         it again as soon as Docker's API answers, and it keeps its address ({token}). To have it start at once, give it a \
         landline.id"
    )]
    Unsure {
        /// The network.
        network: String,
        /// By which the container is found.
        token: String,
    },
    /// An engine that restores its containers has lost what it meant to say.
    #[error(
        "Docker repeated the request without its contents while it is restoring its containers. Landline starts this container \
         again as soon as Docker's API answers ({token})"
    )]
    Unread {
        /// By which the container is found.
        token: String,
    },
}

/// A start that was refused, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedStart {
    /// A word that is in the reason Docker keeps with the container.
    pub(crate) token: String,
    /// The boot during which that was: after another one Docker starts its containers by itself.
    pub(crate) boot: String,
    /// When, in seconds since then (`CLOCK_BOOTTIME`).
    pub(crate) at: u64,
    /// The container, once it was found: from then on Docker may keep another reason with it.
    #[serde(default)]
    pub(crate) container: Option<String>,
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
    history: Arc<History>,
    waiting: watch::Sender<BTreeMap<String, RefusedStart>>,
    allowed: AtomicBool,
    /// Whether Docker may be restoring its containers, as far as is known.
    restoring: AtomicBool,
    boot: Arc<str>,
}

impl RefusedStarts {
    /// Those that were remembered when the daemon stopped.
    pub(crate) fn resume(ground: &mut Foundation) -> Arc<Self> {
        let (store, boot) = (ground.store.clone(), ground.services.boot.clone());
        let history = ground.services.history.clone();
        Arc::new(Self::new(store, ground.rows.take(), boot, history))
    }

    fn new(store: Arc<Store>, stored: Vec<RefusedStart>, boot: Arc<str>, history: Arc<History>) -> Self {
        let (current, stale): (Vec<_>, Vec<_>) =
            stored.into_iter().partition(|start| start.is_current(&boot));
        for start in stale {
            // Nobody waits for that.
            drop(store.remove::<RefusedStart>(&start.token));
        }
        let waiting = current.into_iter().map(|start| (start.token.clone(), start)).collect();
        Self {
            store,
            history,
            waiting: watch::Sender::new(waiting),
            allowed: AtomicBool::new(true),
            restoring: AtomicBool::new(false),
            boot,
        }
    }

    /// Whether starts may be refused at all.
    pub(crate) fn allow(&self, allowed: bool) {
        self.allowed.store(allowed, Ordering::Relaxed);
    }

    /// Whether what a failed start has left of a container may be mended without its user's word.
    pub(crate) fn mends_starts(&self) -> bool {
        self.allowed.load(Ordering::Relaxed)
    }

    /// Has a container started again whose start failed, if that was while Docker restored its containers: nobody else does.
    pub(crate) async fn start_later(&self, container: &str) {
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
    pub(crate) fn docker_restores(&self, restoring: bool) {
        self.restoring.store(restoring, Ordering::Relaxed);
    }

    /// The tokens of starts that were refused and not tried again.
    pub(crate) fn waiting(&self) -> watch::Receiver<BTreeMap<String, RefusedStart>> {
        self.waiting.subscribe()
    }

    /// The container with this token is about to be started. That is remembered beyond the end of this process, which may be
    /// the one that ends the start.
    pub(crate) async fn start_begins(&self, token: &str, container: &str) {
        let mut known = None;
        self.waiting.send_if_modified(|waiting| {
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
    pub(crate) async fn start_settled(&self, token: &str) {
        self.waiting.send_if_modified(|waiting| waiting.remove(token).is_some());
        if let Err(error) = self.store.remove::<RefusedStart>(token).await {
            tracing::warn!(error = %landline_types::chain(&error), "a start that is settled could not be forgotten");
        }
    }

    /// A container was started again whose start was refused.
    pub(crate) fn started_again(&self, container: &str) {
        let happened = Happened::new(EventKind::StartedAgain).container(container);
        self.history.note(happened.because("its start was refused while Docker restored its containers"));
    }

    /// Refuses the start of a container on this network of which nothing tells which it is.
    pub(crate) async fn refuse_unsure(&self, network: &NetworkRecord) -> Result<(), NotYet> {
        if !self.may_refuse() {
            return Ok(());
        }
        let Some(token) = self.remember_refused().await else { return Ok(()) };
        let network = landline_engine::network_name(network);
        tracing::info!(
            network,
            token,
            "Docker restores its containers and this one cannot be told yet: it is started again later"
        );
        Err(NotYet::Unsure { network, token })
    }

    /// Why a start is refused whose request came without its contents, if its container will be started again.
    pub(crate) async fn refuse_unread(&self) -> Option<NotYet> {
        if !self.may_refuse() {
            return None;
        }
        let token = self.remember_refused().await?;
        tracing::info!(
            token,
            "Docker repeated a start without its contents: the container is started again later"
        );
        Some(NotYet::Unread { token })
    }

    fn may_refuse(&self) -> bool {
        self.allowed.load(Ordering::Relaxed) && self.restoring.load(Ordering::Relaxed)
    }

    /// Remembers a start that is refused, and returns its token. `None`: it cannot be, and what is not remembered is not
    /// refused: nobody would start it again.
    async fn remember_refused(&self) -> Option<String> {
        let boot = &self.boot;
        let mut drawn = [0; 8];
        if let Err(error) = getrandom::fill(&mut drawn) {
            tracing::warn!(%error, "a start is not refused, because no token can be drawn for it");
            return None;
        }
        let token = format!("landline-start-{:016x}", u64::from_be_bytes(drawn));
        let at = boottime::now().as_secs();
        let start = RefusedStart { token: token.clone(), boot: boot.to_string(), at, container: None };
        if let Err(error) = self.store.put(&start).await {
            tracing::warn!(error = %landline_types::chain(&error), "a start is not refused, because nothing can be stored");
            return None;
        }
        self.history.note(Happened::new(EventKind::StartRefused).because(
            "Docker restores its containers, and nothing told which one it was; it is started again",
        ));
        let mut gone = Vec::new();
        self.waiting.send_modify(|waiting| {
            gone.extend(waiting.extract_if(.., |_, start| !start.is_current(boot)).map(|(token, _)| token));
            waiting.insert(token.clone(), start);
        });
        for token in gone {
            self.start_settled(&token).await;
        }
        Some(token)
    }
}

impl Admission for RefusedStarts {
    fn unsure<'a>(&'a self, network: &'a NetworkRecord) -> Verdict<'a> {
        Box::pin(async move { self.refuse_unsure(network).await.map_err(Refusal::new) })
    }
}

#[cfg(test)]
mod tests {
    use landline_options::NetworkOptions;
    use tempfile::TempDir;

    use super::*;

    fn network() -> NetworkRecord {
        let options = NetworkOptions::new("br0".parse().unwrap());
        NetworkRecord {
            name: Some("lan".into()),
            ..NetworkRecord::new("a".repeat(64).parse().unwrap(), options)
        }
    }

    fn none() -> (TempDir, RefusedStarts) {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("state.redb")).unwrap();
        (dir, RefusedStarts::new(Arc::new(store), Vec::new(), "boot".into(), Arc::default()))
    }

    fn waiting(starts: &RefusedStarts) -> Vec<Option<String>> {
        starts.waiting().borrow().values().map(|start| start.container.clone()).collect()
    }

    #[tokio::test]
    async fn a_start_that_cannot_be_read_is_remembered_while_docker_restores() {
        let (_dir, starts) = none();
        assert!(starts.refuse_unread().await.is_none());
        starts.docker_restores(true);
        let said = starts.refuse_unread().await.unwrap().to_string();
        let waiting = starts.waiting().borrow().clone();
        assert!(waiting.len() == 1 && waiting.keys().all(|token| said.contains(token.as_str())), "{said}");
        starts.allow(false);
        assert!(starts.refuse_unread().await.is_none());
    }

    #[tokio::test]
    async fn a_start_that_is_not_told_from_others_is_remembered_with_its_container_once_it_begins() {
        let (_dir, starts) = none();
        starts.unsure(&network()).await.unwrap();
        starts.docker_restores(true);
        let said = starts.unsure(&network()).await.unwrap_err().to_string();
        assert!(said.starts_with("network lan: Docker is still restoring"), "{said}");
        let token = starts.waiting().borrow().keys().next().unwrap().clone();
        assert!(said.contains(&token), "{said}");
        starts.start_begins(&token, "web").await;
        starts.start_begins("no such token", "db").await;
        assert_eq!(waiting(&starts), [Some("web".to_owned())]);
        starts.start_settled(&token).await;
        assert!(waiting(&starts).is_empty());
    }

    #[tokio::test]
    async fn a_start_that_failed_while_docker_restored_is_made_up_for() {
        let (_dir, starts) = none();
        starts.start_later("c1").await;
        assert!(waiting(&starts).is_empty(), "its user has seen that it failed");
        starts.docker_restores(true);
        starts.allow(false);
        starts.start_later("c1").await;
        assert!(waiting(&starts).is_empty() && !starts.mends_starts(), "nobody wants that");
        starts.allow(true);
        starts.start_later("c1").await;
        assert_eq!(waiting(&starts), [Some("c1".to_owned())]);
    }

    #[tokio::test]
    async fn those_of_this_boot_are_waited_for_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("state.redb")).unwrap();
        let start = |token: &str, boot: &str| RefusedStart {
            token: token.into(),
            boot: boot.into(),
            at: boottime::now().as_secs(),
            container: Some(token.into()),
        };
        let stored = vec![start("now", "boot"), start("before", "another")];
        let starts = RefusedStarts::new(Arc::new(store), stored, "boot".into(), Arc::default());
        assert_eq!(waiting(&starts), [Some("now".to_owned())], "Docker starts the others by itself");
    }
}
