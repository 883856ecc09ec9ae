//! The attacher: makes jobs of requests, labels and the configuration, and gives each sandbox a worker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landline_attach::{AttachFailure, AttachRequest, AttachmentRecord, Attachments, Origin};
use landline_docker::DockerView;
use landline_links::blocking;
use landline_options::{Attach, Change, ConfigError, ConfigFile, Pipework, Target};
use landline_types::{IfName, chain};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::board::{AttachRow, Board, RowState};
use super::drop_in::DropIn;
use super::jobs::{Job, Jobs, Key, Linux, Over, find, jobs};
use super::places::Places;
use super::work::Worker;
use crate::control::Answer;

/// How long word of a container that was just started may be late.
const LATE: Duration = Duration::from_secs(2);

/// Where a container is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Where {
    /// A path that names its network namespace.
    pub(crate) sandbox: PathBuf,
    /// Its first process, if Docker says so.
    pub(crate) pid: Option<u32>,
    /// Its name, if it is one of Docker's.
    pub(crate) name: Option<String>,
}

/// What attaches.
pub(crate) struct Attacher {
    attach: Arc<Attachments>,
    view: watch::Receiver<Arc<DockerView>>,
    /// The configuration file; one of docker-pipework's has none.
    config_path: Option<PathBuf>,
    drop_in: Option<DropIn>,
    config: watch::Sender<Arc<ConfigFile>>,
    /// Why the configuration was not taken when it was read last.
    broken: Mutex<Option<String>>,
    board: Arc<Board>,
    /// Something was attached or detached by command, or else is to be looked at again.
    changed: Arc<Notify>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}:{}:{}: {}", wrong.line, wrong.column, wrong.message)]
    Content { path: PathBuf, wrong: ConfigError },
}

/// Reads the configuration; one that is not there says nothing.
pub(super) fn read(path: &Path) -> Result<(String, ConfigFile), SettingsError> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.map_err(|source| SettingsError::Read { path: path.into(), source })?,
    };
    let file = ConfigFile::parse(&text);
    Ok((text, file.map_err(|wrong| SettingsError::Content { path: path.into(), wrong })?))
}

/// What the configuration says.
pub(crate) fn read_config(path: &Path) -> Result<ConfigFile, SettingsError> {
    read(path).map(|(_, config)| config)
}

impl Attacher {
    /// One whose configuration was read from this file, and is read from there again.
    pub(crate) fn new(
        attach: Arc<Attachments>,
        view: watch::Receiver<Arc<DockerView>>,
        config: ConfigFile,
        config_path: PathBuf,
    ) -> Self {
        Self::with(attach, view, config, Some(config_path), None)
    }

    /// One that is configured as docker-pipework is.
    pub(crate) fn drop_in(
        attach: Arc<Attachments>,
        view: watch::Receiver<Arc<DockerView>>,
        drop_in: DropIn,
    ) -> Self {
        Self::with(attach, view, drop_in.config.clone(), None, Some(drop_in))
    }

