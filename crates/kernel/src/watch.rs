//! Waiting for what netlink has no event for: mounts that come and go, the end of a process, a file that appears.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys;

/// Follows the mounts of this process's mount namespace (`/proc/self/mountinfo`, proc(5)). That is how a network
/// namespace gets a path and loses it.
#[derive(Debug)]
pub struct MountWatch(AsyncFd<OwnedFd>);

impl MountWatch {
    /// Begins to follow. Must be called within a runtime.
    pub fn open() -> io::Result<Self> {
        // There is always something to read; a change shows as an exception.
        sys::register_for(File::open("/proc/self/mountinfo")?.into(), Interest::PRIORITY).map(Self)
    }

    /// Waits until something was mounted or unmounted since it was opened, or since this returned last.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.0.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

/// A process, until it ends (`pidfd_open(2)`). Its number is not given again before that.
#[derive(Debug)]
pub struct ProcessWatch(AsyncFd<OwnedFd>);

impl ProcessWatch {
    /// Takes hold of a process. Must be called within a runtime.
    pub fn open(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = number.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        sys::register_for(descriptor, Interest::READABLE).map(Self)
    }

    /// Waits for its end. It may still be there as a zombie then, which is in no namespace.
    pub async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}

/// A name in a directory, until something new has it (`inotify(7)`): a server that makes its socket, or writes its process
/// number, is back.
#[derive(Debug)]
pub struct NameWatch {
    events: AsyncFd<OwnedFd>,
    /// `None`: any.
    name: Option<OsString>,
}

impl NameWatch {
    /// Begins to watch. The file need not be there, its directory must be. Must be called within a runtime.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Self::watch(directory, Some(name.to_owned()))
    }

    /// Begins to watch all names in a directory. Must be called within a runtime.
    pub fn anything_in(directory: &Path) -> io::Result<Self> {
        Self::watch(directory, None)
    }

    fn watch(directory: &Path, name: Option<OsString>) -> io::Result<Self> {
        let events = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        // Who makes a socket sets its owner and mode when it listens; a file may be there and written again.
        let appears = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::ATTRIB
            | inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVE_SELF;
        inotify::add_watch(&events, directory, appears | inotify::WatchFlags::ONLYDIR)?;
        Ok(Self { events: sys::register_for(events, Interest::READABLE)?, name })
    }

    /// Waits until the name was given to something, its owner or mode set, or it was written, since this was opened or returned last.
    ///
    /// # Errors
    /// The directory is gone, or is no longer where it was: the caller opens a new watch once there is a new one.
    pub async fn appeared(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.events.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(self.events.get_ref(), &mut buffer);
            let mut seen = false;
            loop {
                match events.next() {
                    Ok(event) => {
                        let gone = inotify::ReadFlags::IGNORED | inotify::ReadFlags::MOVE_SELF;
                        if event.events().intersects(gone) {
                            return Err(io::ErrorKind::NotFound.into());
                        }
                        let lost = event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                        let own = self.name.as_ref().is_none_or(|own| {
                            event.file_name().is_some_and(|name| name.to_bytes() == own.as_bytes())
                        });
                        seen |= own || lost;
                    }
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            if seen {
                return Ok(());
            }
        }
    }

    /// The pause before a server is tried again: it ends early, with `true`, if its socket is made again. A watch that
    /// there is not, or not any more, ends no pause.
    pub async fn appears_within(watch: &mut Option<Self>, pause: Duration) -> bool {
        let appeared = async {
            if let Some(watching) = watch.as_mut() {
                match watching.appeared().await {
                    Ok(()) => return,
                    Err(_) => *watch = None,
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::time::timeout(pause, appeared).await.is_ok()
    }
}

/// When a process was started, in clock ticks since the boot (`/proc/PID/stat`, proc(5)): with the boot it tells the
/// process from all others that had or will have its number.
pub fn process_start(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Its name, in parentheses, may have anything in it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let start = fields.split_whitespace().nth(19).and_then(|start| start.parse().ok());
    start.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// How long a process has run.
///
/// # Errors
/// It is gone, or cannot be looked at.
pub fn process_age(pid: u32) -> io::Result<Duration> {
    // What the kernel shows is in these, whatever it counts in itself.
    const TICKS_PER_SECOND: u64 = 100;
    let started = Duration::from_millis(process_start(pid)?.saturating_mul(1000 / TICKS_PER_SECOND));
    Ok(crate::boottime::now().saturating_sub(started))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let watch = ProcessWatch::open(child.id()).unwrap();
        assert!(process_start(child.id()).unwrap() > 0);
        assert!(process_age(child.id()).unwrap() < Duration::from_mins(1));
        assert!(process_age(1).unwrap() >= process_age(child.id()).unwrap());
        assert!(tokio::time::timeout(Duration::from_millis(20), watch.ended()).await.is_err());
        drop(child.stdin.take());
        tokio::time::timeout(Duration::from_secs(10), watch.ended()).await.unwrap().unwrap();
        child.wait().unwrap();
        assert!(ProcessWatch::open(child.id()).is_err());
    }

    #[tokio::test]
    async fn a_name_is_seen_when_something_new_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let mut watch = NameWatch::open(&path).unwrap();
        for n in 0..200 {
            std::fs::write(dir.path().join(format!("another{n}")), "").unwrap();
        }
        std::fs::write(dir.path().join("sock"), "").unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), watch.appeared()).await.is_err());
        for _ in 0..2 {
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            tokio::time::timeout(Duration::from_secs(10), watch.appeared()).await.unwrap().unwrap();
            drop(listener);
            std::fs::remove_file(&path).unwrap();
        }
        assert!(tokio::time::timeout(Duration::from_millis(20), watch.appeared()).await.is_err(), "once");
        std::fs::rename(dir.path().join("sock"), &path).unwrap();
        tokio::time::timeout(Duration::from_secs(10), watch.appeared()).await.unwrap().unwrap();
        let mut all = NameWatch::anything_in(dir.path()).unwrap();
        std::fs::write(&path, "written").unwrap();
        for watch in [&mut watch, &mut all] {
            tokio::time::timeout(Duration::from_secs(10), watch.appeared()).await.unwrap().unwrap();
        }
        assert!(NameWatch::open(&dir.path().join("missing/socket")).is_err());
        let mut moved = NameWatch::anything_in(dir.path()).unwrap();
        let elsewhere = dir.path().with_extension("moved");
        std::fs::rename(dir.path(), &elsewhere).unwrap();
        std::fs::remove_dir_all(&elsewhere).unwrap();
        for watch in [&mut watch, &mut all, &mut moved] {
            let ended = async { while watch.appeared().await.is_ok() {} };
            tokio::time::timeout(Duration::from_secs(10), ended).await.expect("its directory is gone");
        }
        assert!(NameWatch::open(Path::new("/")).is_err());
    }

    #[tokio::test]
    async fn a_process_differs_from_another_by_its_start() {
        assert_eq!(process_start(std::process::id()).unwrap(), process_start(std::process::id()).unwrap());
        assert!(process_start(std::process::id()).unwrap() > process_start(1).unwrap());
        assert!(process_start(u32::MAX).is_err());
    }
}
