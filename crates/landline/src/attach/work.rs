//! One worker each for every container that asks for something and every attachment: it makes what there should be, tries
//! again when that failed, and takes it back when it should not be any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use landline_attach::{AttachFailure, AttachRequest, Attachments, Origin, TargetSandbox};
use landline_model::ContainerRecord;
use landline_options::{Ask, ConfigFile, Parent, Request, Target};
use landline_types::chain;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::board::{AttachRow, Board, RowState};
use super::jobs::{Job, Key, Work};

/// How long one attempt may take; what it has made is taken back then.
const DEADLINE: Duration = Duration::from_mins(1);

/// The first pause before the next attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

pub(super) struct Worker {
    pub(super) key: Key,
    pub(super) attach: Arc<Attachments>,
    pub(super) board: Arc<Board>,
    pub(super) job: watch::Receiver<Option<Job>>,
    /// Told when there is nothing more to do and the worker is gone.
    pub(super) gone: Arc<Notify>,
}

impl Worker {
    /// Works until there is nothing to be there any more, and what was is gone.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut done: Option<(TargetSandbox, Option<String>)> = None;
        loop {
            let job = self.job.borrow_and_update().clone();
            let here = job.as_ref().map(|job| (job.place.clone(), job.namespace.clone()));
            let left = done.take_if(|(before, namespace)| {
                here.as_ref().map(|(now, is)| (&now.sandbox, is)) != Some((&before.sandbox, namespace))
            });
            if let Some((before, _)) = left {
                self.undo(&before).await;
            }
            let Some(job) = job else {
                self.board.set(&self.key, Vec::new());
                drop(self.job);
                // Whoever has a job for it meanwhile finds nobody, and starts another.
                self.gone.notify_one();
                return;
            };
            done = here;
            let rows = self.attempt_until_superseded(&job, &cancel).await;
            let again = rows.iter().any(|row| row.state == RowState::Failed);
            self.board.set(&self.key, rows);
            let wait = async {
                if again {
                    tokio::time::sleep(pause).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = self.job.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    pause = FIRST_PAUSE;
                }
                () = wait => pause = LONGEST_PAUSE.min(pause * 2),
            }
        }
    }

    async fn attempt_until_superseded(&self, job: &Job, cancel: &CancellationToken) -> Vec<AttachRow> {
        let stop = cancel.child_token();
        let mut changes = self.job.clone();
        let superseded = async {
            // The attempt ends by itself then, and not in the middle of a step.
            let _ = changes.wait_for(|now| now.as_ref() != Some(job)).await;
            stop.cancel();
            std::future::pending().await
        };
        tokio::select! {
            rows = self.attempt(job, &stop) => rows,
            rows = superseded => rows,
        }
    }

    /// The container has ended, or is in another sandbox.
    async fn undo(&self, before: &TargetSandbox) {
        for record in self.attach.records() {
            let mine = match (&self.key, &record.origin) {
                (Key::Command(id), _) => record.id == *id,
                (Key::Container(_), Origin::Container(_)) | (Key::Config(_), Origin::Config) => {
                    record.inside.as_ref().is_some_and(|inside| inside.sandbox == before.sandbox)
                }
                _ => false,
            };
            if mine && let Err(error) = self.attach.container_ended(&record.id).await {
                tracing::warn!(error = %chain(&error), "an attachment could not be taken back");
            }
        }
    }

    async fn attempt(&self, job: &Job, stop: &CancellationToken) -> Vec<AttachRow> {
        match &job.work {
            Work::Asked(asks, config) => self.asked(&job.place, asks, config, stop).await,
            Work::Wanted(target, spec, origin) => {
                let request = AttachRequest {
                    target: target.clone(),
                    spec: (**spec).clone(),
                    origin: origin.clone(),
                    place: job.place.clone(),
                    again: matches!(self.key, Key::Command(_)),
                    may_make: true,
                };
                let source = if *origin == Origin::Config { "landline.toml" } else { "landline attach" };
                let done = self.within(request, stop).await;
                done.err()
                    .map(|error| failed(&name(&job.place, target), source, None, &error))
                    .into_iter()
                    .collect()
            }
        }
    }

    /// Interfaces first, all at once; then what changes their routes and queues, in order.
    async fn asked(
        &self,
        place: &TargetSandbox,
        asks: &[Ask],
        config: &ConfigFile,
        stop: &CancellationToken,
    ) -> Vec<AttachRow> {
        let Some(container) = &place.container else { return Vec::new() };
        let Ok(target) = container.id.parse::<Target>() else { return Vec::new() };
        let mut attempts = tokio::task::JoinSet::new();
        let mut rows = Vec::new();
        let mut refused = BTreeSet::new();
        for ask in asks {
            let row = AttachRow {
                container: container.name.clone(),
                source: ask.source.clone(),
                parent: None,
                state: RowState::Refused,
                reason: String::new(),
                allow: None,
            };
            match &ask.request {
                Err(error) => {
                    refused.insert(ask.source.as_str());
                    rows.push(AttachRow { reason: chain(error), ..row });
                }
                Ok(Request::Change(_)) => {
                    if let Err(refusal) = config.containers.judge_change() {
                        let reason = "containers may not change their routes, rules and queues".into();
                        rows.push(AttachRow { reason, allow: Some(refusal.to_string()), ..row });
                    }
                }
                Ok(Request::Attach(spec)) => match self.attach.resolve(spec).await {
                    // What is wrong with a parent is no business of a container that may not use it.
                    Err(error)
                        if matches!(spec.parent, Parent::Mac(_))
                            || config.containers.allow.contains_key(&spec.parent.to_string()) =>
                    {
                        rows.push(AttachRow { state: RowState::Failed, reason: chain(&error), ..row });
                    }
                    Err(_) => {
                        refused.insert(ask.source.as_str());
                        let parent = spec.parent.to_string();
                        let refusal = config.containers.judge(&parent, None, true, false, false, spec).err();
                        let reason = format!("containers may not use {parent} in this way");
                        let allow = refusal.map(|refusal| refusal.to_string());
                        rows.push(AttachRow { parent: Some(parent), reason, allow, ..row });
                    }
                    Ok(resolved) => {
                        let parent = Some(resolved.named());
                        let apart = resolved.needs_shim();
                        let reached = apart && ask.host_route;
                        let (kind, followed) = (Some(resolved.kind()), resolved.followed);
                        let named = resolved.named();
                        let judge =
                            |make| config.containers.judge(&named, kind, followed, reached, make, spec);
                        if let Err(refusal) = judge(false) {
                            refused.insert(ask.source.as_str());
                            let reason = format!("containers may not use {named} in this way");
                            rows.push(AttachRow { parent, reason, allow: Some(refusal.to_string()), ..row });
                            continue;
                        }
                        if let Err(refusal) = judge(resolved.make) {
                            // It may come: at boot containers can be earlier than the host's bridges.
                            let (state, allow) = (RowState::Failed, Some(refusal.to_string()));
                            let reason = format!("there is no {named}, and containers may not have it made");
                            rows.push(AttachRow { parent, state, reason, allow, ..row });
                            continue;
                        }
                        let mut spec = (**spec).clone();
                        if resolved.is_open_trunk() {
                            spec.options.insert("trunks".into(), "none".into());
                        }
                        if apart && (ask.host_route || config.containers.host_routes) {
                            spec.options.insert("host_access".into(), "true".into());
                        }
                        let request = AttachRequest {
                            target: target.clone(),
                            spec,
                            origin: Origin::Container(ask.source.clone()),
                            place: place.clone(),
                            again: false,
                            may_make: resolved.make,
                        };
                        let (attach, stop) = (self.attach.clone(), stop.clone());
                        attempts.spawn(async move {
                            let done = within(&attach, request, &stop).await;
                            done.err().map(|error| AttachRow {
                                parent,
                                state: RowState::Failed,
                                reason: chain(&error),
                                ..row
                            })
                        });
                    }
                },
            }
        }
        self.take_back(container, &refused).await;
        while let Some(attempt) = attempts.join_next().await {
            rows.extend(attempt.ok().flatten());
        }
        if config.containers.changes {
            rows.extend(self.changes(place, &container.id, &target, asks).await);
        }
        rows
    }

    /// Detaches what the container had while it was allowed.
    async fn take_back(&self, container: &ContainerRecord, refused: &BTreeSet<&str>) {
        for record in self.attach.records() {
            let mine = record.container.as_ref().is_some_and(|owner| owner.id == container.id);
            let Origin::Container(source) = &record.origin else { continue };
            if !mine || !refused.contains(source.as_str()) {
                continue;
            }
            tracing::info!(container = container.name, source, "no longer allowed; detached");
            if let Err(error) = self.attach.detach_by_id(&record.id, true).await {
                tracing::warn!(error = %chain(&error), "an attachment could not be taken back");
            }
        }
    }

    /// Each once in a namespace: what somebody changes after that stays.
    async fn changes(
        &self,
        place: &TargetSandbox,
        container: &str,
        target: &Target,
        asks: &[Ask],
    ) -> Vec<AttachRow> {
        let mut rows = Vec::new();
        for ask in asks {
            let Ok(Request::Change(change)) = &ask.request else { continue };
            let change = (ask.source.as_str(), change);
            if let Err(error) = self.attach.change_once(container, target, &place.sandbox, change).await {
                rows.push(failed(&name(place, target), &ask.source, None, &error));
            }
        }
        rows
    }

    async fn within(&self, request: AttachRequest, stop: &CancellationToken) -> Result<(), AttachFailure> {
        within(&self.attach, request, stop).await
    }
}

/// One attempt, given up when its time is over.
async fn within(
    attach: &Arc<Attachments>,
    request: AttachRequest,
    stop: &CancellationToken,
) -> Result<(), AttachFailure> {
    let stop = stop.child_token();
    let work = attach.attach(request, stop.clone());
    tokio::pin!(work);
    if let Ok(done) = tokio::time::timeout(DEADLINE, &mut work).await {
        return done.map(drop);
    }
    stop.cancel();
    work.await.map(drop)
}

fn name(place: &TargetSandbox, target: &Target) -> String {
    place.container.as_ref().map_or_else(|| target.to_string(), |container| container.name.clone())
}

fn failed(container: &str, source: &str, parent: Option<String>, error: &AttachFailure) -> AttachRow {
    tracing::warn!(container, source, error = %chain(error), "not attached");
    AttachRow {
        container: container.to_owned(),
        source: source.to_owned(),
        parent,
        state: RowState::Failed,
        reason: chain(error),
        allow: None,
    }
}
