//! The command line.

mod attach;
mod daemon;
mod host;
mod list;
mod network;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

pub(crate) use attach::{
    AttachOptions, DetachOptions, ExecOptions, PipeworkDaemonOptions, PipeworkOptions, WhereOptions,
};
pub(crate) use daemon::{AllowOptions, ConfigCommand, ConfigOptions, DaemonOptions, PluginName};
pub(crate) use host::{
    AdoptOptions, BridgeCommand, BridgeKind, EnableOptions, HostAccessCommand, NatAddOptions, NatCommand,
    NatOptions, RouterOptions,
};
pub(crate) use list::{ListOptions, LsOptions};
pub(crate) use network::{CreateOptions, NetworkCommand, RemoveOptions};

/// Connect containers to the local network.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80, infer_subcommands = true)]
#[command(
    after_help = "Commands may be shortened: landline id l is landline identity ls.\nExit status: 0 success, 1 failure, \
    2 wrong usage, 3 timeout, 8 the daemon does not run, 10 not found."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The command line; called as `pipework` the program is pipework.
pub(crate) fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments.first().map(Path::new).and_then(Path::file_name);
    if called.is_some_and(|name| name == "pipework") {
        arguments.insert(1, "pipework".into());
    }
    arguments
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the network driver for Docker in the foreground.
    Daemon(DaemonOptions),
    /// Run VDE switches; started by the daemon, which it outlives.
    #[command(hide = true)]
    Switches,
    /// Show the daemon, its networks and its problems on one screen.
    ///
    /// The exit status is 1 if there is a problem, and 8 if the daemon does not run.
    Status(StatusOptions),
    /// List container interfaces and their leases.
    #[command(alias = "list")]
    Ls(LsOptions),
    /// Show details of a container's or a network's interfaces.
    ///
    /// Identity, lease, and every option that the server sent.
    Inspect(InspectOptions),
    /// Show what happened to containers and their leases.
    ///
    /// The daemon keeps the last 1000 events.
    Events(EventsOptions),
    /// Draw the networks and containers.
    ///
    /// The host, its NICs, bridges and VLANs, and the containers on them with their addresses.
    Graph(GraphOptions),
    /// Print metrics for Prometheus.
    Metrics(MetricsOptions),
    /// Wait until a container has its addresses, and print them.
    ///
    /// The container need not exist yet. The exit status is 3 if it takes too long.
    Wait(WaitOptions),
    /// Diagnose why containers cannot be reached, and suggest fixes.
    Doctor(DoctorOptions),
    /// Renew or release a container's lease.
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Move a NIC under a bridge without losing the connection.
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Attach a LAN interface to a container, process or namespace.
    ///
    /// It is attached again after restarts and reboots, until `landline detach`.
    Attach(AttachOptions),
    /// Remove interfaces added by `landline attach`.
    ///
    /// What they replaced, such as a default route, is restored.
    Detach(DetachOptions),
    /// Accept pipework's command line.
    #[command(disable_help_flag = true)]
    Pipework(PipeworkOptions),
    /// Replace the docker-pipework container.
    ///
    /// Reads docker-pipework's environment variables, and `allow=PARENT,…` for the parents that containers may use. It
    /// serves attachments only, not Docker networks.
    PipeworkDaemon(PipeworkDaemonOptions),
    /// Print a container's process id.
    Pid(WhereOptions),
    /// Print a container's addresses.
    Ip(WhereOptions),
    /// Run a host program in a container's network namespace.
    Exec(ExecOptions),
    /// Allow containers to request interfaces on a parent.
    ///
    /// They request them in their labels or environment variables.
    Allow(AllowOptions),
    /// Check the configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// List, export or forget remembered identities.
    ///
    /// An identity is a container's hardware address, client identifier and last lease.
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// Create, list or remove networks.
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Translate a LAN address to a container on Docker's bridge.
    Nat(NatOptions),
    /// Let the host reach macvlan and ipvlan containers.
    ///
    /// Those of Docker's own macvlan and ipvlan networks, too.
    #[command(subcommand)]
    HostAccess(HostAccessCommand),
    /// Show a container's last DHCP, ARP and router messages.
    ///
    /// The daemon keeps the last messages of each interface in memory, at most 64 and 8 KiB.
    Trace(TraceOptions),
    /// Collect the information for a bug report.
    ///
    /// Versions, status, interfaces, leases, configuration and the last lines of the log. Keys are left out.
    Bugreport(BugreportOptions),
    /// Print a shell's completion script.
    Completions(CompletionsOptions),
    /// Print a manual page.
    Man(ManOptions),
}

/// For which shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsOptions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// A shell that completes commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    /// `source <(landline completions bash)`.
    Bash,
    /// `source <(landline completions zsh)`.
    Zsh,
    /// `landline completions fish | source`.
    Fish,
}

/// Which manual page.
#[derive(Debug, Args)]
pub(crate) struct ManOptions {
    /// The command that it describes, like `bridge adopt`; default: the program.
    pub(crate) command: Vec<String>,
    /// Write all pages into this directory instead.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}

/// What `status` prints.
#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    #[command(flatten)]
    pub(crate) config: ConfigOptions,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which events to show, and how.
#[derive(Debug, Args)]
pub(crate) struct EventsOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// Only events newer than this, like 30m or 1h.
    #[arg(long, value_name = "TIME", value_parser = landline_options::parse_duration)]
    pub(crate) since: Option<std::time::Duration>,
    /// Show events as they happen.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only events with this value in a field of the JSON; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<crate::listing::Filter>,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How to draw.
#[derive(Debug, Args)]
pub(crate) struct GraphOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// The format.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: GraphFormat,
}

