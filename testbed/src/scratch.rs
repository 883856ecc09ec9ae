//! The scratch directory of a lab, which is also the lab's name and its life: a lab exists as long as somebody
//! holds the lock in its directory (or until `down`, if it was left on purpose). Whatever a dead owner left
//! behind can be found from the directory alone and removed by anybody.
//!
//! ```text
//! $LANDLINE_TESTBED_DIR/                 default $TMPDIR/landline-testbed
//!   box-<version>.tar                    the container image, made once
//!   ll<pid>_<n>/                         one lab; its namespaces are /run/netns/ll<pid>_<n>-<node>
//!     lock  kept                         who owns it; whether it outlives its owner
//!     <node>/                            logs, leases, configuration, the state of a Docker host
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result};
use crate::process::run;
use crate::wait::wait_for;

/// Where named network namespaces are mounted (`ip-netns(8)`).
const NETNS_DIR: &str = "/run/netns";
/// Marks a lab that stays when its owner ends (`testbed up`).
const KEPT: &str = "kept";
/// The file with the pid (seen from outside) of a Docker host's init.
pub(crate) const INIT_PID: &str = "init.pid";

/// A lab's directory and lock. Dropping it removes everything that belongs to the lab.
#[derive(Debug)]
pub(crate) struct Scratch {
    name: String,
    dir: PathBuf,
    /// Held for as long as the lab lives; closed by the kernel if we die.
    _lock: File,
}

impl Scratch {
    /// A new lab with a name no other lab on this machine has.
    pub(crate) fn new() -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let base = base_dir()?;
        loop {
            let n = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!("ll{}_{}", base36(std::process::id()), base36(n));
            let dir = base.join(&name);
            match fs::DirBuilder::new().mode(0o755).create(&dir) {
                Ok(()) => {}
                // Left by an earlier process with our pid.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(Error::file("cannot make", &dir)(source)),
            }
            // A cleaner may come by between the two calls and take the directory for a leftover.
            match lock(&dir)? {
                Some(lock) if dir.join("lock").exists() => return Ok(Self { name, dir, _lock: lock }),
                _ => {}
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name of a node's network namespace.
    pub(crate) fn netns(&self, node: &str) -> String {
        format!("{}-{node}", self.name)
    }

    /// Leaves the lab in place when this value is dropped or this process ends.
    pub(crate) fn keep(&self) -> Result<()> {
        let path = self.dir.join(KEPT);
        fs::write(&path, "").map_err(Error::file("cannot write", &path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.dir.join(KEPT).exists() {
            remove_lab(&self.dir);
        }
    }
}

/// Where a node's network namespace can be entered.
pub(crate) fn netns_path(netns: &str) -> PathBuf {
    Path::new(NETNS_DIR).join(netns)
}

/// The directory of all labs; made if it is not there.
pub(crate) fn base_dir() -> Result<PathBuf> {
    let dir = std::env::var_os("LANDLINE_TESTBED_DIR")
        .map_or_else(|| std::env::temp_dir().join("landline-testbed"), PathBuf::from);
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&dir).map_err(Error::file("cannot make", &dir))?;
    Ok(dir)
}

/// Directories of the labs that were left in place by [`Scratch::keep`].
pub(crate) fn kept_labs() -> Result<Vec<PathBuf>> {
    Ok(lab_dirs()?.into_iter().filter(|dir| dir.join(KEPT).exists()).collect())
}

/// Removes the labs whose owner is dead; those that were kept too if `kept_too`. Names of the removed ones.
pub fn clean(kept_too: bool) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for dir in lab_dirs()? {
        if dir.join(KEPT).exists() && !kept_too {
            continue;
        }
        if let Some(_lock) = lock(&dir)? {
            remove_lab(&dir);
            removed.extend(dir.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    Ok(removed)
}

fn lab_dirs() -> Result<Vec<PathBuf>> {
    let base = base_dir()?;
    let entries = fs::read_dir(&base).map_err(Error::file("cannot list", &base))?;
    Ok(entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("ll"))
        .map(|entry| entry.path())
        .collect())
}

/// The lab's lock, unless somebody else holds it.
fn lock(dir: &Path) -> Result<Option<File>> {
    let path = dir.join("lock");
    let file = match File::options().create(true).truncate(false).write(true).open(&path) {
        Ok(file) => file,
        // Removed by another cleaner just now.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::file("cannot open", path)(source)),
    };
    Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file))
}

/// Ends every process of a lab and removes its namespaces, control groups and files. Does what can be done:
/// a failure in one place does not keep the rest from being removed.
pub(crate) fn remove_lab(dir: &Path) {
    let Some(name) = dir.file_name().map(|name| name.to_string_lossy().into_owned()) else { return };
    let prefix = format!("{name}-");
    let namespaces: Vec<String> = fs::read_dir(NETNS_DIR)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|netns| netns.starts_with(&prefix))
        .collect();
    end_processes(&namespaces);
    for netns in &namespaces {
        delete_netns(netns);
        if let Some(node) = netns.strip_prefix(&prefix) {
            remove_cgroups(&cgroup(&name, node));
        }
    }
    remove_tree(dir);
}

/// Removes one node of a lab: its processes, namespace, control groups and files.
pub(crate) fn remove_node(scratch: &Scratch, node: &str) {
    let netns = scratch.netns(node);
    end_processes(std::slice::from_ref(&netns));
    delete_netns(&netns);
    remove_cgroups(&cgroup(scratch.name(), node));
    remove_tree(&scratch.dir().join(node));
}

/// The control group below which a Docker host keeps its containers.
pub(crate) fn cgroup(lab: &str, node: &str) -> String {
    format!("{lab}-{node}")
}

/// Kills whatever runs in these network namespaces, and every pid namespace whose init does.
/// Containers have network namespaces of their own, but go with the init of their host.
pub(crate) fn end_processes(namespaces: &[String]) {
    let inodes: BTreeSet<u64> =
        namespaces.iter().filter_map(|netns| fs::metadata(netns_path(netns)).ok()).map(|m| m.ino()).collect();
    let inside = || -> Vec<Pid> {
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                fs::metadata(entry.path().join("ns/net")).is_ok_and(|net| inodes.contains(&net.ino()))
            })
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
            .collect()
    };
    let own = rustix::process::getpid();
    let mut killed = BTreeSet::new();
    let _ = wait_for("end of processes", Duration::from_secs(10), || {
        for pid in inside().into_iter().filter(|pid| *pid != own) {
            let _ = kill_process(pid, Signal::KILL);
            killed.insert(pid.as_raw_nonzero());
        }
        // An init has left its network namespace before the last process of its pid namespace is gone.
        killed.retain(|pid| !has_ended(pid.get()));
        killed.is_empty()
    });
}

