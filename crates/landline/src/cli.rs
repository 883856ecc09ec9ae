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
    /// Show everything about the interfaces of a container or a network: identity, lease, every option the server sent.
    Inspect(InspectOptions),
    /// Do something about a container's lease.
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Put a NIC under a bridge without losing the host, so that containers can be plugged in beside it.
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Show or drop what is remembered of containers: hardware address, client identifier, last lease.
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// Give a container on Docker's own bridge an address of the LAN, which the host translates.
    Nat(NatOptions),
    /// Let the host reach the containers of macvlan and ipvlan networks, Docker's own as well.
    #[command(subcommand)]
    HostAccess(HostAccessCommand),
}

/// What to do about addresses on the host.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct NatOptions {
    #[command(subcommand)]
    pub(crate) command: Option<NatCommand>,
    #[command(flatten)]
    pub(crate) add: NatAddOptions,
}

/// How to give a container an address.
#[derive(Debug, Args)]
pub(crate) struct NatAddOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// The container's name; it need not run yet, or be there.
    pub(crate) container: Option<String>,
    /// A free address of the LAN.
    #[arg(value_name = "ADDRESS[/LENGTH]")]
    pub(crate) address: Option<String>,
    /// The NIC that is plugged into that LAN.
    #[arg(long, value_name = "NIC")]
    pub(crate) dev: Option<IfName>,
    /// What is passed on: 80, 80:8080 (the container's behind the colon), 53/udp, or all. Without it what the container
    /// exposes or publishes.
    #[arg(long = "port", value_name = "PORT")]
    pub(crate) ports: Vec<String>,
    /// Let it through the host's firewall, by rules in DOCKER-USER or FORWARD, and switch on `ip_forward` if it is off; both
    /// are taken back with the address.
    #[arg(long)]
    pub(crate) open_firewall: bool,
}

/// What else to do about addresses on the host.
#[derive(Debug, Subcommand)]
pub(crate) enum NatCommand {
    /// List them.
    Ls(LsOptions),
    /// Take a container's address back, with all that was done for it.
    Rm {
        #[command(flatten)]
        control: ControlOptions,
        /// The container's name.
        container: String,
    },
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
}

/// What to do about host access.
#[derive(Debug, Subcommand)]
pub(crate) enum HostAccessCommand {
    /// Give the host access to a network's containers, until it is disabled; survives a reboot.
    Enable(EnableOptions),
    /// Take it back, with all that was done for it.
    Disable {
        #[command(flatten)]
        control: ControlOptions,
        /// The network's name or id.
        network: String,
    },
    /// List the networks that have it.
    Ls(LsOptions),
    /// Look after one network in the foreground, without a daemon, as macvlan-router does.
    Run(RouterOptions),
}

/// How to give the host access to a network.
#[derive(Debug, Args)]
pub(crate) struct EnableOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// The network's name or id.
    pub(crate) network: String,
    /// An address for the host's interface; without it no address is needed. One IPv4 and one IPv6 at most.
    #[arg(long = "ip", value_name = "ADDRESS[/LENGTH]")]
    pub(crate) addresses: Vec<String>,
    /// A further destination to be reached through that interface, which needs --ip.
    #[arg(long = "route", value_name = "CIDR")]
    pub(crate) routes: Vec<String>,
    /// What that interface is to be called; needs --ip.
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Allow `rp_filter` of the NIC to be set to 2 (loose) until host access is disabled, which ipvlan without --ip needs.
    #[arg(long)]
    pub(crate) loosen_rp_filter: bool,
}

/// macvlan-router's settings; it has them in its environment.
#[derive(Debug, Args)]
pub(crate) struct RouterOptions {
    /// The Docker network.
    #[arg(long, env = "MACVLAN_DOCKER_NETWORK", value_name = "NETWORK")]
    pub(crate) network: Option<String>,
    /// A free address of the network's subnet for the host's interface; an IPv6 one may follow after a space.
    #[arg(long, env = "MACVLAN_BRIDGE_IP", value_name = "ADDRESS[/LENGTH]")]
    pub(crate) ip: Option<String>,
    /// What that interface is called; the network's name by default.
    #[arg(long, env = "MACVLAN_BRIDGE_INTERFACE_NAME", value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Further destinations, with spaces between them.
    #[arg(long, env = "ADDITIONAL_ROUTES", value_name = "CIDR ...")]
    pub(crate) routes: Option<String>,
    /// Whether the interface is removed at the end: `true` or `1`.
    #[arg(long, env = "CLEANUP_ON_EXIT", value_name = "BOOL")]
    pub(crate) cleanup: Option<String>,
    /// Whether much is logged: `true` or `1`.
    #[arg(long, env = "DEBUG", value_name = "BOOL")]
    pub(crate) debug: Option<String>,
    /// Accepted and not needed: nothing is polled.
    #[arg(long, env = "INTERVAL", value_name = "SECONDS", hide = true)]
    pub(crate) interval: Option<String>,
    /// Docker's own API.
    #[arg(
        long,
        env = "LANDLINE_DOCKER_HOST",
        value_name = "URL",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub(crate) docker_host: String,
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
    /// A further name of the IPAM driver, like `vde-ipam`: it gets a socket beside the plugin socket.
    #[arg(long, env = "LANDLINE_IPAM_NAME", value_name = "NAME", value_delimiter = ',')]
    pub(crate) ipam_name: Vec<PluginName>,
    /// Serve Docker under this name too, whose networks have these options unless they say otherwise, for example
    /// `vde:mode=vde`. Can be given several times.
    #[arg(long, value_name = "NAME[:OPTION=VALUE,...]")]
    pub(crate) driver: Vec<crate::preset::Preset>,
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

/// What Docker may call a plugin: the name of its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginName(String);

impl PluginName {
    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for PluginName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if fits && (1..=64).contains(&text.len()) && !text.starts_with(['.', '-']) {
            Ok(Self(text.to_owned()))
        } else {
            Err("write up to 64 letters, digits, '_', '.' or '-'")
        }
    }
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
