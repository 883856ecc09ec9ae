//! The daemon, and the configuration file that it reads.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use landline_options::parse_duration;

use super::ControlOptions;

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigOptions {
    /// Configuration file (optional).
    #[arg(long, env = "LANDLINE_CONFIG", value_name = "PATH", default_value = "/etc/landline/landline.toml")]
    pub(crate) config: PathBuf,
}

/// What to do with the configuration file.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Validate the configuration file.
    Check(ConfigOptions),
}

/// What to allow.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "permissions, each on its own")]
pub(crate) struct AllowOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    #[command(flatten)]
    pub(crate) config: ConfigOptions,
    /// Interface of this host, or directory of a VDE switch, that containers may use as their parent.
    pub(crate) parent: Option<landline_options::Parent>,
    /// Allowed link type: bridge, macvlan, ipvlan, ovs, vde, nic, dummy; default: chosen from PARENT.
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Vec<landline_options::AttachKind>,
    /// Subnet that static addresses must be in.
    #[arg(long)]
    pub(crate) subnet: Vec<ipnet::IpNet>,
    /// Allowed VLAN ID.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4094))]
    pub(crate) vlan: Vec<u16>,
    /// Allow containers to choose hardware addresses.
    #[arg(long)]
    pub(crate) macs: bool,
    /// Allow containers to request host access (macvlan, ipvlan).
    #[arg(long)]
    pub(crate) host_access: bool,
    /// Allow containers to choose client identifier, vendor class and user class.
    #[arg(long)]
    pub(crate) client_ids: bool,
    /// Allow containers to choose the host name sent to DHCP servers.
    #[arg(long)]
    pub(crate) hostnames: bool,
    /// Allow containers to name the host end of the link.
    #[arg(long)]
    pub(crate) host_ifnames: bool,
    /// Allow containers to choose the MTU.
    #[arg(long)]
    pub(crate) mtus: bool,
    /// Allow containers to have a missing bridge created.
    #[arg(long)]
    pub(crate) bridges: bool,
    /// Allow containers to change routes, rules and queueing in their namespace.
    #[arg(long)]
    pub(crate) changes: bool,
}

fn kind(text: &str) -> Result<landline_options::AttachKind, String> {
    text.to_owned().try_into()
}

/// Where the daemon's sockets and state are.
#[derive(Debug, Args)]
pub(crate) struct DaemonOptions {
    /// Docker plugin socket; its file name is the driver's name.
    #[arg(
        long,
        env = "LANDLINE_PLUGIN_SOCKET",
        value_name = "PATH",
        default_value = "/run/docker/plugins/landline.sock"
    )]
    pub(crate) plugin_socket: PathBuf,
    /// Additional name of the IPAM driver, like `vde-ipam`; its socket is created beside the plugin socket.
    #[arg(long, env = "LANDLINE_IPAM_NAME", value_name = "NAME", value_delimiter = ',')]
    pub(crate) ipam_name: Vec<PluginName>,
    /// Additional name of the network driver, with default options for its networks, like `vde:mode=vde`. May be repeated.
    #[arg(long, value_name = "NAME[:OPTION=VALUE,...]")]
    pub(crate) driver: Vec<crate::preset::Preset>,
    /// The daemon's control socket.
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// State directory.
    #[arg(long, env = "LANDLINE_STATE_DIR", value_name = "DIR", default_value = "/var/lib/landline")]
    pub(crate) state_dir: PathBuf,
    /// The Docker API, watched for container names; Landline works without it.
    #[arg(
        long,
        env = "LANDLINE_DOCKER_HOST",
        value_name = "URL",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub(crate) docker_host: String,
    #[command(flatten)]
    pub(crate) config: ConfigOptions,
    /// Time after which a network that Docker no longer has is removed.
    #[arg(long, hide = true, default_value = "60s", value_parser = parse_duration)]
    pub(crate) network_grace: Duration,
    /// Log level: error, warn, info, debug, trace, or per module (`landline_leases=debug`). `LOG_LEVEL` works too.
    #[arg(long, env = "LANDLINE_LOG_LEVEL", value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Log one JSON object a line.
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
