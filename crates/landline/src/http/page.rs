//! The page, what it shows, and the notices that make it look again.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::{Body, Bytes, Frame};
use landline_docker::DockerView;
use landline_engine::EndpointView;
use landline_leases::Inventory;
use landline_links::LinkTable;
use landline_model::EventRecord;
use landline_nat::NatError;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinError;

use crate::cli::GraphFormat;
use crate::control::Context;
use crate::graph;
use crate::output::{CommandError, shown};
use crate::status::{Status, status_with};

/// The page. Its script and its style are the ones with the number that the policy names.
const PAGE: &str = include_str!("page.html");
/// What stands for that number.
const NONCE: &str = "NONCE";
/// How many events the page has.
const EVENTS: usize = 100;
/// The shortest time between two notices.
pub(super) const PACE: Duration = Duration::from_secs(1);

/// The page with its policy: nothing is loaded but what this server has, and no script runs but the page's own.
///
/// # Errors
/// If the system has no random numbers.
pub(super) fn page() -> Result<(String, String), getrandom::Error> {
    let mut drawn = [0; 16];
    getrandom::fill(&mut drawn)?;
    let nonce = format!("{:032x}", u128::from_be_bytes(drawn));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Ok((PAGE.replace(NONCE, &nonce), policy))
}

/// What the page shows.
#[derive(Debug, Serialize, Deserialize)]
struct PageState {
    /// The host's name.
    host: String,
    /// What time it is, in milliseconds since 1970.
    now_ms: u64,
    status: Status,
    endpoints: Vec<EndpointView>,
    /// The last events, the latest last.
    events: Vec<EventRecord>,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("cannot look at the host's packet filter")]
    Status(#[from] NatError),
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    #[error("cannot draw the picture")]
    Draw(#[from] CommandError),
    #[error("the daemon stops, or has a fault")]
    Ended(#[from] JoinError),
}

/// What the page shows, as JSON. Texts of others are escaped as on a terminal.
pub(super) async fn state(context: &Arc<Context>) -> Result<Bytes, PageError> {
    let own = context.clone();
    context.http.state.get(async move { Ok(look(&own).await?.into()) }).await
}

/// The picture.
pub(super) async fn picture(context: &Arc<Context>) -> Result<Bytes, PageError> {
    let own = context.clone();
    let look = async move { Ok(graph::draw(&graph::look(&own).await, GraphFormat::Svg)?.into()) };
    context.http.picture.get(look).await
}

async fn look(context: &Context) -> Result<Vec<u8>, PageError> {
    let engine = &context.parts.engine;
    let mut endpoints = engine.endpoint_views().await;
    context.parts.attach.name_containers(&mut endpoints);
    let mut events: Vec<EventRecord> = engine.events(None).into_iter().map(|noted| noted.event).collect();
    events.drain(..events.len().saturating_sub(EVENTS));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let state = PageState {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        now_ms: u64::try_from(now.as_millis()).unwrap_or_default(),
        status: Box::pin(status_with(context, &endpoints)).await?,
        endpoints,
        events,
    };
    Ok(serde_json::to_vec(&shown(&state)?)?)
}

/// What may change what the page shows.
struct Watched {
    inventory: watch::Receiver<Inventory>,
    history: watch::Receiver<u64>,
    docker: watch::Receiver<Arc<DockerView>>,
    links: LinkTable,
    /// Whether something may have happened that the first look does not show.
    late: bool,
    /// How many notices there were.
    notices: u64,
}

impl Watched {
    /// The next notice, in the form of server-sent events.
    async fn next(mut self) -> (Self, Bytes) {
        if self.notices > 0 {
            tokio::select! {
                () = std::future::ready(()), if self.late => {}
                _ = self.inventory.changed() => {}
                _ = self.history.changed() => {}
                _ = self.docker.changed() => {}
                () = self.links.changed() => {}
            }
            // What comes within this time is one notice.
            tokio::time::sleep(PACE).await;
        }
        self.inventory.mark_unchanged();
        self.history.mark_unchanged();
        self.docker.mark_unchanged();
        self.links.seen();
        // The first look may be answered with an older one, so there is another.
        self.late = self.late && self.notices == 0;
        self.notices += 1;
        let text = format!("data: {}\n\n", self.notices);
        (self, text.into())
    }
}

/// A body of notices: one at once, and one after each change. It is nobody's task: without a reader there is nothing.
pub(super) struct Notices {
    next: Pin<Box<dyn Future<Output = (Watched, Bytes)> + Send>>,
    /// Only so many get notices at the same time.
    _permit: OwnedSemaphorePermit,
}

impl Notices {
    /// Notices of all changes from now on.
    pub(super) fn new(context: &Context, permit: OwnedSemaphorePermit) -> Self {
        let engine = &context.parts.engine;
        let services = &context.parts.shared.services;
        let watched = Watched {
            inventory: engine.inventory(),
            history: services.history.latest(),
            docker: context.docker.clone(),
            links: services.link_table.clone(),
            late: context.http.state.is_kept(),
            notices: 0,
        };
        Self { next: Box::pin(watched.next()), _permit: permit }
    }

    /// One that nothing comes of.
    #[cfg(test)]
    pub(super) fn silent() -> Self {
        let permit = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap();
        Self { next: Box::pin(std::future::pending()), _permit: permit }
    }
}

impl Body for Notices {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (watched, text) = ready!(self.next.as_mut().poll(task));
        self.next = Box::pin(watched.next());
        Poll::Ready(Some(Ok(Frame::data(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pages_own_script_runs() {
        let (page, policy) = page().unwrap();
        let (_, nonce) = policy.split_once("script-src 'nonce-").unwrap();
        let nonce = nonce.split_once('\'').unwrap().0;
        assert_eq!(nonce.len(), 32);
        assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), 2, "the script and the style");
        assert!(!page.contains(NONCE));
        assert_ne!(super::page().unwrap().1, policy, "another one each time");
        for open in ["'unsafe", "*", "data:", "http"] {
            assert!(!policy.contains(open), "{policy}");
        }
    }

    #[test]
    fn the_page_writes_texts_and_loads_nothing() {
        for no in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "http:",
            "https:",
            "style=",
            "onclick",
        ] {
            assert!(!PAGE.contains(no), "{no}");
        }
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert!(PAGE.contains("name=\"viewport\"") && PAGE.contains("lang=\"en\""));
    }
}
