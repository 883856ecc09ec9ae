//! Containers whose start was refused while Docker restored them: started again as soon as Docker's API answers, one at a time.
//!
//! A token tells that Docker, or a user of Docker's, has tried to start the container.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use landline_docker::{DockerView, Sketch, start_container};
use landline_engine::{Engine, RefusedStart};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long is waited until everything is known of every container.
const COMPLETE: Duration = Duration::from_secs(30);

/// What is to be done about one start that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    /// The container waits for it.
    Start { token: String, id: String, name: String },
    /// It runs.
    Settle { token: String },
}

/// Starts them until `cancel`; `docker` is the address of Docker's API.
pub(crate) async fn follow(
    engine: Arc<Engine>,
    mut view: watch::Receiver<Arc<DockerView>>,
    docker: String,
    cancel: CancellationToken,
) {
    let mut refused = engine.refused_starts();
    let mut wait = None;
    loop {
        let seen = view.borrow_and_update().clone();
        let (next, waits) = {
            let refused = refused.borrow_and_update();
            let enough = wait.is_some_and(|until| until <= Instant::now());
            (next(&refused, &seen, enough), !refused.is_empty() && seen.connected)
        };
        wait = waits.then(|| wait.unwrap_or_else(|| Instant::now() + COMPLETE));
        match next {
            None => {
                let changed = async {
                    tokio::select! {
                        changed = view.changed() => changed,
                        changed = refused.changed() => changed,
                        () = tokio::time::sleep_until(wait.unwrap_or_else(Instant::now)),
                            if wait.is_some_and(|until| until > Instant::now()) => Ok(()),
                    }
                };
                if !matches!(cancel.run_until_cancelled(changed).await, Some(Ok(()))) {
                    return;
                }
            }
            Some(Next::Settle { token }) => engine.start_settled(&token).await,
            Some(Next::Start { token, id, name }) => {
                let Some(started) = cancel.run_until_cancelled(start_container(&docker, &id)).await else {
                    return;
                };
                match started {
                    Ok(()) => tracing::info!(container = name, "started again, as the one that it is"),
                    // Docker went away once more; what it says when it is back decides.
                    Err(_) if !view.borrow().connected => continue,
                    Err(error) => {
                        tracing::warn!(container = name, %error, "cannot start the container again; docker start does it");
                    }
                }
                engine.start_settled(&token).await;
            }
        }
    }
}

/// The first thing to do. Nothing while Docker cannot be seen whole, because a container that was not looked at may be any;
/// unless that has been waited for long `enough`.
fn next(refused: &BTreeMap<String, RefusedStart>, view: &DockerView, enough: bool) -> Option<Next> {
    if refused.is_empty() || !view.connected {
        return None;
    }
    let unknown = |sketch: &Sketch| matches!(sketch, Sketch::Name(_));
    if !enough && view.containers.values().any(unknown) {
        return None;
    }
    view.containers.values().find_map(|sketch| {
        let Sketch::Info(container) = sketch else { return None };
        let token = refused.keys().find(|token| container.error.contains(token.as_str()))?.clone();
        Some(if container.running {
            Next::Settle { token }
        } else {
            Next::Start { token, id: container.container_id.clone(), name: container.name.clone() }
        })
    })
}

#[cfg(test)]
mod tests {
    use landline_docker::ContainerInfo;

    use super::*;

    fn refused(tokens: &[&str]) -> BTreeMap<String, RefusedStart> {
        tokens
            .iter()
            .map(|token| {
                ((*token).to_owned(), RefusedStart { token: (*token).into(), boot: "boot".into(), at: 0 })
            })
            .collect()
    }

    fn stopped(id: &str, error: &str) -> ContainerInfo {
        ContainerInfo {
            container_id: id.into(),
            name: format!("name-{id}"),
            error: error.into(),
            ..ContainerInfo::default()
        }
    }

    fn view(containers: &[ContainerInfo]) -> DockerView {
        let containers =
            containers.iter().map(|info| (info.container_id.clone(), Sketch::Info(Box::new(info.clone()))));
        DockerView { connected: true, containers: containers.collect(), ..DockerView::default() }
    }

    #[test]
    fn who_was_refused_is_started_and_nobody_else() {
        let failed = "failed to create endpoint a on network lan: NetworkDriver.CreateEndpoint: … (tok-2)";
        let all = view(&[stopped("a", "no such image"), stopped("b", failed), stopped("c", "")]);
        let wanted = Next::Start { token: "tok-2".into(), id: "b".into(), name: "name-b".into() };
        assert_eq!(next(&refused(&["tok-1", "tok-2"]), &all, false), Some(wanted));
        assert_eq!(next(&refused(&["tok-1"]), &all, false), None);
        assert_eq!(next(&refused(&[]), &all, false), None);
    }

    #[test]
    fn who_runs_is_left_alone() {
        let settled = Some(Next::Settle { token: "tok".into() });
        let running = ContainerInfo { running: true, ..stopped("a", "tok") };
        assert_eq!(next(&refused(&["tok"]), &view(&[running]), false), settled);
    }

    #[test]
    fn nothing_is_started_before_all_is_known() {
        let mut all = view(&[stopped("a", "tok")]);
        all.containers.insert("b".into(), Sketch::Name("b".into()));
        assert_eq!(next(&refused(&["tok"]), &all, false), None);
        assert!(matches!(next(&refused(&["tok"]), &all, true), Some(Next::Start { .. })), "not for ever");
        let away = DockerView { connected: false, ..view(&[stopped("a", "tok")]) };
        assert_eq!(next(&refused(&["tok"]), &away, false), None);
    }
}
