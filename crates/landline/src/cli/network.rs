//! Networks.

use clap::{Args, Subcommand};
use ipnet::IpNet;
use landline_types::IfName;

use super::{ControlOptions, InspectOptions, LsOptions};

/// What to do with networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Create a network on this host's LAN.
    ///
    /// Finds the interface that the default route uses and the mode that suits it, prints the equivalent
    /// `docker network create` command, and creates it.
    Create(CreateOptions),
    /// Show a network, its options and its containers.
    Inspect(InspectOptions),
    /// Remove networks from Docker.
    Rm(RemoveOptions),
    /// List networks, and whether Docker has them.
    #[command(alias = "list")]
    Ls(LsOptions),
    /// Forget a network that Docker no longer has.
    ///
    /// Everything made for it is removed. The daemon does this by itself after a minute.
    Forget {
        #[command(flatten)]
        control: ControlOptions,
        /// The network's name or id.
        network: String,
    },
}

/// How to create a network.
#[derive(Debug, Args)]
pub(crate) struct CreateOptions {
    /// Name of the network.
    pub(crate) name: String,
    /// NIC or bridge of the LAN; default: the interface of the default route.
    #[arg(long, value_name = "NIC|BRIDGE")]
    pub(crate) parent: Option<IfName>,
    #[arg(long, help = modes())]
    pub(crate) mode: Option<String>,
    /// Give containers IPv6 addresses of the LAN as well.
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// Subnet of the LAN; default: that of the parent's address.
    #[arg(long, value_name = "CIDR")]
    pub(crate) subnet: Option<IpNet>,
    /// Further network option; may be repeated.
    #[arg(short = 'o', long = "opt", value_name = "KEY=VALUE", value_parser = option)]
    pub(crate) options: Vec<(String, String)>,
    /// Print the `docker network create` command, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) docker: DockerOptions,
}

fn option(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write KEY=VALUE, like ipv6=true")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// What to remove.
#[derive(Debug, Args)]
pub(crate) struct RemoveOptions {
    /// Names or ids of networks.
    #[arg(required = true, value_name = "NETWORK")]
    pub(crate) networks: Vec<String>,
    #[command(flatten)]
    pub(crate) docker: DockerOptions,
}

/// Where Docker is.
#[derive(Debug, Args)]
pub(crate) struct DockerOptions {
    /// The Docker API.
    #[arg(
        long,
        env = "LANDLINE_DOCKER_HOST",
        value_name = "URL",
        default_value = "unix:///var/run/docker.sock",
        help_heading = "Where Docker is"
    )]
    pub(crate) docker_host: String,
}

/// The words of `--mode`.
fn modes() -> String {
    let words = landline_options::Mode::words_of_networks();
    let (last, others) = words.split_last().map_or(("", &words[..]), |(last, others)| (*last, others));
    format!("{} or {last}; default: chosen from PARENT", others.join(", "))
}
