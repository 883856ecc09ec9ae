//! A Docker host: a machine with its own network, mount, pid, uts and ipc namespaces, its own `/run`, `/etc`
//! and `/var/lib`, and an `eth0` plugged into the switch of the LAN.

mod daemon;
mod docker;
mod http;
mod image;
mod ovs;
mod snapshot;
mod socket_unit;

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub use daemon::{Daemon, LOG_IN_DETAIL};
pub use docker::{Dockerd, Engine};
pub use ovs::OpenVswitch;
pub use snapshot::HostState;

use crate::error::{Error, Result};
use crate::lan::{Lan, Wiring};
use crate::node::Node;
use crate::process::{Output, Process, last_lines, read_lossy};
use crate::scratch::{INIT_PID, cgroup, end_processes, remove_node};
use crate::wait::wait_for;

/// A Docker host. It ends with everything that runs in it when it is dropped.
#[derive(Debug)]
pub struct DockerHost {
    node: Node,
    wiring: Wiring,
    /// `unshare`, the parent of the host's init; ends when the last process of the host is gone.
    outer: Child,
    init: u32,
    dockerd: Option<docker::Running>,
    socket_unit: Option<socket_unit::SocketUnit>,
}

impl Lan {
    /// A new Docker host. Its `eth0` is up, plugged into the switch, and has no IPv4 address; dockerd is not running.
    ///
    /// # Errors
    /// If the name is taken or longer than 13 bytes, or the namespaces cannot be made.
    pub fn docker_host(&self, name: &str) -> Result<DockerHost> {
        let wiring = self.wiring().clone();
        let bare = wiring.bare_node(name)?;
        wiring.start_bare_host(&bare, None)?;
        let (outer, init) = boot(&bare)?;
        let node = Node::new(Arc::clone(&wiring.lab), name, Some(init));
        Ok(DockerHost { node, wiring, outer, init, dockerd: None, socket_unit: None })
    }
}

