//! What Landline occupies on a host, to show that it is the same again afterwards.

use landline_testbed::{HostState, wait_for};

use crate::world::{Result, SOON, World};

/// The host's network, and the daemon's descriptors and threads, at one moment.
#[derive(Debug)]
pub(crate) struct Footprint {
    host: HostState,
    fds: usize,
    threads: usize,
}

impl Footprint {
    /// What there is now.
    pub(crate) fn of(world: &World) -> Result<Self> {
        Ok(Self { host: world.host.snapshot()?, fds: own_fds(world), threads: world.daemon.threads() })
    }

    /// Waits until the network is as it was and no endpoint is left. Sockets of a lease that came to nothing are
    /// closed, no process was left behind.
    pub(crate) fn is_back(&self, world: &World) -> Result {
        self.network_is_back(world)?;
        wait_for("the daemon's descriptors to be as few as before", SOON, || own_fds(world) <= self.fds)
            .map_err(|error| format!("{error} ({}): {:#?}", self.fds, world.daemon.fd_list()))?;
        assert_eq!(world.daemon.children(), 0);
        Ok(())
    }

    /// Of all the threads that were needed for a moment since then, no more than `most` are there.
    pub(crate) fn threads_did_not_pile_up(&self, world: &World, most: usize) {
        let threads = world.daemon.threads();
        assert!(threads <= self.threads + most, "{threads} threads, {} before", self.threads);
    }

    /// Waits until the links, routes and settings of the host are as they were, and no endpoint is listed.
    pub(crate) fn network_is_back(&self, world: &World) -> Result {
        let difference = || world.host.snapshot().map_or_else(|e| e.to_string(), |now| self.host.diff(&now));
        wait_for("the host to be as before", SOON, || difference().is_empty())
            .map_err(|error| format!("{error}:\n{}", difference()))?;
        let listing = world.ls()?;
        assert_eq!(listing["endpoints"], serde_json::json!([]));
        Ok(())
    }
}

/// How many descriptors the daemon has, without connections from Docker: those are Docker's to keep or close.
pub(crate) fn own_fds(world: &World) -> usize {
    let pid = world.daemon.pid().unwrap_or_default();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    let connections = table.lines().filter_map(|line| {
        // Num RefCount Protocol Flags Type St Inode Path; state 3 is connected.
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.get(5) == Some(&"03") && words.get(7)?.starts_with("/run/docker/plugins/"))
            .then(|| format!("socket:[{}]", words[6]))
    });
    let connections: Vec<String> = connections.collect();
    world.daemon.fd_list().iter().filter(|fd| !connections.contains(fd)).count()
}
