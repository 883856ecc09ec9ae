//! One daemon for each network namespace: two would take each other's links for strays.
//!
//! It holds a lock (`flock(2)`) on a file that only root can open, named after the namespace's inode. Abstract sockets
//! and ports are no place for it: every container with the host's network could take them.
//!
//! A daemon that ends closes its files one by one, the lock's before the store's, which has a lock of its own. So its successor
//! waits for both.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use landline_links::blocking;
use rustix::fs::{FlockOperation, OFlags, fcntl_lock, flock};
use rustix::io::Errno;
use tokio::time::{Instant, timeout_at};

/// Where the locks are.
pub(crate) const DIRECTORY: &str = "/run/landline";
/// How long a predecessor may take to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The most that is shown of another process's command line.
const MAX_COMMAND: usize = 120;

/// The daemon's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Alone {
    _lock: File,
}

/// Why this daemon cannot be the only one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AloneError {
    #[error("{0} runs on this host's network already; stop it first (systemctl stop landline)")]
    Held(Holder),
    #[error("cannot lock {path}, which makes sure that no other Landline daemon runs")]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "another process still has {0} open; if no Landline daemon runs in another network namespace with the same state \
         directory, see who does: fuser {0}"
    )]
    Store(PathBuf),
}

/// Who has the place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pid: Option<u32>,
    command: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("another Landline daemon")?;
        match (self.pid, self.command.as_str()) {
            (None, _) => Ok(()),
            (Some(pid), "") => write!(f, " (process {pid})"),
            (Some(pid), command) => write!(f, " (process {pid}: {command})"),
        }
    }
}

/// Takes the place in `directory`, which is there; waits as long as this for another daemon to end, which has closed its
/// `store` then.
pub(crate) async fn alone(directory: &Path, store: &Path, patience: Duration) -> Result<Alone, AloneError> {
    let own = fs::metadata("/proc/self/ns/net").map(|namespace| namespace.ino());
    let path = directory.join(format!("netns-{}.lock", own.as_ref().unwrap_or(&0)));
    let failed = |source| AloneError::Lock { path: path.clone(), source };
    own.map_err(failed)?;
    let (for_file, waited) = (path.clone(), path.clone());
    let end = Instant::now() + patience;
    // The kernel wakes whoever is next. A thread that still waits at the end of the patience ends with the process.
    let locked = timeout_at(end, blocking(move || lock(&for_file))).await;
    let lock = locked.map_err(|_| AloneError::Held(holder(&waited)))?.map_err(failed)?;
    let waited = store.to_owned();
    let closed = timeout_at(end, blocking(move || until_closed(&waited))).await;
    closed.map_err(|_| AloneError::Store(store.to_owned()))?;
    Ok(Alone { _lock: lock })
}

/// Waits until nobody has the store open, which is locked as long (`flock(2)`, and its ranges by `fcntl(2)`). One that cannot be
/// looked at is for whoever opens it to complain about.
fn until_closed(store: &Path) {
    let Ok(file) = File::options().read(true).write(true).open(store) else { return };
    while let Err(Errno::INTR) = flock(&file, FlockOperation::LockExclusive) {}
    while let Err(Errno::INTR) = fcntl_lock(&file, FlockOperation::LockExclusive) {}
}

/// Waits for the lock on the file that is at this path once it is held.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
        if file.metadata()?.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("it belongs to another user; remove it"));
        }
        while let Err(error) = flock(&file, FlockOperation::LockExclusive) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        // Somebody may have removed it meanwhile, and another daemon have made it again.
        let there = fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()));
        let ours = file.metadata().map(|ours| (ours.dev(), ours.ino()))?;
        if there.is_ok_and(|there| there == ours) {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            return Ok(file);
        }
    }
}

/// Who holds the lock, as far as it can be seen from here.
fn holder(path: &Path) -> Holder {
    let mut text = String::new();
    // Not more than a number, whatever is in it.
    let read = File::open(path).and_then(|file| file.take(32).read_to_string(&mut text));
    let pid = read.ok().and_then(|_| text.trim().parse().ok());
    let command = pid.and_then(|pid: u32| fs::read(format!("/proc/{pid}/cmdline")).ok());
    Holder { pid, command: shown(&command.unwrap_or_default()) }
}

/// A command line (proc(5)) for people: a process can write anything there.
fn shown(cmdline: &[u8]) -> String {
    let text = String::from_utf8_lossy(cmdline).replace('\0', " ");
    let plain = text.trim_end().chars().map(|c| if c.is_control() { '?' } else { c });
    plain.take(MAX_COMMAND).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(30);
    const NONE: &str = "/nonexistent/landline.redb";

    #[tokio::test]
    async fn the_second_one_is_refused_and_learns_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = alone(dir.path(), NONE.as_ref(), LONG).await.unwrap();
        let second = alone(dir.path(), NONE.as_ref(), SHORT).await.unwrap_err().to_string();
        let expected = format!("another Landline daemon (process {}: ", std::process::id());
        assert!(second.starts_with(&expected), "{second}");
        drop(first);
        alone(dir.path(), NONE.as_ref(), LONG).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_is_about_to_end_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = alone(dir.path(), NONE.as_ref(), LONG).await.unwrap();
        let path = dir.path().to_owned();
        let second = tokio::spawn(async move { alone(&path, NONE.as_ref(), LONG).await });
        tokio::task::yield_now().await;
        drop(first);
        second.await.unwrap().unwrap();
    }

    /// The kernel closes the files of a process that ends one by one.
    #[tokio::test]
    async fn one_that_still_has_the_store_open_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("landline.redb");
        let open = redb_like(&store);
        let error = alone(dir.path(), &store, SHORT).await.unwrap_err();
        assert!(matches!(&error, AloneError::Store(path) if *path == store), "{error}");
        let (path, waited) = (dir.path().to_owned(), store.clone());
        let second = tokio::spawn(async move { alone(&path, &waited, LONG).await });
        tokio::task::yield_now().await;
        drop(open);
        second.await.unwrap().unwrap();
        // It is free for whoever opens it, once the one that gave up has let go of it as well.
        File::options().write(true).open(&store).unwrap().lock().unwrap();
    }

    /// A file that is open, and locked as the store is.
    fn redb_like(path: &Path) -> File {
        let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
        file.try_lock().unwrap();
        file
    }

    #[tokio::test]
    async fn a_file_that_was_removed_is_not_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let _first = alone(dir.path(), NONE.as_ref(), LONG).await.unwrap();
        let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        fs::remove_file(&file).unwrap();
        let _second = alone(dir.path(), NONE.as_ref(), LONG).await.unwrap();
        assert!(alone(dir.path(), NONE.as_ref(), SHORT).await.is_err());
    }

    #[tokio::test]
    async fn nothing_but_a_file_of_ones_own_is_locked() {
        let dir = tempfile::tempdir().unwrap();
        drop(alone(dir.path(), NONE.as_ref(), LONG).await.unwrap());
        let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        fs::rename(&file, dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &file).unwrap();
        let error = alone(dir.path(), NONE.as_ref(), LONG).await.unwrap_err();
        assert!(matches!(error, AloneError::Lock { .. }), "{error}");
    }

    #[test]
    fn command_lines_are_shown_as_one_short_line() {
        assert_eq!(shown(b"landline\0daemon\0"), "landline daemon");
        assert_eq!(shown(b"a\n\x1b[31mb"), "a??[31mb");
        assert_eq!(shown(&[b'x'; 500]).len(), MAX_COMMAND);
        assert_eq!(
            Holder { pid: Some(7), command: String::new() }.to_string(),
            "another Landline daemon (process 7)"
        );
    }
}
