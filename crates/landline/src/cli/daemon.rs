//! The daemon, and the configuration file that it reads.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use landline_spec::parse_duration;

use super::ControlOptions;

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigOptions {
    /// The configuration file; it need not be there.
    #[arg(long, env = "LANDLINE_CONFIG", value_name = "PATH", default_value = "/etc/landline/landline.toml")]
    pub(crate) config: PathBuf,
}

/// What to do with the configuration file.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the daemon would take it, or what is wrong and where.
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
    /// The interface of this host, or the directory of a VDE switch, that containers may hang on.
    pub(crate) parent: Option<landline_spec::Parent>,
    /// How they may: bridge, macvlan, ipvlan, ovs, vde, nic, dummy; without it, in the way the parent has by itself.
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Vec<landline_spec::KindWord>,
    /// Where their static addresses must be.
    #[arg(long)]
    pub(crate) subnet: Vec<ipnet::IpNet>,
    /// Which VLANs they may be in.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4094))]
    pub(crate) vlan: Vec<u16>,
    /// Let them choose their hardware addresses.
    #[arg(long)]
    pub(crate) macs: bool,
    /// Let them ask for the host to reach them (macvlan, ipvlan).
    #[arg(long)]
    pub(crate) host_access: bool,
    /// Let them choose the client identifier, vendor class and user class that DHCP servers receive.
    #[arg(long)]
    pub(crate) client_ids: bool,
    /// Let them choose the name that DHCP servers receive.
    #[arg(long)]
    pub(crate) hostnames: bool,
    /// Let them name the host's ends of their links.
    #[arg(long)]
    pub(crate) host_ifnames: bool,
    /// Let them choose the MTU.
    #[arg(long)]
    pub(crate) mtus: bool,
    /// Let them have the bridge made if it is not there.
    #[arg(long)]
    pub(crate) bridges: bool,
    /// Let them change the routes, rules and queues of their own namespace.
    #[arg(long)]
    pub(crate) changes: bool,
}

fn kind(text: &str) -> Result<landline_spec::KindWord, String> {
    text.to_owned().try_into()
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
    #[command(flatten)]
    pub(crate) config: ConfigOptions,
    /// How long Docker must lack a network before it is removed.
    #[arg(long, hide = true, default_value = "60s", value_parser = parse_duration)]
    pub(crate) network_grace: Duration,
    /// How much to log: error, warn, info, debug, trace, or per module (`landline=debug` is all of Landline, `landline_leases=debug` the leases). `LOG_LEVEL` works too.
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
