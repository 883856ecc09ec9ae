//! What there should be, as a value: of Docker's view, the store, and the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use landline_docker::{ContainerInfo, DockerView, Sketch};
use landline_engine::{AttachmentId, AttachmentRecord, Occupied, Origin};
use landline_spec::{Ask, Asker, AttachSpec, ConfigFile, Target};

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
    pub(super) place: Occupied,
    /// What.
    pub(super) work: Work,
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
    pub(super) jobs: BTreeMap<Key, Job>,
    /// Attachments that nobody can want any more.
    pub(super) over: Vec<(AttachmentId, Over)>,
}

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// For good.
    Gone,
    /// Its container was removed; one made anew may ask for it again.
    Removed,
    /// It is no longer in the configuration file.
    Unwanted,
}

/// Computes it.
pub(super) fn jobs(view: &DockerView, records: &[AttachmentRecord], config: &Arc<ConfigFile>) -> Jobs {
    let mut all = Jobs::default();
    for info in running(view) {
        let Some(place) = place(info) else { continue };
        let asker = Asker {
            id: &info.container_id,
            name: &info.name,
            hostname: &info.hostname,
            labels: &info.labels,
            environment: &info.environment,
        };
        let asked = asker.asks();
        let keyed = config.containers.key.is_none() || asked.key == config.containers.key;
        if keyed && !asked.wishes.is_empty() {
            let work = Work::Asked(asked.wishes, config.clone());
            all.jobs.insert(Key::Container(info.container_id.clone()), Job { place, work });
        }
    }
    for record in records {
        match &record.origin {
            Origin::Command => match find(view, &record.target) {
                Some(place) => {
                    let work =
                        Work::Wanted(record.target.clone(), Box::new(record.spec.clone()), Origin::Command);
                    all.jobs.insert(Key::Command(record.id.clone()), Job { place, work });
                }
                None if is_over(view, record) => all.over.push((record.id.clone(), Over::Gone)),
                None => {}
            },
            Origin::Config => {
                let wanted =
                    |s: &landline_spec::Standing| s.container == record.target && s.interface == record.spec;
                if !config.attach.iter().any(wanted) {
                    all.over.push((record.id.clone(), Over::Unwanted));
                }
            }
            Origin::Container(_) => {
                let there = record.container.as_ref().is_some_and(|c| view.containers.contains_key(&c.id));
                if !there {
                    all.over.push((record.id.clone(), Over::Removed));
                }
            }
        }
    }
    for (number, standing) in config.attach.iter().enumerate() {
        if let Some(place) = find(view, &standing.container) {
            let work = Work::Wanted(
                standing.container.clone(),
                Box::new(standing.interface.clone()),
                Origin::Config,
            );
            all.jobs.insert(Key::Config(number), Job { place, work });
        }
    }
    all
}

fn running(view: &DockerView) -> impl Iterator<Item = &ContainerInfo> {
    view.containers.values().filter_map(|sketch| match sketch {
        Sketch::Info(info) if info.running => Some(&**info),
        _ => None,
    })
}

/// Whether what a target means can never come back: a process or an id that is gone.
fn is_over(view: &DockerView, record: &AttachmentRecord) -> bool {
    match &record.target {
        Target::Pid(_) => true,
        Target::Netns(_) => false,
        Target::Container(name) => {
            // By name a container made anew is meant as well.
            record
                .container
                .as_ref()
                .is_some_and(|c| name.is_id_of(&c.id) && !view.containers.contains_key(&c.id))
        }
    }
}

/// Where a target is now; `None`: it does not run.
pub(super) fn find(view: &DockerView, target: &Target) -> Option<Occupied> {
    match target {
        Target::Container(name) => {
            let mut all: Vec<&ContainerInfo> =
                running(view).filter(|info| name.means(&info.container_id, &info.name)).collect();
            // A name counts more than the beginning of another's id.
            all.sort_by_key(|info| info.name != name.as_str());
            place(all.first()?)
        }
        Target::Pid(pid) => existing(format!("/proc/{pid}/ns/net").into()),
        Target::Netns(path) => existing(path.clone()),
    }
}

fn existing(sandbox: PathBuf) -> Option<Occupied> {
    // A link of /proc is followed to the namespace, which is no path.
    std::fs::metadata(&sandbox).is_ok().then_some(Occupied { sandbox, container: None })
}

/// Where a running container is: its sandbox, or that of the container it shares one with.
pub(super) fn place(info: &ContainerInfo) -> Option<Occupied> {
    let of_process = || info.pid.map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
    // Where Landline itself is in a container, Docker's bind mounts may be out of sight.
    let bound = info.sandbox.clone().filter(|path| std::fs::metadata(path).is_ok());
    let sandbox = bound.or_else(of_process)?;
    Some(Occupied { sandbox, container: Some(crate::frontend::record(info)) })
}