    fn with(
        attach: Arc<Attachments>,
        view: watch::Receiver<Arc<DockerView>>,
        config: ConfigFile,
        config_path: Option<PathBuf>,
        drop_in: Option<DropIn>,
    ) -> Self {
        let config = watch::Sender::new(Arc::new(config));
        Self {
            attach,
            view,
            config_path,
            drop_in,
            config,
            broken: Mutex::default(),
            board: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Reads the configuration again. One that is wrong changes nothing.
    pub(crate) fn reload(&self) -> Result<(), SettingsError> {
        let Some(path) = &self.config_path else { return Ok(()) };
        let config = read_config(path);
        *self.broken() = config.as_ref().err().map(|error| chain(error));
        let config = config?;
        self.config.send_replace(Arc::new(config));
        tracing::info!(path = %path.display(), "configuration read");
        Ok(())
    }

    pub(super) fn attachments(&self) -> Arc<Attachments> {
        self.attach.clone()
    }

    /// Something was attached or detached.
    pub(super) fn look_again(&self) {
        self.changed.notify_one();
    }

    fn broken(&self) -> MutexGuard<'_, Option<String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the configuration file was not taken when it was read last, if it was not.
    pub(crate) fn broken_config(&self) -> Option<String> {
        self.broken().clone()
    }

    /// The configuration as it was taken last.
    pub(crate) fn config(&self) -> watch::Receiver<Arc<ConfigFile>> {
        self.config.subscribe()
    }

    /// What is not attached, and why.
    pub(crate) fn rows(&self) -> Vec<AttachRow> {
        self.board.rows()
    }

    /// Makes what there should be, until `cancel`.
    pub(crate) async fn follow(self: Arc<Self>, cancel: CancellationToken) {
        let (mut view, mut config) = (self.view.clone(), self.config.subscribe());
        let tasks = TaskTracker::new();
        let mut workers: BTreeMap<Key, watch::Sender<Option<Job>>> = BTreeMap::new();
        let mut scope = self.drop_in.as_ref().map(DropIn::scope);
        let mut places = Places::new(self.changed.clone());
        loop {
            workers.retain(|_, worker| !worker.is_closed());
            let (seen, wanted) = (view.borrow_and_update().clone(), config.borrow_and_update().clone());
            let mut all = self.jobs(&seen, &wanted).await;
            if places.follow(&all.watched) {
                // What happened before they were followed is found by a second look.
                self.changed.notify_one();
            }
            if let Some(scope) = &mut scope {
                if seen.connected && scope.begins(&seen, &all) {
                    tasks.spawn(self.clone().manual(cancel.clone()));
                }
                all.wanted.retain(|key, job| scope.covers(key, job));
            }
            for (_, worker) in workers.iter().filter(|(key, _)| all.lack(key)) {
                worker.send_if_modified(|job| job.take().is_some());
            }
            for (key, job) in std::mem::take(&mut all.wanted) {
                let worker = workers.entry(key.clone()).or_insert_with(|| {
                    let (sender, receiver) = watch::channel(Some(job.clone()));
                    let (attach, board, gone) =
                        (self.attach.clone(), self.board.clone(), self.changed.clone());
                    tasks.spawn(Worker { key, attach, board, job: receiver, gone }.run(cancel.clone()));
                    sender
                });
                worker.send_if_modified(|now| {
                    let differs = now.as_ref() != Some(&job);
                    *now = Some(job);
                    differs
                });
            }
            for (record, how) in all.over {
                tasks.spawn(self.clone().end(record, how));
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                changed = view.changed() => if changed.is_err() { break },
                changed = config.changed() => if changed.is_err() { break },
                () = self.changed.notified() => {}
                () = places.changed() => {}
            }
        }
        drop(workers);
        tasks.close();
        tasks.wait().await;
    }

    /// What there should be.
    async fn jobs(&self, view: &Arc<DockerView>, config: &Arc<ConfigFile>) -> Jobs {
        let (view, records, config) = (view.clone(), self.attach.records(), config.clone());
        blocking(move || jobs(&view, &records, &config)).await
    }

    /// Ends an attachment that nobody can want any more.
    async fn end(self: Arc<Self>, record: AttachmentRecord, how: Over) {
        match self.attach.detach_by_id(&record.id, how != Over::Removed).await {
            Ok(true) if matches!(record.target, Target::Pid(_)) => {
                let process = record.target.to_string();
                self.board.end(AttachRow {
                    reason: format!("{process} has exited; its interfaces are gone"),
                    container: process,
                    source: "landline attach".into(),
                    parent: Some(record.spec.parent.to_string()),
                    state: RowState::Ended,
                    allow: None,
                });
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %chain(&error), "an attachment could not be ended"),
        }
    }

    /// docker-pipework's commands of its own (`cmd`), in order.
    async fn manual(self: Arc<Self>, cancel: CancellationToken) {
        for command in self.drop_in.iter().flat_map(|drop_in| &drop_in.commands) {
            let answer = match command.clone() {
                Pipework::Attach(attach) => self.attach(attach, false, &cancel).await,
                Pipework::Change(target, change) => self.change(&target, &change).await,
                Pipework::Wait(_) => continue,
            };
            if let Answer::Error(error) = answer {
                tracing::error!(error, "a command was not carried out");
            }
        }
    }

    /// `landline attach`.
    pub(crate) async fn attach(
        self: &Arc<Self>,
        attach: Attach,
        dry_run: bool,
        cancel: &CancellationToken,
    ) -> Answer {
        let Some(place) = self.find(&attach.target).await else { return not_running(&attach.target) };
        let Attach { target, spec } = attach;
        let request =
            AttachRequest { target, spec, origin: Origin::Command, place, again: false, may_make: true };
        if dry_run {
            return match self.attach.script(&request).await {
                Ok(script) => Answer::Script(script),
                Err(error) => Answer::Error(chain(&error)),
            };
        }
        self.board.forget(&request.target.to_string());
        // Whoever hangs up does not leave half an interface behind.
        let (attach, cancel) = (self.attach.clone(), cancel.clone());
        let work = tokio::spawn(async move { attach.attach(request, cancel).await });
        let answer = match work.await {
            Ok(Ok(view)) => Answer::Attachments(vec![view]),
            Ok(Err(error)) => Answer::Error(chain(&error)),
            Err(error) => Answer::Error(error.to_string()),
        };
        self.changed.notify_one();
        answer
    }

    /// `landline detach`.
    pub(crate) async fn detach(&self, target: &Target, name: Option<&IfName>) -> Answer {
        let ended = self.board.forget(&target.to_string());
        let answer = match self.attach.detach(target, name).await {
            Ok(_) => Answer::Done,
            Err(AttachFailure::Unknown { .. }) if ended => Answer::Done,
            Err(error @ AttachFailure::Unknown { .. }) => Answer::NotFound(chain(&error)),
            Err(error) => Answer::Error(chain(&error)),
        };
        self.changed.notify_one();
        answer
    }

    /// `pipework route|rule|tc`.
    pub(crate) async fn change(&self, target: &Target, change: &Change) -> Answer {
        let Some(place) = self.find(target).await else { return not_running(target) };
        match self.attach.change(target, &place.sandbox, change).await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Error(chain(&error)),
        }
    }

    /// Where a container is.
    pub(crate) async fn locate(&self, target: &Target) -> Answer {
        let Some(place) = self.find(target).await else { return not_running(target) };
        let pid = match (target, &place.container) {
            (Target::Pid(pid), _) => Some(*pid),
            (_, Some(container)) => match self.view.borrow().containers.get(&container.id) {
                Some(landline_docker::Sketch::Info(info)) => info.pid,
                _ => None,
            },
            _ => None,
        };
        let name = place.container.map(|container| container.name);
        Answer::Where(Where { sandbox: place.sandbox, pid, name })
    }

    /// Where a target is; waits a little for one that Docker may have started just now.
    async fn find(&self, target: &Target) -> Option<landline_attach::TargetSandbox> {
        let mut view = self.view.clone();
        let look = async {
            loop {
                let (seen, wanted) = (view.borrow_and_update().clone(), target.clone());
                if let Some(place) = blocking(move || find(&Linux, &seen, &wanted)).await {
                    return Some(place);
                }
                if !matches!(target, Target::Container(_)) || view.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(LATE, look).await.ok().flatten()
    }
}

fn not_running(target: &Target) -> Answer {
    let text = match target {
        Target::Container(name) => {
            format!("no running container is called {name}; docker ps shows those that are")
        }
        Target::Pid(pid) => format!("there is no process {pid}"),
        Target::Netns(path) => format!("there is no network namespace at {}", path.display()),
    };
    Answer::NotFound(text)
}
