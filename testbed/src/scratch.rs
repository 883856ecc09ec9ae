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
    /// Held for as long as the lab lives; closed by the kernel if we die. A kept lab has no owner.
    _lock: Option<File>,
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
                Some(lock) if dir.join("lock").exists() => return Ok(Self { name, dir, _lock: Some(lock) }),
                _ => {}
            }
        }
    }

    /// A lab that was left in place.
    pub(crate) fn open_kept(name: &str) -> Result<Self> {
        let dir = base_dir()?.join(name);
        if !dir.join(KEPT).exists() {
            return Err(Error::Unexpected(format!("there is no lab {name} (see `testbed ls`)")));
        }
        Ok(Self { name: name.to_owned(), dir, _lock: None })
    }

    /// The names of the lab's machines.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
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
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&dir)
        .map_err(Error::file("cannot make", &dir))?;
    Ok(dir)
}

/// Names of the labs that were left in place by [`Lan::keep`](crate::Lan::keep).
pub fn kept_labs() -> Result<Vec<String>> {
    let kept = lab_dirs()?.into_iter().filter(|dir| dir.join(KEPT).exists());
    Ok(kept.filter_map(|dir| Some(dir.file_name()?.to_string_lossy().into_owned())).collect())
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
    let own = rustix::process::getpid();
    let own_pid_namespace = namespace_of(own, "pid");
    let mut killed = BTreeSet::new();
    let _ = wait_for("end of processes", Duration::from_secs(10), || {
        let inside: Vec<Pid> = all_processes()
            .filter(|pid| *pid != own && namespace_of(*pid, "net").is_some_and(|net| inodes.contains(&net)))
            .collect();
        // First what lives in a host's pid namespace, then the `nsenter` and `unshare` outside that wait for it:
        // a process whose parent died first would go to the machine's init, which may take a second to reap it,
        // and a pid namespace does not end before.
        let (outer, inner): (Vec<Pid>, Vec<Pid>) =
            inside.into_iter().partition(|pid| namespace_of(*pid, "pid") == own_pid_namespace);
        let batch = if inner.is_empty() && killed.is_empty() { outer } else { inner };
        for pid in batch {
            let _ = kill_process(pid, Signal::KILL);
            killed.insert(pid.as_raw_nonzero());
        }
        killed.retain(|pid| !has_ended(pid.get()));
        let outside_left = all_processes()
            .any(|pid| pid != own && namespace_of(pid, "net").is_some_and(|net| inodes.contains(&net)));
        killed.is_empty() && !outside_left
    });
}

fn all_processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
}

/// Which namespace of a kind a process is in; `None` for a zombie, which is in none.
fn namespace_of(pid: Pid, kind: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok().map(|namespace| namespace.ino())
}

/// Whether a process is gone, or a zombie that only its parent can remove.
fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the program's name, which is in parentheses and may contain anything.
    matches!(stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()), None | Some('Z' | 'X'))
}

pub(crate) fn delete_netns(netns: &str) {
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
