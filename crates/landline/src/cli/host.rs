//! What concerns the host itself: addresses on it, bridges under its NICs, its way to containers.

use std::time::Duration;

use clap::{Args, Subcommand};
use landline_options::parse_duration;
use landline_types::IfName;

use super::{ControlOptions, LsOptions};

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
    /// The container's name; it need not exist yet.
    pub(crate) container: Option<String>,
    /// A free address of the LAN, or `dhcp` to lease one.
    #[arg(value_name = "ADDRESS[/LENGTH]|dhcp")]
    pub(crate) address: Option<String>,
    /// The NIC on that LAN.
    #[arg(long, value_name = "NIC")]
    pub(crate) dev: Option<IfName>,
    /// Port to forward: 80, 80:8080 (LAN:CONTAINER), 53/udp, or all; default: the ports that the container exposes or
    /// publishes.
    #[arg(long = "port", value_name = "PORT")]
    pub(crate) ports: Vec<String>,
    /// Add firewall rules to DOCKER-USER or FORWARD, and switch on `ip_forward`; both are undone with the address.
    #[arg(long)]
    pub(crate) open_firewall: bool,
}

/// What else to do about addresses on the host.
#[derive(Debug, Subcommand)]
pub(crate) enum NatCommand {
    /// List NAT addresses.
    #[command(alias = "list")]
    Ls(LsOptions),
    /// Remove a container's NAT address.
    #[command(alias = "remove")]
    Rm {
        #[command(flatten)]
        control: ControlOptions,
        /// The container's name.
        container: String,
    },
}

/// What to do about host access.
#[derive(Debug, Subcommand)]
pub(crate) enum HostAccessCommand {
    /// Give the host access to a network's containers.
    ///
    /// Survives reboots, until `landline host-access disable`.
    Enable(EnableOptions),
    /// Remove host access to a network's containers.
    Disable {
        #[command(flatten)]
        control: ControlOptions,
        /// The network's name or id.
        network: String,
    },
    /// List networks with host access.
    #[command(alias = "list")]
    Ls(LsOptions),
    /// Replace macvlan-router: serve one network without a daemon.
    Run(RouterOptions),
}

/// How to give the host access to a network.
#[derive(Debug, Args)]
pub(crate) struct EnableOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// The network's name or id.
    pub(crate) network: String,
    /// Address for the host's interface (optional; at most one IPv4 and one IPv6 address).
    #[arg(long = "ip", value_name = "ADDRESS[/LENGTH]")]
    pub(crate) addresses: Vec<String>,
    /// Further destination reached through that interface; requires --ip.
    #[arg(long = "route", value_name = "CIDR")]
    pub(crate) routes: Vec<String>,
    /// Name of that interface; requires --ip.
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Allow setting the NIC's `rp_filter` to 2 (loose) until host access is disabled; ipvlan without --ip requires it.
    #[arg(long)]
    pub(crate) loosen_rp_filter: bool,
}

/// macvlan-router's settings; it has them in its environment.
#[derive(Debug, Args)]
pub(crate) struct RouterOptions {
    /// The Docker network.
    #[arg(long, env = "MACVLAN_DOCKER_NETWORK", value_name = "NETWORK")]
    pub(crate) network: Option<String>,
    /// Free address of the network's subnet for the host's interface; an IPv6 address may follow after a space.
    #[arg(long, env = "MACVLAN_BRIDGE_IP", value_name = "ADDRESS[/LENGTH]")]
    pub(crate) ip: Option<String>,
    /// Name of that interface; default: the network's name.
    #[arg(long, env = "MACVLAN_BRIDGE_INTERFACE_NAME", value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Further destinations, separated by spaces.
    #[arg(long, env = "ADDITIONAL_ROUTES", value_name = "CIDR ...")]
    pub(crate) routes: Option<String>,
    /// Remove the interface at exit: `true` or `1`.
    #[arg(long, env = "CLEANUP_ON_EXIT", value_name = "BOOL")]
    pub(crate) cleanup: Option<String>,
    /// Log debug messages: `true` or `1`.
    #[arg(long, env = "DEBUG", value_name = "BOOL")]
    pub(crate) debug: Option<String>,
    /// Accepted for compatibility, and ignored: nothing is polled.
    #[arg(long, env = "INTERVAL", value_name = "SECONDS", hide = true)]
    pub(crate) interval: Option<String>,
    /// The Docker API.
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
    /// Create a bridge and move a NIC under it.
    ///
    /// The host's addresses and routes move to the bridge. Unless `landline bridge confirm` follows in time, the change is undone.
    Adopt(AdoptOptions),
    /// Keep an adopted bridge.
    ///
    /// Type this if you can still reach the host.
    Confirm {
        #[command(flatten)]
        control: ControlOptions,
        /// The bridge.
        bridge: IfName,
    },
    /// Move addresses and routes back, and remove the bridge.
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
        /// The bridge's kind.
        #[arg(long, value_enum, default_value_t)]
        kind: BridgeKind,
        /// How long to wait for a confirmation.
        #[arg(long, value_parser = parse_duration)]
        within: Option<Duration>,
    },
    /// Take bridges of Open vSwitch out of its database that were made before this boot; for systemd, before it starts
    /// the switch.
    #[command(hide = true)]
    Sweep,
}

/// What kind of bridge a NIC is put under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum BridgeKind {
    /// A Linux bridge.
    #[default]
    Bridge,
    /// An Open vSwitch bridge.
    Ovs,
    /// An Open vSwitch bridge with the userspace datapath, for kernels without the module. The host is on the LAN only
    /// while ovs-vswitchd runs.
    OvsNetdev,
}

/// How a NIC is put under a bridge.
#[derive(Debug, Args)]
pub(crate) struct AdoptOptions {
    /// The NIC on the LAN.
    pub(crate) nic: IfName,
    /// Name of the bridge.
    #[arg(long = "as", value_name = "BRIDGE")]
    pub(crate) bridge: IfName,
    /// Kind of bridge.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) kind: BridgeKind,
    /// Time to wait for `landline bridge confirm` before the change is undone.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) confirm_within: Duration,
    /// Once confirmed, write the bridge into the configuration of the NIC's network manager: systemd-networkd,
    /// `NetworkManager` or ifupdown. What will be written is printed first.
    #[arg(long)]
    pub(crate) persist: bool,
    /// Print the equivalent shell commands, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) control: ControlOptions,
}
