//! What there should be, as a value: of Docker's view, the store, and the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use landline_attach::{
    AttachmentId, AttachmentRecord, Origin, TargetSandbox, is_named, namespace_at, process_called,
};
use landline_docker::{ContainerInfo, DockerView, Sketch};
use landline_options::{Ask, Asker, AttachSpec, ConfigFile, Target};

/// Whose a job is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A container that asks for something, by id.
    Container(String),
    /// An attachment that was made by command.
    Command(AttachmentId),
    /// One of the configuration file, by its place there.
    Config(usize),
}

/// What is to be done for one of them, in one sandbox.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    /// Where.
    pub(super) place: TargetSandbox,
    /// Which namespace that is, where no event of Docker's says that it is another one.
    pub(super) namespace: Option<String>,
    /// What.
    pub(super) work: Work,
}

/// What paths and the numbers of processes mean now.
pub(super) trait Kernel {
    /// The namespace that a path names ([`namespace_at`]).
    fn namespace_at(&self, path: &Path) -> Option<String>;
    /// The process that has a number ([`process_called`]).
    fn process_called(&self, pid: u32) -> Option<String>;
    /// Whether there is anything at a path.
    fn exists(&self, path: &Path) -> bool;
}

/// The host's. Each call blocks for the time of a look into `/proc` or a file system.
pub(super) struct Linux;

impl Kernel for Linux {
    fn namespace_at(&self, path: &Path) -> Option<String> {
        namespace_at(path)
    }

    fn process_called(&self, pid: u32) -> Option<String> {
        process_called(pid)
    }

    fn exists(&self, path: &Path) -> bool {
        // A link of /proc is followed to the namespace, which is no path.
        std::fs::metadata(path).is_ok()
    }
}

impl Job {
    fn new(kernel: &dyn Kernel, target: &Target, place: TargetSandbox, work: Work) -> Self {
        let alone = !matches!(target, Target::Container(_));
        let namespace = alone.then(|| kernel.namespace_at(&place.sandbox)).flatten();
        Self { place, namespace, work }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// What a container asks for, as far as the configuration allows.
    Asked(Vec<Ask>, Arc<ConfigFile>),
    /// What the administrator wants.
    Wanted(Target, Box<AttachSpec>, Origin),
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// What there should be.
    pub(super) wanted: BTreeMap<Key, Job>,
    /// Attachments that nobody can want any more.
    pub(super) over: Vec<(AttachmentRecord, Over)>,
    /// Those of whose containers nothing can be known while Docker cannot be seen: they stay as they are.
    unseen: BTreeSet<Key>,
    /// Whether Docker can be seen.
    docker: bool,
    /// Processes and namespaces that something is, or is to be, attached to.
    pub(super) watched: BTreeSet<Target>,
}

impl Jobs {
    /// Whether nothing is to be there for a key any more.
    pub(super) fn lack(&self, key: &Key) -> bool {
        let seen = self.docker || !matches!(key, Key::Container(_));
        seen && !self.wanted.contains_key(key) && !self.unseen.contains(key)
    }

    /// Does the work there, if the target is there.
    fn place(&mut self, kernel: &dyn Kernel, view: &DockerView, key: Key, target: &Target, work: Work) {
        match target {
            Target::Container(_) if !self.docker => {
                self.unseen.insert(key);
                return;
            }
            Target::Container(_) => {}
            Target::Pid(_) | Target::Netns(_) => {
                self.watched.insert(target.clone());
            }
        }
        if let Some(place) = find(kernel, view, target) {
            self.wanted.insert(key, Job::new(kernel, target, place, work));
        }
    }
}

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// For good.
    Gone,
    /// Its container was removed; a recreated one may ask for it again.
    Removed,
    /// It is no longer in the configuration file.
    Unwanted,
}

/// Computes it. Blocks.
pub(super) fn jobs(view: &DockerView, records: &[AttachmentRecord], config: &Arc<ConfigFile>) -> Jobs {
    planned(&Linux, view, records, config)
}

