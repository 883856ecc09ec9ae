//! dockerd and its client on a host.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{DockerHost, http, image};
use crate::error::{Error, Result};
use crate::process::{Output, Process, Signal, last_lines, run, shell_words};
use crate::wait::wait_for;

/// Whether images are to be in containerd's store: `LANDLINE_TEST_IMAGE_STORE=containerd`. From engine 28 on, where no graphdriver is
/// named.
const IMAGE_STORE: &str = "LANDLINE_TEST_IMAGE_STORE";

/// The socket of dockerd, where clients and plugins look for it.
pub(super) const SOCKET: &str = "/run/docker.sock";
/// How long dockerd may take to come up: it waits for its plugins, which may wait for a server.
pub(super) const START_LIMIT: Duration = Duration::from_mins(5);

/// Which Docker to run. The default is the one that `LANDLINE_TEST_ENGINE` says, else the installed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// The one that is installed.
    System,
    /// One unpacked into a directory of its own (`testbed get-engines`); has `usr/sbin/dockerd`.
    Path(PathBuf),
}

/// How dockerd should run. The default has no default bridge and leaves the firewall alone.
#[derive(Debug, Clone, Default)]
pub struct Dockerd {
    /// Which Docker to run.
    pub engine: Engine,
    /// Containers stay when dockerd ends.
    pub live_restore: bool,
    /// Let dockerd write its firewall rules.
    pub iptables: bool,
    /// Address of the default bridge `docker0` (`198.51.100.1/24`); `None` has no default bridge.
    pub bridge: Option<String>,
    /// With the socket of [`DockerHost::docker_socket_unit`] instead of one of its own.
    pub socket_unit: bool,
    /// Further arguments.
    pub extra: Vec<String>,
}

/// A dockerd that was started, and how.
#[derive(Debug)]
pub(super) struct Running {
    config: Dockerd,
    process: Option<Process>,
    earlier_log: String,
}

impl Default for Engine {
    fn default() -> Self {
        std::env::var_os("LANDLINE_TEST_ENGINE").map_or(Self::System, |dir| Self::Path(dir.into()))
    }
}

impl Dockerd {
    fn arguments(&self, cgroup: &str) -> Vec<String> {
        let mut argv: Vec<String> = [
            "dockerd",
            "--data-root=/var/lib/docker",
            "--exec-root=/run/docker",
            "--pidfile=/run/docker.pid",
            if self.socket_unit { "--host=fd://" } else { "--host=unix:///run/docker.sock" },
            "--ip6tables=false",
            // Not systemd's: the lab has none, and removes what is below this group.
            "--exec-opt=native.cgroupdriver=cgroupfs",
        ]
        .map(str::to_owned)
        .to_vec();
        argv.push(format!("--cgroup-parent=/{cgroup}"));
        argv.push(format!("--iptables={}", self.iptables));
        argv.push(match &self.bridge {
            Some(address) => format!("--bip={address}"),
            None => "--bridge=none".to_owned(),
        });
        if self.live_restore {
            argv.push("--live-restore".to_owned());
        }
        let graphdriver = self.extra.iter().any(|argument| argument.starts_with("--storage-driver"));
        if !graphdriver && std::env::var_os(IMAGE_STORE).is_some_and(|store| store == "containerd") {
            argv.push("--feature=containerd-snapshotter=true".to_owned());
        }
        argv.extend(self.extra.iter().cloned());
        argv
    }
}

impl Engine {
    /// The `PATH` under which this engine's programs are found first, the client that belongs to it too.
    fn path(&self) -> String {
        let own = match self {
            Self::System => String::new(),
            Self::Path(root) => format!("{0}/usr/sbin:{0}/usr/bin:", root.display()),
        };
        // Before what is inherited: a client in `/usr/local/bin` may be newer and refuse what this engine can do.
        let inherited = std::env::var("PATH").unwrap_or_default();
        format!("{own}/usr/sbin:/usr/bin:{inherited}:/sbin")
    }
}

impl DockerHost {
    /// Starts dockerd and imports the image `box`; returns when it answers.
    ///
    /// # Errors
    /// If it ends or does not answer within five minutes; the message shows the end of its log.
    pub fn dockerd(&mut self, config: Dockerd) -> Result<()> {
        self.dockerd_stop(Signal::KILL)?;
        self.dockerd = Some(Running { config, process: None, earlier_log: String::new() });
        self.dockerd_start()?;
        self.ensure_image()
    }

    /// Starts dockerd again as it was started last; nothing happens if it is running.
    ///
    /// # Errors
    /// As [`DockerHost::dockerd`], and if it was never started.
    pub fn dockerd_start(&mut self) -> Result<()> {
        let cgroup = self.cgroup();
        let never = || Error::Unexpected(format!("dockerd was never started on {}", self.node.name()));
        let running = self.dockerd.as_mut().ok_or_else(never)?;
        if running.process.is_some() {
            return Ok(());
        }
        if let Engine::Path(root) = &running.config.engine
            && !root.join("usr/sbin/dockerd").exists()
        {
            // The installed one would be found instead.
            return Err(Error::Unexpected(format!("there is no engine in {}", root.display())));
        }
        let (argv, path) = (running.config.arguments(&cgroup), running.config.engine.path());
        let activated = running.config.socket_unit;
        let argv = if activated { self.activated(argv)? } else { argv };
        let mut command = self.node.command(&argv);
        command.env("PATH", path);
        // A killed dockerd leaves both; its successor would take the pid for a live one if another process has it now.
        let _ = std::fs::remove_file(self.path("/run/docker.pid"));
        let socket = self.path(SOCKET);
        if activated {
            self.tell_socket_unit(true)?;
        } else {
            let _ = std::fs::remove_file(&socket);
        }
        let mut process = self.node.spawn_command(command, shell_words(&argv))?;
        let up = wait_for("answer of dockerd", START_LIMIT, || {
            if process.try_status().is_some() {
                return Some(false);
            }
            http::ask(&socket, "GET", "/_ping", "", Duration::from_secs(10))
                .is_ok_and(|answer| answer.status == 200 && answer.body.contains("OK"))
                .then_some(true)
        });
        match up {
            Ok(true) => {
                if let Some(running) = self.dockerd.as_mut() {
                    running.process = Some(process);
                }
                Ok(())
            }
            _ => Err(Error::Unexpected(format!(
                "dockerd does not come up on {}:\n{}",
                self.node.name(),
                last_lines(&process.stderr(), 20)
            ))),
        }
    }

