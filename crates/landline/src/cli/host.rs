//! What concerns the host itself: addresses on it, bridges under its NICs, its way to containers.

use std::time::Duration;

use clap::{Args, Subcommand};
use landline_spec::parse_duration;
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
    /// The container's name; it need not run yet, or be there.
    pub(crate) container: Option<String>,
    /// A free address of the LAN, or `dhcp` for one from its DHCP server.
    #[arg(value_name = "ADDRESS[/LENGTH]|dhcp")]
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
    /// One of the kernel's.
    #[default]
    Bridge,
    /// One of Open vSwitch's.
    Ovs,
    /// One of Open vSwitch's that ovs-vswitchd forwards itself, for kernels without its module. The host is on the LAN only
    /// as long as that program runs.
    OvsNetdev,
}

/// How a NIC is put under a bridge.
#[derive(Debug, Args)]
pub(crate) struct AdoptOptions {
    /// The NIC that is plugged into the LAN.
    pub(crate) nic: IfName,
    /// What to call the bridge.
    #[arg(long = "as", value_name = "BRIDGE")]
    pub(crate) bridge: IfName,
    /// What kind of bridge.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) kind: BridgeKind,
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
