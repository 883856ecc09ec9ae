//! Waiting for what netlink has no event for: mounts that come and go, and the end of a process.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

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

/// When a process was started, in clock ticks since the boot (`/proc/PID/stat`, proc(5)): with the boot it tells the
/// process from all others that had or will have its number.
pub fn process_start(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Its name, in parentheses, may have anything in it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let start = fields.split_whitespace().nth(19).and_then(|start| start.parse().ok());
    start.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let watch = ProcessWatch::open(child.id()).unwrap();
        assert!(process_start(child.id()).unwrap() > 0);
        assert!(tokio::time::timeout(Duration::from_millis(20), watch.ended()).await.is_err());
        drop(child.stdin.take());
        tokio::time::timeout(Duration::from_secs(10), watch.ended()).await.unwrap().unwrap();
        child.wait().unwrap();
        assert!(ProcessWatch::open(child.id()).is_err());
    }

    #[tokio::test]
    async fn a_process_differs_from_another_by_its_start() {
        assert_eq!(process_start(std::process::id()).unwrap(), process_start(std::process::id()).unwrap());
        assert!(process_start(std::process::id()).unwrap() > process_start(1).unwrap());
        assert!(process_start(u32::MAX).is_err());
    }
}