    /// Ends dockerd with a signal and waits until it is gone; nothing happens if it is not running.
    /// Its containerd ends with it on SIGTERM and stays on SIGKILL, as on any machine.
    ///
    /// # Errors
    /// If it does not end within a minute.
    pub fn dockerd_stop(&mut self, signal: Signal) -> Result<()> {
        let Some(running) = self.dockerd.as_mut() else { return Ok(()) };
        let Some(mut process) = running.process.take() else { return Ok(()) };
        if process.try_status().is_none() {
            process.signal(signal)?;
            process.wait()?;
        }
        running.earlier_log += &process.stderr();
        if running.config.socket_unit {
            self.tell_socket_unit(false)?;
        }
        Ok(())
    }

    fn tell_socket_unit(&mut self, dockerd_runs: bool) -> Result<()> {
        self.socket_unit.as_mut().map_or(Ok(()), |unit| unit.service_runs(dockerd_runs))
    }

    /// Everything dockerd has logged on this host since [`DockerHost::dockerd`].
    pub fn dockerd_log(&self) -> String {
        let Some(running) = &self.dockerd else { return String::new() };
        let now = running.process.as_ref().map(Process::stderr).unwrap_or_default();
        format!("{}{now}", running.earlier_log)
    }

    /// Runs the docker client of the host's engine on the host, for at most two minutes.
    pub fn docker(&self, args: &[&str]) -> Output {
        let (command, words) = self.client(args);
        run(command, &words, Duration::from_mins(2))
    }

    /// Starts the docker client in the background; it is killed when the returned value is dropped. dockerd goes on
    /// with what it was asked to do.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn docker_spawn(&self, args: &[&str]) -> Result<Process> {
        let (command, words) = self.client(args);
        self.node.spawn_command(command, words)
    }

    fn client(&self, args: &[&str]) -> (Command, String) {
        self.program("docker", args)
    }

    /// A program that comes with the host's engine.
    fn program(&self, name: &str, args: &[&str]) -> (Command, String) {
        let mut argv = vec![name];
        argv.extend(args);
        let mut command = self.node.command(&argv);
        if let Some(running) = &self.dockerd {
            command.env("PATH", running.config.engine.path());
        }
        (command, shell_words(&argv))
    }

    /// Runs the Compose of the host's engine on the host, which must succeed; its standard output.
    ///
    /// # Errors
    /// [`Error::Command`] with the command and what it said.
    pub fn compose(&self, project: &str, file: &str, args: &[&str]) -> Result<String> {
        let argv = [&["--ansi", "never", "-p", project, "-f", file], args].concat();
        let (command, words) = self.program("docker-compose", &argv);
        run(command, &words, Duration::from_mins(2)).into_result(&words, self.node.name())
    }

    /// Runs the docker client, which must succeed; its standard output.
    ///
    /// # Errors
    /// [`Error::Command`] with the command and what it said.
    pub fn docker_ok(&self, args: &[&str]) -> Result<String> {
        let mut argv = vec!["docker"];
        argv.extend(args);
        self.docker(args).into_result(&shell_words(&argv), self.node.name())
    }

    /// Runs a command in a container (`docker exec`); its standard output.
    ///
    /// # Errors
    /// As [`DockerHost::docker_ok`].
    pub fn in_container(&self, container: &str, argv: &[&str]) -> Result<String> {
        let mut args = vec!["exec", container];
        args.extend(argv);
        self.docker_ok(&args)
    }

    /// The pid of a container's first process as the host sees it.
    ///
    /// # Errors
    /// If there is no such container or it is not running.
    pub fn container_pid(&self, container: &str) -> Result<u32> {
        let text = self.docker_ok(&["inspect", "--format", "{{.State.Pid}}", container])?;
        match text.parse() {
            Ok(pid) if pid != 0 => Ok(pid),
            _ => Err(Error::Unexpected(format!("container {container} is not running"))),
        }
    }

    /// How long it takes until an address answers the host's ping, one each 5 ms.
    ///
    /// # Errors
    /// If it does not within `limit`, in whole seconds.
    pub fn first_answer(&self, address: &str, limit: Duration) -> Result<Duration> {
        let limit = limit.as_secs().to_string();
        let start = std::time::Instant::now();
        // With a deadline the count is that of the answers.
        self.node.check(&["ping", "-n", "-q", "-i", "0.005", "-c", "1", "-w", &limit, address])?;
        Ok(start.elapsed())
    }

    /// A request to dockerd without the client in between: status and body.
    ///
    /// # Errors
    /// If dockerd does not answer within a minute.
    pub fn docker_api(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let answer = http::ask(&self.path(SOCKET), method, path, body, Duration::from_mins(1))?;
        Ok((answer.status, answer.body))
    }

    fn ensure_image(&self) -> Result<()> {
        if self.docker_api("GET", "/images/box/json", "")?.0 == 200 {
            return Ok(());
        }
        let tar = image::image()?.display().to_string();
        self.docker_ok(&["load", "--quiet", "--input", &tar]).map(drop)
    }
}
