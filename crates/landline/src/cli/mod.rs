//! The command line.

mod attach;
mod daemon;
mod host;

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

/// Plugs containers into the local network.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
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
    /// Serve Docker: run the network driver and look after leases, in the foreground.
    Daemon(DaemonOptions),
    /// Run VDE switches; started by the daemon, which it outlives.
    #[command(hide = true)]
    Switches,
    /// List the container interfaces on Landline networks and their leases.
    Ls(LsOptions),
    /// Show everything about the interfaces of a container or a network: identity, lease, every option the server sent.
    Inspect(InspectOptions),
    /// Say what on this host keeps containers from being reached, and what to do about it.
    Doctor(DoctorOptions),
    /// Do something about a container's lease.
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Put a NIC under a bridge without losing the host, so that containers can be plugged in beside it.
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Give a running container, process or namespace one more interface on the LAN, for as long as it is there.
    Attach(AttachOptions),
    /// Take such interfaces away again, and put back what they replaced.
    Detach(DetachOptions),
    /// What pipework does, in its own words.
    #[command(disable_help_flag = true)]
    Pipework(PipeworkOptions),
    /// Be what the docker-pipework container was, with its environment variables, and `allow=PARENT,…` for what its
    /// containers may hang on. It is no network driver.
    PipeworkDaemon(PipeworkDaemonOptions),
    /// Print a container's process id.
    Pid(WhereOptions),
    /// Print a container's addresses.
    Ip(WhereOptions),
    /// Run a program of this host in a container's network.
    Exec(ExecOptions),
    /// Let containers ask for interfaces on a parent, in their labels and environment.
    Allow(AllowOptions),
    /// Look at the configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show or drop what is remembered of containers: hardware address, client identifier, last lease.
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// List Landline's networks, or forget one that Docker no longer has.
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Give a container on Docker's own bridge an address of the LAN, which the host translates.
    Nat(NatOptions),
    /// Let the host reach the containers of macvlan and ipvlan networks, Docker's own as well.
    #[command(subcommand)]
    HostAccess(HostAccessCommand),
}

/// How to look at the host.
#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    #[command(flatten)]
    pub(crate) config: ConfigOptions,
    /// Do what Landline can do about it: let containers through the host's firewall by rules in DOCKER-USER or FORWARD, and
    /// switch on `ip_forward`. It stays so until --undo, or until no network needs it any more.
    #[arg(long, conflicts_with = "undo")]
    pub(crate) fix: bool,
    /// Take back what --fix has done.
    #[arg(long)]
    pub(crate) undo: bool,
    /// Print JSON for programs instead of lines.
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
    /// Print JSON for programs instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to do about leases.
#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Ask the server again now, as when half of the lease is over.
    Renew {
        #[command(flatten)]
        control: ControlOptions,
        /// The container's name or id.
        container: String,
        /// Its lease on this network only.
        network: Option<String>,
    },
    /// Give the lease back. A running container has no address then, until its lease is renewed or it is started again.
    Release {
        #[command(flatten)]
        control: ControlOptions,
        /// The container's name or id.
        container: String,
        /// Its lease on this network only.
        network: Option<String>,
    },
}

/// What to do with identities.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// List them.
    Ls(LsOptions),
    /// Print who a container is to DHCP servers, also before its first start.
    Of {
        #[command(flatten)]
        control: ControlOptions,
        /// The container's name, or its key (`landline.id`).
        #[arg(value_name = "NAME|KEY")]
        name: String,
        /// The network.
        #[arg(long)]
        network: String,
        /// Whose configuration to write the reservation for.
        #[arg(long, value_enum, default_value_t)]
        format: crate::identity::Format,
        /// The address to reserve; default: that of the last lease.
        #[arg(long, value_name = "ADDRESS")]
        ip: Option<std::net::Ipv4Addr>,
    },
    /// Print the site key that derived identities come from, or replace it.
    Key {
        #[command(flatten)]
        control: ControlOptions,
        /// The key of another host; `-`: read it from standard input.
        #[arg(long, value_name = "KEY")]
        set: Option<String>,
    },
    /// Print all of them as JSON, for another host.
    Export {
        #[command(flatten)]
        control: ControlOptions,
    },
    /// Take over the identities of another host.
    Import {
        #[command(flatten)]
        control: ControlOptions,
        /// What `landline identity export` printed there; `-`: read it from standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print JSON for programs instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Forget one that is not in use; its container gets a new one at its next start.
    Forget {
        #[command(flatten)]
        control: ControlOptions,
        /// Its id, or its key (`landline.id`), as listed.
        #[arg(value_name = "ID|KEY")]
        id: String,
    },
}

/// What to do with networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// List the networks, and whether Docker has each of them.
    Ls(LsOptions),
    /// Forget a network that Docker no longer has, with everything that was made for it. The daemon does so by itself after
    /// a minute.
    Forget {
        #[command(flatten)]
        control: ControlOptions,
        /// The network's name or id.
        network: String,
    },
}

/// Where the daemon listens for commands.
#[derive(Debug, Args)]
pub(crate) struct ControlOptions {
    /// Socket for Landline's own commands.
    #[arg(
        long,
        env = "LANDLINE_CONTROL_SOCKET",
        value_name = "PATH",
        default_value = "/run/landline/control.sock"
    )]
    pub(crate) control_socket: PathBuf,
}

/// What `ls` prints.
#[derive(Debug, Args)]
pub(crate) struct LsOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// Print JSON for programs instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}
