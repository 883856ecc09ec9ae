//! A machine of the lab: a network namespace, or all the namespaces of a Docker host.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::lan::ROUTER_V4;
use crate::process::{Output, Process, run, shell_words};
use crate::scratch::{Scratch, netns_path};

/// How long a command may take where nothing else is said.
const DEFAULT_LIMIT: Duration = Duration::from_mins(1);
/// What a login shell of root has; test runners often lack the `sbin` half.
const SBIN: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// A machine on which commands can be run. Clones are the same machine.
#[derive(Debug, Clone)]
pub struct Node {
    name: String,
    lab: Arc<Scratch>,
    /// The pid, seen from outside, of the init whose namespaces are entered; without one only the network namespace is.
    init: Option<u32>,
}

impl Node {
    pub(crate) fn new(lab: Arc<Scratch>, name: &str, init: Option<u32>) -> Self {
        Self { name: name.to_owned(), lab, init }
    }

    /// The machine's name within its lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its network namespace, as `ip -n` takes it.
    pub fn netns(&self) -> String {
        self.lab.netns(&self.name)
    }

    /// The file with which its network namespace can be entered from outside.
    pub fn netns_path(&self) -> PathBuf {
        netns_path(&self.netns())
    }

    /// Its scratch directory (logs, configuration).
    pub fn dir(&self) -> PathBuf {
        self.lab.dir().join(&self.name)
    }

    /// A command that will run on this machine; `argv` starts with the program.
    pub fn command<S: AsRef<OsStr>>(&self, argv: &[S]) -> Command {
        let mut command = Command::new("nsenter");
        if let Some(init) = self.init {
            command.args(["--target", &init.to_string(), "--mount", "--uts", "--ipc", "--net", "--pid"]);
        } else {
            let mut net = std::ffi::OsString::from("--net=");
            net.push(self.netns_path());
            command.arg(net);
        }
        command.arg("--").args(argv);
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        command.env("PATH", format!("{path}:{SBIN}")).env("LC_ALL", "C");
        for inherited in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "NOTIFY_SOCKET", "LISTEN_FDS"] {
            command.env_remove(inherited);
        }
        command
    }

    /// Runs a command to its end, for at most a minute.
    pub fn run<S: AsRef<OsStr>>(&self, argv: &[S]) -> Output {
        self.run_within(argv, DEFAULT_LIMIT)
    }

    /// Runs a command to its end, for at most `limit`.
    pub fn run_within<S: AsRef<OsStr>>(&self, argv: &[S], limit: Duration) -> Output {
        run(self.command(argv), &shell_words(argv), limit)
    }

    /// Runs a command that must succeed; its standard output without the line break at the end.
    ///
    /// # Errors
    /// [`Error::Command`] with the command and what it said, if it exits with anything but 0.
    pub fn check<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<String> {
        self.run(argv).into_result(&shell_words(argv), &self.name)
    }

    /// [`Node::check`] of a shell script.
    ///
    /// # Errors
    /// As [`Node::check`].
    pub fn sh(&self, script: &str) -> Result<String> {
        self.check(&["sh", "-ec", script])
    }

    /// As [`DockerHost::make_bridge`](crate::DockerHost::make_bridge).
    pub fn make_bridge(&self, name: &str, address: Option<&str>) -> Result<()> {
        let mut script = format!(
            "ip link add {name} type bridge forward_delay 0 mcast_snooping 0\n\
             ip link set eth0 master {name}\nip link set {name} up\n"
        );
        if let Some(address) = address {
            let _ = writeln!(script, "ip addr add {address} dev {name}");
            if address.starts_with("192.0.2.") {
                let _ = writeln!(script, "ip route add default via {ROUTER_V4} dev {name}");
            }
        }
        self.sh(&script).map(drop)
    }

    /// Starts a command in the background; it is killed when the returned value is dropped.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<Process> {
        self.spawn_command(self.command(argv), shell_words(argv))
    }

    /// As [`Node::spawn`], for a command from [`Node::command`] that was given an environment.
    pub(crate) fn spawn_command(&self, command: Command, words: String) -> Result<Process> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let program = words.split_whitespace().next().and_then(|path| path.rsplit('/').next()).unwrap_or("");
        let program: String = program.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let stem = self.dir().join(format!("{program}-{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
        let (out, err) = (stem.with_extension("out"), stem.with_extension("err"));
        Process::start(command, words, self.init.is_some(), out, err)
    }

    /// The MAC address of an interface, as `aa:bb:cc:dd:ee:ff`.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn mac(&self, interface: &str) -> Result<String> {
        let link = self.ip_json(&["link", "show", "dev", interface])?;
        let mac = link[0]["address"].as_str();
        mac.map(str::to_owned).ok_or_else(|| Error::Unexpected(format!("{interface} has no MAC: {link}")))
    }

    /// The addresses of an interface with their prefix lengths, IPv4 and IPv6, link-local ones included.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn addresses(&self, interface: &str) -> Result<Vec<ipnet::IpNet>> {
        let shown = self.ip_json(&["addr", "show", "dev", interface])?;
        let list = shown[0]["addr_info"].as_array().cloned().unwrap_or_default();
        Ok(list
            .iter()
            .filter_map(|info| {
                let prefix = u8::try_from(info["prefixlen"].as_u64()?).ok()?;
                ipnet::IpNet::new(info["local"].as_str()?.parse().ok()?, prefix).ok()
            })
            .collect())
    }

    /// `ip -json ARGS`, parsed.
    ///
    /// # Errors
    /// If `ip` fails or answers something that is not JSON.
    pub fn ip_json(&self, args: &[&str]) -> Result<serde_json::Value> {
        let mut argv = vec!["ip", "-json", "-details"];
        argv.extend(args);
        let text = self.check(&argv)?;
        if text.is_empty() {
            return Ok(serde_json::Value::Array(Vec::new()));
        }
        serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("`{}`: {error}: {text}", shell_words(&argv))))
    }

    /// Asks for a lease with `udhcpc` and takes it: address and default route are set on `interface`.
    ///
    /// # Errors
    /// With udhcpc's words, if no server answers within about three seconds.
    pub fn dhcp(&self, interface: &str) -> Result<std::net::Ipv4Addr> {
        let script = self.lab.dir().join("udhcpc.script");
        if !script.exists() {
            std::fs::write(&script, include_str!("udhcpc.script"))
                .map_err(Error::file("cannot write", &script))?;
            self.check(&["chmod".as_ref(), "+x".as_ref(), script.as_os_str()])?;
        }
        let script = script.to_string_lossy().into_owned();
        let options = ["-f", "-q", "-n", "-t", "3", "-T", "1"];
        let mut argv = vec!["udhcpc"];
        argv.extend(options);
        argv.extend(["-i", interface, "-s", &script]);
        let said = self.check(&argv)?;
        let address = said.lines().find_map(|line| line.strip_prefix("bound ")).map(str::trim);
        address
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| Error::Unexpected(format!("udhcpc did not say which address it got: {said}")))
    }
}

impl AsRef<Self> for Node {
    fn as_ref(&self) -> &Self {
        self
    }
}
