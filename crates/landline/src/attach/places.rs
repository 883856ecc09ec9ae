//! Following what is no container of Docker's: processes until they end, and paths of namespaces.
//!
//! A path names another namespace, or none, when something is mounted or unmounted there. Which of them it was the kernel
//! does not say, so all are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::path::{Component, Path};
use std::sync::Arc;

use landline_kernel::{MountWatch, ProcessWatch};
use landline_options::Target;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

pub(super) struct Places {
    /// Those of which a task waits for the end.
    processes: BTreeMap<u32, AbortHandle>,
    mounts: Option<MountWatch>,
    ended: Arc<Notify>,
}

impl Places {
    /// `ended` is told of processes that end.
    pub(super) fn new(ended: Arc<Notify>) -> Self {
        Self { processes: BTreeMap::new(), mounts: None, ended }
    }

    /// Follows these from now on, and no others. `true`: some of them were not followed before.
    pub(super) fn follow(&mut self, targets: &BTreeSet<Target>) -> bool {
        let processes: BTreeSet<u32> = targets.iter().filter_map(process).collect();
        self.processes.retain(|pid, task| {
            let kept = processes.contains(pid) && !task.is_finished();
            if !kept {
                task.abort();
            }
            kept
        });
        let mut new = false;
        for pid in processes {
            // One that is gone is not followed, and was seen to be gone.
            if !self.processes.contains_key(&pid)
                && let Ok(watch) = ProcessWatch::open(pid)
            {
                let ended = self.ended.clone();
                let task = tokio::spawn(async move {
                    if watch.ended().await.is_ok() {
                        ended.notify_one();
                    }
                });
                self.processes.insert(pid, task.abort_handle());
                new = true;
            }
        }
        if !targets.iter().any(|target| matches!(target, Target::Netns(_))) {
            self.mounts = None;
        } else if self.mounts.is_none() {
            match MountWatch::open() {
                Ok(watch) => (self.mounts, new) = (Some(watch), true),
                Err(error) => tracing::warn!(%error, "namespaces cannot be followed: mounts are not told"),
            }
        }
        new
    }

    /// Waits until a path may name another namespace.
    pub(super) async fn changed(&mut self) {
        let Some(mounts) = &mut self.mounts else { return pending().await };
        if let Err(error) = mounts.changed().await {
            tracing::warn!(%error, "namespaces are no longer followed");
            self.mounts = None;
            pending::<()>().await;
        }
    }
}

/// The process of a target, if it goes with one: `pid:N`, or a path like `/proc/N/ns/net`.
fn process(target: &Target) -> Option<u32> {
    match target {
        Target::Pid(pid) => Some(*pid),
        Target::Netns(path) => of_path(path).or_else(|| of_path(&std::fs::read_link(path).ok()?)),
        Target::Container(_) => None,
    }
}

fn of_path(path: &Path) -> Option<u32> {
    let mut parts = path.strip_prefix("/proc").ok()?.components();
    match parts.next()? {
        Component::Normal(pid) => pid.to_str()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_under_proc_go_with_their_process() {
        let process = |text: &str| process(&text.parse().unwrap());
        assert_eq!(process("netns:/proc/4711/ns/net"), Some(4711));
        assert_eq!(process("netns:/run/netns/4711"), None);
        assert_eq!(process("netns:/proc/self/ns/net"), None);
        assert_eq!(process("pid:12"), Some(12));
        assert_eq!(process("web"), None);
    }
}
