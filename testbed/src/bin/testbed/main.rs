//! `testbed`: a LAN with real DHCP servers and Docker hosts, by hand.

mod bench;
mod demo;
mod engines;
mod hands_on;
mod matrix;
mod record;
mod transcript;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use landline_testbed::{Engine, Lan, Result, clean, fetch_engines};

/// A LAN in network namespaces with real DHCP servers and Docker hosts.
///
/// Nothing of it is linked to this machine's own network. Needs root.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Bring up a LAN and a Docker host and open a shell on the host; everything is gone when the shell ends.
    Shell(HostOptions),
    /// Bring up a LAN and a Docker host and leave them running.
    Up(HostOptions),
    /// End what `up` left running.
    Down,
    /// List what `up` left running.
    Ls,
    /// Run a command on a machine of the lab that `up` left running: router, peer, lan, host1.
    In {
        /// The machine.
        node: String,
        /// The command; a shell if there is none.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Remove labs whose owner is dead.
    Clean,
    /// Show Landline at work: a container with an address of its own from the LAN's DHCP server.
    Demo(demo::Options),
    /// Measure what Landline costs: tables of medians and ratios (`make bench`).
    Bench(bench::Options),
    /// Send datagrams as fast as they go, for a benchmark.
    #[command(hide = true)]
    Flood(bench::Flood),
    /// Unpack other Docker engines from other Debian suites into a directory (some 230 MB each).
    GetEngines {
        /// Where to; an engine ends up in `DIR/<version>`.
        dir: PathBuf,
    },
    /// Restart Docker and the host under ten identical containers, with the installed engine and with each unpacked one, and
    /// print what became of them and after how long; then run other end-to-end tests with each of them.
    TestEngines(engines::Options),
    /// Write down what real engines send a network driver.
    RecordEngines(record::Options),
    /// Run a command on a distribution's kernel: a VM over this machine's files, about five seconds.
    Vm(vm::Options),
    /// Run lines of shell on a machine whose init is systemd, with Docker of its own: a VM that boots in about a minute.
    SystemVm(vm::SystemOptions),
    /// Check that VMs can run here, and fetch their kernel.
    VmSetup(vm::SetUpOptions),
    /// A LAN and a host that live until this process ends, however it ends.
    #[command(hide = true)]
    Hold,
}

/// What the Docker host of `shell` and `up` is like.
#[derive(Debug, Args)]
struct HostOptions {
    /// Directory of an unpacked Docker engine (see `get-engines`); default is the installed one.
    #[arg(long, value_name = "DIR")]
    engine: Option<PathBuf>,
    /// Start this `landline` daemon on the host.
    #[arg(long, value_name = "PATH")]
    landline: Option<PathBuf>,
}

impl HostOptions {
    fn engine(&self) -> Engine {
        self.engine.clone().map_or(Engine::System, Engine::Path)
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Shell(options) => hands_on::shell(&options),
        Task::Up(options) => hands_on::up(&options),
        Task::Down => clean(true).map(|removed| listed("removed ", &removed)),
        Task::Ls => hands_on::list(),
        Task::In { node, command } => hands_on::run_in(&node, &command),
        Task::Clean => clean(false).map(|removed| listed("removed ", &removed)),
        Task::Demo(options) => demo::demo(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Flood(options) => bench::flood(&options),
        Task::GetEngines { dir } => fetch_engines(&dir).map(|found| {
            let found: Vec<String> = found.iter().map(|dir| dir.display().to_string()).collect();
            listed("", &found)
        }),
        Task::TestEngines(options) => engines::test(&options),
        Task::RecordEngines(options) => record::record(&options),
        Task::Vm(options) => vm::run(&options),
        Task::SystemVm(options) => vm::run_system(&options),
        Task::VmSetup(options) => vm::set_up(&options),
        Task::Hold => hold(),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("testbed: {}", in_full(&error));
            ExitCode::FAILURE
        }
    }
}

/// Prints what was done, one thing per line.
fn listed(verb: &str, things: &[String]) -> u8 {
    for thing in things {
        println!("{verb}{thing}");
    }
    0
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn hold() -> Result<u8> {
    let lan = Lan::new()?;
    let _host = lan.docker_host("host1")?;
    println!("{}", lan.name());
    // Until somebody kills this process, which is what it is for.
    loop {
        std::thread::park();
    }
}
