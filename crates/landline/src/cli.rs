//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use landline_spec::parse_duration;
use landline_types::IfName;

/// Plugs containers into the local network.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve Docker: run the network driver and look after leases, in the foreground.
    Daemon(DaemonOptions),
    /// List the container interfaces on Landline networks and their leases.
    Ls(LsOptions),
    /// Put a NIC under a bridge without losing the host, so that containers can be plugged in beside it.
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Show or drop what is remembered of containers: hardware address, client identifier, last lease.
    #[command(subcommand)]
    Identity(IdentityCommand),
}

/// What to do with bridges.
#[derive(Debug, Subcommand)]
pub(crate) enum BridgeCommand {
    /// Make a bridge, and move the NIC under it with the host's addresses and routes. Undone unless confirmed.
    Adopt(AdoptOptions),
    /// Say that the host can still be reached: the bridge stays.
    Confirm {
        #[command(flatten)]
        control: ControlOptions,
        /// The bridge.
        bridge: IfName,
    },
    /// Move everything back to the NIC and remove the bridge.
    Release {
        #[command(flatten)]
        control: ControlOptions,
        /// The bridge.
        bridge: IfName,
    },
    /// The process that holds the way back; started by the others.
    #[command(hide = true)]
    Guard {
        /// The bridge.
        bridge: IfName,
        /// The NIC.
        nic: IfName,
        /// How long to wait for a confirmation.
        #[arg(long, value_parser = parse_duration)]
        within: Option<Duration>,
    },
}

/// How a NIC is put under a bridge.
#[derive(Debug, Args)]
pub(crate) struct AdoptOptions {
    /// The NIC that is plugged into the LAN.
    pub(crate) nic: IfName,
    /// What to call the bridge.
    #[arg(long = "as", value_name = "BRIDGE")]
    pub(crate) bridge: IfName,
    /// How long to wait for `landline bridge confirm` before everything is put back.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) confirm_within: Duration,
    /// Once it is confirmed, write the bridge into the configuration of whoever configures the NIC at boot:
    /// systemd-networkd, `NetworkManager` or ifupdown. What will be written is shown first.
    #[arg(long)]
    pub(crate) persist: bool,
    /// Print what would be done as shell commands, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) control: ControlOptions,
}

/// What to do with identities.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// List them.
    Ls(LsOptions),
    /// Forget one that is not in use; its container gets a new one at its next start.
    Forget {
        #[command(flatten)]
        control: ControlOptions,
        /// The identity, as listed.
        id: landline_engine::IdentityId,
    },
}

/// Where the daemon's sockets and state are.
#[derive(Debug, Args)]
pub(crate) struct DaemonOptions {
    /// Socket on which Docker finds the driver; its file name is the driver's name.
    #[arg(
        long,
        env = "LANDLINE_PLUGIN_SOCKET",
        value_name = "PATH",
        default_value = "/run/docker/plugins/landline.sock"
    )]
    pub(crate) plugin_socket: PathBuf,
    /// Socket for the other commands of this program.
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// Directory for what must survive a restart.
    #[arg(long, env = "LANDLINE_STATE_DIR", value_name = "DIR", default_value = "/var/lib/landline")]
    pub(crate) state_dir: PathBuf,
    /// Docker's own API, watched for names; Landline works without it.
    #[arg(
        long,
        env = "LANDLINE_DOCKER_HOST",
        value_name = "URL",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub(crate) docker_host: String,
    /// How much to log: error, warn, info, debug, trace, or per module (`landline_engine=debug`). `LOG_LEVEL` works too.
    #[arg(long, env = "LANDLINE_LOG_LEVEL", value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Write logs as JSON, one object a line.
    #[arg(long, env = "LANDLINE_LOG_JSON")]
    pub(crate) log_json: bool,
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
