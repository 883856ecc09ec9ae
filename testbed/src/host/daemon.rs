//! A running `landline daemon` on a host, and what can be seen of it from outside.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::{DockerHost, http};
use crate::error::{Error, Result};
use crate::process::{Output, Process, Signal, children_of, last_lines, run, shell_words};
use crate::wait::wait_for;

/// What a daemon is started with to log in detail what it does with networks, containers and addresses.
pub const LOG_IN_DETAIL: (&str, &str) = (
    "LOG_LEVEL",
    "info,landline_attach=debug,landline_doctor=debug,landline_engine=debug,landline_host_access=debug,\
     landline_ipam=debug,landline_leases=debug,landline_links=debug,landline_nat=debug,landline_store=debug,\
     landline_uplink=debug",
);

/// Where Docker looks for a plugin called `landline`.
const SOCKET: &str = "/run/docker/plugins/landline.sock";
/// How long the daemon may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(15);

/// A `landline daemon`. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    socket: PathBuf,
}

/// What a service manager does with a socket unit: listens for the program, and starts it for the first caller.
const SOCKET_UNIT: &str = r#"
import os, select, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(128)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
print("listening", flush=True)
select.select([3], [], [])
os.environ.update(LISTEN_FDS=os.environ.get("ANNOUNCED", "1"), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"#;

impl DockerHost {
    /// Listens on the plugin socket, as systemd does for a socket unit, and starts `BINARY daemon ARGS` with it
    /// (`sd_listen_fds(3)`) when somebody connects. Returns when it listens. `ANNOUNCED` in the environment: so many
    /// descriptors are announced, although there is one.
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub fn landline_on_demand(&self, binary: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Daemon> {
        let helper = ["python3", "-c", SOCKET_UNIT, SOCKET].map(OsStr::new);
        let mut argv: Vec<&OsStr> = helper.to_vec();
        argv.extend([binary.as_os_str(), OsStr::new("daemon")]);
        argv.extend(args.iter().map(OsStr::new));
        let mut command = self.node.command(&argv);
        command.envs(env.iter().copied());
        let mut process = self.node.spawn_command(command, format!("{} daemon", binary.display()))?;
        process.wait_for_text("listening", START_LIMIT)?;
        Ok(Daemon { process, socket: self.path(SOCKET) })
    }

    /// Starts `BINARY daemon ARGS` on the host and waits until it answers Docker's `Plugin.Activate`.
    ///
    /// # Errors
    /// If it ends or does not answer within 15 seconds; the message shows what it said.
    pub fn start_landline(&self, binary: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Daemon> {
        let mut daemon = self.spawn_landline(binary, args, env)?;
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// Starts `BINARY daemon ARGS` on the host without waiting for anything.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn_landline(&self, binary: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Daemon> {
        let mut argv: Vec<&OsStr> = vec![binary.as_os_str(), OsStr::new("daemon")];
        argv.extend(args.iter().map(OsStr::new));
        let mut command = self.node.command(&argv);
        command.envs(env.iter().copied());
        let process = self.node.spawn_command(command, shell_words(&argv))?;
        Ok(Daemon { process, socket: self.path(SOCKET) })
    }

    /// Runs a `landline` command on the host to its end.
    pub fn landline(&self, binary: &Path, args: &[&str]) -> Output {
        let mut argv: Vec<&OsStr> = vec![binary.as_os_str()];
        argv.extend(args.iter().map(OsStr::new));
        run(self.node.command(&argv), &shell_words(&argv), Duration::from_mins(1))
    }

    /// Runs a `landline` command that must succeed; its standard output.
    ///
    /// # Errors
    /// [`Error::Command`] with the command and what it said.
    pub fn landline_ok(&self, binary: &Path, args: &[&str]) -> Result<String> {
        let words = format!("landline {}", shell_words(args));
        self.landline(binary, args).into_result(&words, self.name())
    }
}

impl Daemon {
    /// Waits until it answers Docker's `Plugin.Activate`.
    ///
    /// # Errors
    /// If it ends or does not answer within 15 seconds; the message shows what it said.
    pub fn wait_ready(&mut self) -> Result<()> {
        let ready = wait_for("answer of landline", START_LIMIT, || {
            if self.process.try_status().is_some() {
                return Some(false);
            }
            http::ask(&self.socket, "POST", "/Plugin.Activate", "", Duration::from_secs(5))
                .is_ok_and(|answer| answer.status == 200)
                .then_some(true)
        });
        if ready.is_ok_and(|answered| answered) {
            return Ok(());
        }
        let how = self
            .process
            .try_status()
            .map_or_else(|| "does not answer".to_owned(), |status| status.to_string());
        Err(Error::Unexpected(format!(
            "`{}`: {how}\n{}",
            self.process.command(),
            last_lines(&self.log(), 30)
        )))
    }

    /// Sends it one plugin request, as Docker would: status and body of the answer.
    ///
    /// # Errors
    /// If it does not answer within a minute.
    pub fn request(&self, path: &str, body: &str) -> Result<(u16, String)> {
        let answer = http::ask(&self.socket, "POST", path, body, Duration::from_mins(1))?;
        Ok((answer.status, answer.body))
    }

    /// Everything it has written to standard output and standard error.
    pub fn log(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }

    /// Sends a signal; see [`Daemon::wait`].
    ///
    /// # Errors
    /// If it has ended already.
    pub fn kill(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits until it has ended, for at most a minute.
    ///
    /// # Errors
    /// If it is still running then.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.process.wait()
    }

    /// How it ended, if it has.
    pub fn try_status(&mut self) -> Option<ExitStatus> {
        self.process.try_status()
    }

    /// Its pid, seen from outside the host.
    ///
    /// # Errors
    /// If it has ended.
    pub fn pid(&self) -> Result<u32> {
        self.process.pid().ok_or_else(|| {
            Error::Unexpected(format!(
                "`{}` has ended:\n{}",
                self.process.command(),
                last_lines(&self.log(), 30)
            ))
        })
    }

    /// Number of open file descriptors; 0 if it has ended.
    pub fn fds(&self) -> usize {
        self.count("fd")
    }

    /// What its open file descriptors are (`/proc/PID/fd`), for the message of a failed assertion.
    pub fn fd_list(&self) -> Vec<String> {
        let Ok(pid) = self.pid() else { return Vec::new() };
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string())).collect()
    }

    /// Number of threads; 0 if it has ended.
    pub fn threads(&self) -> usize {
        self.count("task")
    }

    /// Number of child processes; 0 if it has ended.
    pub fn children(&self) -> usize {
        self.pid().map_or(0, |pid| children_of(pid).len())
    }

    /// Resident memory in KiB (`VmRSS`); 0 if it has ended.
    pub fn rss_kib(&self) -> u64 {
        let Ok(pid) = self.pid() else { return 0 };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    }

    fn count(&self, what: &str) -> usize {
        self.pid()
            .ok()
            .and_then(|pid| fs::read_dir(format!("/proc/{pid}/{what}")).ok())
            .map_or(0, Iterator::count)
    }
}