/// In which language a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum GraphFormat {
    /// A tree for the terminal.
    #[default]
    Tree,
    /// A flowchart for Markdown pages.
    Mermaid,
    /// A graph for Graphviz.
    Dot,
    /// A picture for browsers.
    Svg,
}

/// Which daemon's metrics to print.
#[derive(Debug, Args)]
pub(crate) struct MetricsOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
}

/// Which messages to show, and how.
#[derive(Debug, Args)]
pub(crate) struct TraceOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// A container's name or id, or pid:N or netns:PATH as attached.
    #[arg(value_name = "CONTAINER")]
    pub(crate) target: String,
    /// Show messages as they come.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Write a file for Wireshark or tcpdump instead.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) pcap: Option<PathBuf>,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a report contains.
#[derive(Debug, Args)]
pub(crate) struct BugreportOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    #[command(flatten)]
    pub(crate) config: ConfigOptions,
    /// Replace hardware addresses, client identifiers and IP addresses by numbers.
    #[arg(long)]
    pub(crate) redact: bool,
}

/// How to look at the host.
#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    #[command(flatten)]
    pub(crate) config: ConfigOptions,
    /// Apply the safe fixes: firewall rules in DOCKER-USER or FORWARD that let containers through, and `ip_forward`. They
    /// stay until --undo, or until no network needs them.
    #[arg(long, conflicts_with = "undo")]
    pub(crate) fix: bool,
    /// Undo what --fix has done.
    #[arg(long)]
    pub(crate) undo: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct InspectOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// The name or id of a container or a network, or the id of an endpoint.
    pub(crate) target: String,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to wait for.
#[derive(Debug, Args)]
pub(crate) struct WaitOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// A container's name or id, or pid:N or netns:PATH as attached.
    #[arg(value_name = "CONTAINER")]
    pub(crate) target: String,
    /// What to wait for.
    #[arg(long = "for", value_name = "STATE", value_enum, default_value_t)]
    pub(crate) until: WaitFor,
    /// Longest time to wait, like 30s; default: no limit.
    #[arg(long, value_name = "TIME", value_parser = landline_options::parse_duration)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a container is waited for to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum WaitFor {
    /// An address on each network that it is connected to so far.
    #[default]
    Address,
    /// A lease that the server has confirmed.
    Bound,
    /// The address set in the container, and the spanning tree forwards its packets.
    Reachable,
}

/// What to do about leases.
#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Renew a lease now, as at T1.
    Renew {
        #[command(flatten)]
        control: ControlOptions,
        /// The container's name or id.
        container: String,
        /// The network; default: all of the container's networks.
        network: Option<String>,
    },
    /// Release a lease.
    ///
    /// A running container then has no address until its lease is renewed or the container is started again.
    Release {
        #[command(flatten)]
        control: ControlOptions,
        /// The container's name or id.
        container: String,
        /// The network; default: all of the container's networks.
        network: Option<String>,
    },
}

/// What to do with identities.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// List remembered identities.
    #[command(alias = "list")]
    Ls(LsOptions),
    /// Print a container's identity or DHCP reservation.
    ///
    /// Works before the container's first start.
    Of {
        #[command(flatten)]
        control: ControlOptions,
        /// The container's name, or its key (`landline.id`).
        #[arg(value_name = "NAME|KEY")]
        name: String,
        /// The network.
        #[arg(long)]
        network: String,
        /// The DHCP server to write a reservation for.
        #[arg(long, value_enum, default_value_t)]
        format: crate::identity::Format,
        /// The address to reserve; default: the last leased one.
        #[arg(long, value_name = "ADDRESS")]
        ip: Option<std::net::Ipv4Addr>,
    },
    /// Print or replace the site key of derived identities.
    Key {
        #[command(flatten)]
        control: ControlOptions,
        /// Use another host's key; `-` reads it from standard input.
        #[arg(long, value_name = "KEY")]
        set: Option<String>,
    },
    /// Print all identities as JSON for another host.
    Export {
        #[command(flatten)]
        control: ControlOptions,
    },
    /// Import the identities of another host.
    Import {
        #[command(flatten)]
        control: ControlOptions,
        /// The output of `landline identity export`; `-` reads it from standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forget an unused identity.
    ///
    /// The container gets a new one at its next start.
    Forget {
        #[command(flatten)]
        control: ControlOptions,
        /// The identity's id or key (`landline.id`), as listed.
        #[arg(value_name = "ID|KEY")]
        id: String,
    },
}

/// Where the daemon listens for commands.
#[derive(Debug, Args)]
pub(crate) struct ControlOptions {
    /// The daemon's control socket.
    #[arg(
        long,
        env = Self::VARIABLE,
        value_name = "PATH",
        default_value = Self::DEFAULT,
        help_heading = "Where the daemon is"
    )]
    pub(crate) control_socket: PathBuf,
}

impl ControlOptions {
    /// The environment variable that says so, too.
    pub(crate) const VARIABLE: &str = "LANDLINE_CONTROL_SOCKET";
    /// Where it is if nothing else is said.
    pub(crate) const DEFAULT: &str = "/run/landline/control.sock";
}