/// Whether a process is gone, or a zombie that only its parent can remove.
fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the program's name, which is in parentheses and may contain anything.
    matches!(stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()), None | Some('Z' | 'X'))
}

fn delete_netns(netns: &str) {
    let mut command = Command::new("ip");
    command.args(["netns", "del", netns]);
    let _ = run(command, "ip netns del", Duration::from_secs(10));
}

/// Removes a control group and those below it in every hierarchy; they are empty by now.
fn remove_cgroups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let mut candidates = vec![root.join(name)];
    candidates
        .extend(fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path().join(name)));
    for path in candidates.iter().filter(|path| path.is_dir()) {
        // The kernel lets go of a group a moment after the last process in it has been reaped.
        let _ = wait_for("empty control group", Duration::from_secs(2), || {
            remove_cgroup_tree(path);
            !path.exists()
        });
    }
}

fn remove_cgroup_tree(path: &Path) {
    for child in fs::read_dir(path).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup_tree(&child.path());
        }
    }
    let _ = fs::remove_dir(path);
}

/// Removes a directory without crossing into anything that may be mounted below it.
fn remove_tree(dir: &Path) {
    let mut command = Command::new("rm");
    command.arg("-rf").arg("--one-file-system").arg(dir);
    let _ = run(command, "rm", Duration::from_secs(30));
}

fn base36(mut n: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(n % 36, 36).unwrap_or('0'));
        n /= 36;
        if n == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base36_counts() {
        assert_eq!([0, 35, 36, 1295].map(base36), ["0", "z", "10", "zz"]);
    }
}