fn planned(
    kernel: &dyn Kernel,
    view: &DockerView,
    records: &[AttachmentRecord],
    config: &Arc<ConfigFile>,
) -> Jobs {
    // What Docker had when it was last seen still runs; only its events say otherwise.
    let mut all = Jobs { docker: view.connected, ..Jobs::default() };
    for info in running(view).filter(|_| view.connected) {
        let Some(place) = place(kernel, info) else { continue };
        let asker = Asker {
            id: &info.container_id,
            name: &info.name,
            hostname: &info.hostname,
            labels: &info.labels,
            environment: &info.environment,
        };
        let asked = asker.requests();
        let keyed = config.containers.key.is_none() || asked.key == config.containers.key;
        if keyed && !asked.all.is_empty() {
            let work = Work::Asked(asked.all, config.clone());
            let job = Job { place, namespace: None, work };
            all.wanted.insert(Key::Container(info.container_id.clone()), job);
        }
    }
    for record in records {
        let over = match &record.origin {
            Origin::Command if is_over(kernel, view, record) => Some(Over::Gone),
            Origin::Command => {
                let (target, spec) = (record.target.clone(), Box::new(record.spec.clone()));
                let work = Work::Wanted(target, spec, Origin::Command);
                all.place(kernel, view, Key::Command(record.id.clone()), &record.target, work);
                None
            }
            Origin::Config => {
                let wanted = |s: &landline_options::Standing| {
                    s.container == record.target && s.interface == record.spec
                };
                (!config.attach.iter().any(wanted)).then_some(Over::Unwanted)
            }
            Origin::Runtime(_) => {
                all.watched.insert(record.target.clone());
                let ended = has_lost_namespace(kernel, record);
                // A container of the same name may be about to start.
                ended.then_some(if is_named(record) { Over::Removed } else { Over::Gone })
            }
            Origin::Container(_) => {
                let there = record.container.as_ref().is_some_and(|c| view.containers.contains_key(&c.id));
                (view.connected && !there).then_some(Over::Removed)
            }
        };
        all.over.extend(over.map(|over| (record.clone(), over)));
    }
    for (number, standing) in config.attach.iter().enumerate() {
        let (target, spec) = (standing.container.clone(), Box::new(standing.interface.clone()));
        let work = Work::Wanted(target, spec, Origin::Config);
        all.place(kernel, view, Key::Config(number), &standing.container, work);
    }
    all
}

fn running(view: &DockerView) -> impl Iterator<Item = &ContainerInfo> {
    view.containers.values().filter_map(|sketch| match sketch {
        Sketch::Info(info) if info.running => Some(&**info),
        _ => None,
    })
}

/// Whether the namespace of a runtime's attachment is gone. The runtime names another one if the container starts again.
fn has_lost_namespace(kernel: &dyn Kernel, record: &AttachmentRecord) -> bool {
    match (&record.inside, &record.target) {
        (Some(there), _) => kernel.namespace_at(&there.sandbox).as_ref() != Some(&there.namespace),
        (None, Target::Netns(path)) => kernel.namespace_at(path).is_none(),
        (None, _) => false,
    }
}

/// Whether what a target means can never come back: a process or an id that is gone.
fn is_over(kernel: &dyn Kernel, view: &DockerView, record: &AttachmentRecord) -> bool {
    match &record.target {
        Target::Pid(pid) => {
            let now = kernel.process_called(*pid);
            let is_another = record.process.is_some() && now != record.process;
            now.is_none() || is_another || !kernel.exists(&of_process(*pid))
        }
        Target::Netns(_) => false,
        Target::Container(_) if !view.connected => false,
        Target::Container(name) => {
            // By name, a recreated container is meant as well.
            record
                .container
                .as_ref()
                .is_some_and(|c| name.is_id_of(&c.id) && !view.containers.contains_key(&c.id))
        }
    }
}

/// Where a target is now; `None`: it does not run.
pub(super) fn find(kernel: &dyn Kernel, view: &DockerView, target: &Target) -> Option<TargetSandbox> {
    match target {
        Target::Container(name) => {
            let mut all: Vec<&ContainerInfo> =
                running(view).filter(|info| name.means(&info.container_id, &info.name)).collect();
            // A name counts more than the beginning of another's id.
            all.sort_by_key(|info| info.name != name.as_str());
            place(kernel, all.first()?)
        }
        Target::Pid(pid) => existing(kernel, of_process(*pid)),
        Target::Netns(path) => existing(kernel, path.clone()),
    }
}

fn of_process(pid: u32) -> PathBuf {
    format!("/proc/{pid}/ns/net").into()
}

fn existing(kernel: &dyn Kernel, sandbox: PathBuf) -> Option<TargetSandbox> {
    // What is no namespace, the file for instance that one is about to be mounted over, is none yet.
    kernel.namespace_at(&sandbox).is_some().then_some(TargetSandbox { sandbox, container: None })
}

/// Where a running container is: its sandbox, or that of the container it shares one with.
fn place(kernel: &dyn Kernel, info: &ContainerInfo) -> Option<TargetSandbox> {
    let of_process = || info.pid.map(of_process);
    // Where Landline itself is in a container, Docker's bind mounts may be out of sight.
    let bound = info.sandbox.clone().filter(|path| kernel.exists(path));
    let sandbox = bound.or_else(of_process)?;
    Some(TargetSandbox { sandbox, container: Some(crate::frontend::record(info)) })
}

#[cfg(test)]
mod tests;