/// Starts the init of a host in the network namespace that is there already.
fn boot(bare: &Node) -> Result<(Child, u32)> {
    let dir = bare.dir();
    let (script, ready) = (dir.join("init"), dir.join("ready"));
    let write = |path: &PathBuf, text: &str| fs::write(path, text).map_err(Error::file("cannot write", path));
    write(&script, include_str!("init.sh"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
        .map_err(Error::file("cannot mark as a program", &script))?;
    let _ = fs::remove_file(&ready);
    let log = dir.join("init.log");
    let open =
        || fs::File::options().create(true).append(true).open(&log).map_err(Error::file("cannot open", &log));
    let namespaces =
        ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--propagation", "slave"];
    let mut argv: Vec<String> = vec!["unshare".to_owned()];
    argv.extend(namespaces.map(str::to_owned));
    argv.extend([script.display().to_string(), dir.display().to_string(), bare.name().to_owned()]);
    let mut command: Command = bare.command(&argv);
    command.stdin(Stdio::null()).stdout(open()?).stderr(open()?);
    let mut outer =
        command.spawn().map_err(|source| Error::Start { command: "unshare".to_owned(), source })?;
    let up = wait_for("init of the host", Duration::from_secs(20), || {
        if ready.exists() { Some(true) } else { outer.try_wait().ok().flatten().map(|_| false) }
    });
    let init =
        crate::process::children_of(outer.id()).first().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if let (Ok(true), Some(init)) = (up, init) {
        write(&dir.join(INIT_PID), &format!("{init}\n"))?;
        return Ok((outer, init));
    }
    end_processes(&[bare.netns()]);
    let _ = outer.wait();
    let said = last_lines(&read_lossy(&log), 10);
    Err(Error::Unexpected(format!("host {} does not come up: {said}", bare.name())))
}

impl DockerHost {
    /// The host's name on the LAN.
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// The host as a machine: commands run in all of its namespaces.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Runs a command on the host to its end, for at most a minute.
    pub fn exec(&self, argv: &[&str]) -> Output {
        self.node.run(argv)
    }

    /// Runs a command on the host that must succeed; its standard output.
    ///
    /// # Errors
    /// As [`Node::check`].
    pub fn check(&self, argv: &[&str]) -> Result<String> {
        self.node.check(argv)
    }

    /// Starts a command on the host in the background; killed when the returned value is dropped.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, argv: &[&str]) -> Result<Process> {
        self.node.spawn(argv)
    }

    /// A file of the host as a path that can be opened from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/{}", self.init, inside.trim_start_matches('/')))
    }

    /// A bridge with `eth0` in it. With an address, that is set on the bridge and the router is the default gateway.
    ///
    /// # Errors
    /// If `ip` refuses; the message says why.
    pub fn make_bridge(&self, name: &str, address: Option<&str>) -> Result<()> {
        self.node.make_bridge(name, address)
    }

    /// The pid of a process of this host, seen from outside, as it is inside the host.
    ///
    /// # Errors
    /// If there is no such process or it is not one of this host's.
    pub fn pid_in_host(&self, outside: u32) -> Result<u32> {
        let path = format!("/proc/{outside}/status");
        let status = fs::read_to_string(&path).map_err(Error::file("cannot read", path))?;
        let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        // One column for each pid namespace from ours inwards; the second is the host's.
        pids.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).ok_or_else(|| {
            Error::Unexpected(format!("process {outside} does not run in {}: NSpid {pids}", self.name()))
        })
    }

    /// The pid, seen from outside, of a process that has the pid `inside` on this host.
    ///
    /// # Errors
    /// If the host has no such process.
    pub fn pid_outside(&self, inside: u32) -> Result<u32> {
        let entries = fs::read_dir("/proc").map_err(Error::file("cannot list", "/proc"))?;
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut found = pids.filter(|pid| self.pid_in_host(*pid).is_ok_and(|inner| inner == inside));
        found
            .find(|pid| self.is_ancestor_of(*pid))
            .ok_or_else(|| Error::Unexpected(format!("{} has no process {inside}", self.name())))
    }

    /// Whether a process descends from this host's init: orphans of a host, and of its containers' shims, do.
    fn is_ancestor_of(&self, mut pid: u32) -> bool {
        while pid > 1 && pid != self.init {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            pid = parent.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        }
        pid == self.init
    }

    /// Power off and on: every process ends at once, `/run`, `/etc` and the network are as new (`eth0` keeps its MAC),
    /// `/var/lib/docker` and `/var/lib/landline` are as they were, the boot id is another one.
    ///
    /// # Errors
    /// If the host does not come up again.
    pub fn reboot(&mut self) -> Result<()> {
        self.dockerd = None;
        self.socket_unit = None;
        end_processes(&[self.node.netns()]);
        self.outer.wait().map_err(Error::system("cannot wait for the host's end"))?;
        let bare = Node::new(Arc::clone(&self.wiring.lab), self.node.name(), None);
        self.wiring.renew_bare_host(&bare)?;
        let (outer, init) = boot(&bare)?;
        (self.outer, self.init) = (outer, init);
        self.node = Node::new(Arc::clone(&self.wiring.lab), bare.name(), Some(init));
        Ok(())
    }

    /// The addresses of an interface inside a container, without link-local ones.
    ///
    /// # Errors
    /// If the container does not run.
    pub fn container_addresses(&self, container: &str, interface: &str) -> Result<Vec<IpAddr>> {
        let pid = self.container_pid(container)?.to_string();
        let argv = ["nsenter", "--net", "-t", &pid, "ip", "-o", "addr", "show", "dev", interface];
        let shown = self.node.check(&argv)?;
        let addresses = shown.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip_while(|word| *word != "inet" && *word != "inet6");
            words.nth(1)?.split('/').next()?.parse::<IpAddr>().ok()
        });
        Ok(addresses.filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.segments()[0] == 0xfe80)).collect())
    }

    pub(crate) fn cgroup(&self) -> String {
        cgroup(self.wiring.lab.name(), self.node.name())
    }
}

impl AsRef<Node> for DockerHost {
    fn as_ref(&self) -> &Node {
        &self.node
    }
}

impl Drop for DockerHost {
    fn drop(&mut self) {
        end_processes(&[self.node.netns()]);
        let _ = self.outer.wait();
        remove_node(&self.wiring.lab, self.node.name());
    }
}
