//! Containers whose start was refused while Docker restored them: started again as soon as Docker's API answers, one at a time on
//! each network.
//!
//! A token tells that Docker, or a user of Docker's, has tried to start the container. Which one is next: `attempts`.

use std::sync::Arc;
use std::time::Duration;

use landline_docker::{DockerView, DriverError, start_container};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempts::{Attempts, Next};
use crate::refused_starts::RefusedStarts;

/// How long is waited until everything is known of every container.
const COMPLETE: Duration = Duration::from_secs(30);

/// How a start ended.
struct Ended {
    id: String,
    name: String,
    started: Result<(), DriverError>,
}

/// Starts them until `cancel`; `docker` is the address of Docker's API.
pub(crate) async fn follow(
    refused: Arc<RefusedStarts>,
    view: watch::Receiver<Arc<DockerView>>,
    docker: String,
    cancel: CancellationToken,
) {
    // What is under way when it ends is dropped with it.
    cancel.run_until_cancelled(start_all(&refused, view, &docker)).await;
}

async fn start_all(starts: &RefusedStarts, mut view: watch::Receiver<Arc<DockerView>>, docker: &str) {
    let mut refused = starts.waiting();
    let mut attempts = Attempts::default();
    let mut under_way: JoinSet<Ended> = JoinSet::new();
    let mut wait = None;
    loop {
        let seen = view.borrow_and_update().clone();
        let tokens = refused.borrow_and_update().clone();
        let now = Instant::now();
        let enough = wait.is_some_and(|until| until <= now);
        let waits = !tokens.is_empty() && seen.connected;
        wait = waits.then(|| wait.unwrap_or(now + COMPLETE));
        match attempts.next(&tokens, &seen, enough, now) {
            Some(Next::Settle { token }) => {
                attempts.settled(&token);
                starts.start_settled(&token).await;
                continue;
            }
            Some(Next::Start { id, name, token }) => {
                starts.start_begins(&token, &id).await;
                attempts.begun(&tokens, &seen, &id);
                let docker = docker.to_owned();
                under_way.spawn(async move {
                    let started = start_container(&docker, &id).await;
                    Ended { id, name, started }
                });
                continue;
            }
            None => {}
        }
        let due = [wait, attempts.due()].into_iter().flatten().filter(|until| *until > now).min();
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            changed = refused.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(due.unwrap_or(now)), if due.is_some() => {}
            Some(Ok(ended)) = under_way.join_next() => {
                let connected = view.borrow().connected;
                if ended.started.is_ok() {
                    starts.started_again(&ended.name);
                }
                if let Some(token) = end(&mut attempts, ended, connected) {
                    starts.start_settled(&token).await;
                }
            }
        }
    }
}

/// Takes note of how a start ended; the token that is settled by that.
fn end(attempts: &mut Attempts, ended: Ended, connected: bool) -> Option<String> {
    let Ended { id, name: container, started } = ended;
    let Err(error) = started else {
        tracing::info!(container, "started again, as the one that it is");
        return attempts.succeeded(&id);
    };
    if !connected {
        attempts.interrupted(&id);
        return None;
    }
    match attempts.failed(&id, Instant::now()) {
        Ok(pause) => {
            tracing::warn!(container, %error, ?pause, "cannot start the container again; trying once more after the pause");
            None
        }
        Err(token) => {
            tracing::warn!(container, %error, "cannot start the container again; docker start does it");
            token
        }
    }
}
