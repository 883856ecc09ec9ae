//! What Landline costs: tables of medians and ratios of one run. Numbers to read, no limits to pass.
//!
//! Every comparison is between things measured in turn, round by round, so that what else the machine does meets all
//! of them alike.

mod attach;
mod conflict;
mod crowd;
mod daemon;
mod flood;
mod iperf;
mod lab;
mod lease;
mod nat;
mod ovs;
mod reach;
mod rounds;
mod sample;
mod single;
mod table;
mod vde;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};

use landline_testbed::{Error, Result};

use super::hands_on::absolute;

pub(crate) use flood::{Options as Flood, flood};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The `landline` program; a release build, if the numbers are to mean something.
    #[arg(long, value_name = "PATH")]
    landline: PathBuf,
    /// How often each kind of network starts a container [default: 15, with --quick 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    runs: Option<u16>,
    /// A Docker engine that `testbed get-engines` has unpacked, in place of the installed one.
    #[arg(long, value_name = "DIR")]
    engine: Option<PathBuf>,
    /// Only this part.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Few runs and few containers: shows that it works, and little else.
    #[arg(long)]
    quick: bool,
}

/// What is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One container at a time.
    Single,
    /// Other users of an address.
    Conflict,
    /// From DISCOVER to ACK.
    Lease,
    /// Many containers at once.
    Crowd,
    /// Containers that ask for interfaces.
    Attach,
    /// The daemon at rest.
    Daemon,
    /// From `docker start` to an answer.
    HostAccess,
    /// A simulated Ethernet.
    Vde,
    /// Open vSwitch.
    Ovs,
    /// Translated addresses.
    Nat,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Rounds that are not counted, of each table.
    warm_ups: usize,
    /// Rounds of single containers and of single leases.
    runs: usize,
    /// Rounds against a server that pings an address before it offers it. Few: after six pings within half a minute
    /// dnsmasq thinks itself busy and does without.
    pinged_runs: usize,
    /// How often each kind of squatter has the address that is offered.
    squatted: u8,
    /// Rounds of many containers at once.
    crowd_rounds: usize,
    /// How many containers that is.
    crowd: usize,
    /// How many containers are attached at once.
    attached: usize,
    /// With how many endpoints the daemon is looked at.
    endpoints: [usize; 3],
}

impl Extent {
    fn of(options: &Options) -> Self {
        let runs = options.runs.map(usize::from);
        if options.quick {
            Self {
                warm_ups: 1,
                runs: runs.unwrap_or(3),
                pinged_runs: 1,
                squatted: 5,
                crowd_rounds: 1,
                crowd: 5,
                attached: 5,
                endpoints: [0, 1, 5],
            }
        } else {
            Self {
                warm_ups: 2,
                runs: runs.unwrap_or(15),
                pinged_runs: 3,
                squatted: 100,
                crowd_rounds: 5,
                crowd: 20,
                attached: 30,
                endpoints: [0, 1, 50],
            }
        }
    }
}

/// Measures one part and prints its tables.
type Measure = fn(&Path, Extent) -> Result<()>;

/// Measures, and prints a Markdown table for each question.
pub(crate) fn bench(options: &Options) -> Result<u8> {
    if let Some(engine) = &options.engine {
        return on_engine(engine);
    }
    let landline = absolute(&options.landline)?;
    let extent = Extent::of(options);
    println!("{}", conditions());
    println!("Load average at the start: {}.", load());
    let parts: [(Part, Measure); 10] = [
        (Part::Single, single::measure),
        (Part::Conflict, conflict::measure),
        (Part::Lease, lease::measure),
        (Part::Crowd, crowd::measure),
        (Part::Attach, attach::measure),
        (Part::Daemon, daemon::measure),
        (Part::HostAccess, reach::measure),
        (Part::Vde, vde::measure),
        (Part::Ovs, ovs::measure),
        (Part::Nat, nat::measure),
    ];
    for (part, measure) in parts {
        if options.only.is_none_or(|only| only == part) {
            measure(&landline, extent)?;
        }
    }
    println!("\nLoad average at the end: {}.", load());
    Ok(0)
}

/// Where labs find the engine to run (see [`Engine`](landline_testbed::Engine)).
const ENGINE: &str = "LANDLINE_TEST_ENGINE";

/// The same on another engine: in a process that has it in its environment, as labs look there.
fn on_engine(engine: &Path) -> Result<u8> {
    let program = std::env::current_exe()
        .map_err(|error| Error::Unexpected(format!("cannot find this program: {error}")))?;
    let (mut args, mut given) = (Vec::new(), std::env::args_os().skip(1));
    while let Some(arg) = given.next() {
        match arg.to_str() {
            Some("--engine") => drop(given.next()),
            Some(arg) if arg.starts_with("--engine=") => {}
            _ => args.push(arg),
        }
    }
    let mut command = Command::new(program);
    let status = command.args(args).env(ENGINE, absolute(engine)?).status();
    let status =
        status.map_err(|error| Error::Unexpected(format!("cannot start this program again: {error}")))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// What the numbers depend on, in a sentence.
fn conditions() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let dockerd = std::env::var(ENGINE).map_or("dockerd".into(), |dir| format!("{dir}/usr/sbin/dockerd"));
    // What follows the dash is the builder's.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    format!("{cores} cores, Linux {kernel}, {}, {}.", version(&dockerd), version("dnsmasq"))
}

/// What `PROGRAM --version` calls itself.
fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let words = text.split_whitespace();
    let number = words.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let name = program.rsplit('/').next().unwrap_or(program);
    format!("{name} {}", number.unwrap_or("?").trim_end_matches(','))
}

/// Runnable tasks of the whole machine, averaged over 1, 5 and 15 minutes: what else it does.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(", ")
}
