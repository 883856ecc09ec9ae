//! Interfaces for containers by hand, pipework's way included.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use landline_types::IfName;

use super::{ConfigOptions, ControlOptions, DaemonOptions};

/// What to attach.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct AttachOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// PARENT CONTAINER ADDRESS… [key=value…].
    ///
    /// PARENT is an interface of this host, mac:ADDRESS, dummy, or the directory of a VDE switch. CONTAINER is a name, an
    /// id, pid:N, or netns:PATH. ADDRESS is IP/LENGTH, IP/LENGTH@GATEWAY, dhcp, or none.
    #[arg(value_name = "WORD", required_unless_present = "list")]
    words: Vec<String>,
    /// Hardware address, or U:TEXT to derive one from TEXT.
    #[arg(long)]
    mac: Option<String>,
    /// VLAN ID.
    #[arg(long)]
    vlan: Option<String>,
    /// Name of the interface in the container.
    #[arg(long)]
    ifname: Option<String>,
    /// Name of the host end of the link.
    #[arg(long)]
    host_ifname: Option<String>,
    /// Host name to send to the DHCP server.
    #[arg(long)]
    hostname: Option<String>,
    /// Link type: bridge, macvlan, ipvlan, or nic (the NIC itself); default: chosen from PARENT.
    #[arg(long)]
    mode: Option<String>,
    /// Skip the conflict check of static addresses.
    #[arg(long)]
    force: bool,
    /// Create the bridge if it does not exist.
    #[arg(long)]
    create: bool,
    /// Print the equivalent shell commands, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// List attachments.
    #[arg(long, conflicts_with = "words")]
    pub(crate) list: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl AttachOptions {
    /// All of it as words: an option is the same as its `key=value`.
    pub(crate) fn words(&self) -> Vec<String> {
        let given = [
            ("mac", self.mac.clone()),
            ("vlan", self.vlan.clone()),
            ("ifname", self.ifname.clone()),
            ("host_ifname", self.host_ifname.clone()),
            ("hostname", self.hostname.clone()),
            ("mode", self.mode.clone()),
            ("force", self.force.then(|| "true".into())),
            ("create", self.create.then(|| "true".into())),
        ];
        let given = given.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        self.words.iter().cloned().chain(given).collect()
    }
}

/// What to detach.
#[derive(Debug, Args)]
pub(crate) struct DetachOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// The container, named as it was for `landline attach`.
    pub(crate) container: landline_options::Target,
    /// The interface in the container; default: all attached ones.
    pub(crate) interface: Option<IfName>,
}

/// What pipework was told.
#[derive(Debug, Args)]
pub(crate) struct PipeworkOptions {
    /// pipework's own command line.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
    pub(crate) words: Vec<String>,
    /// All arguments are pipework's, so the environment says where the daemon is.
    #[command(flatten)]
    pub(crate) control: ControlOptions,
}

/// Where things are for `pipework-daemon`.
#[derive(Debug, Args)]
pub(crate) struct PipeworkDaemonOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// State directory.
    #[arg(long, env = "LANDLINE_STATE_DIR", value_name = "DIR", default_value = "/var/lib/landline")]
    state_dir: PathBuf,
    /// The Docker API.
    #[arg(long, env = "DOCKER_HOST", value_name = "URL", default_value = "unix:///docker.sock")]
    docker_host: String,
    /// A pipework command to run first (`run_mode=manual`).
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
    pub(crate) words: Vec<String>,
}

impl PipeworkDaemonOptions {
    /// The same for the daemon.
    pub(crate) fn into_daemon(self) -> DaemonOptions {
        DaemonOptions {
            plugin_socket: PathBuf::from("/run/docker/plugins/landline.sock"),
            control: self.control,
            state_dir: self.state_dir,
            docker_host: self.docker_host,
            ipam_name: Vec::new(),
            driver: Vec::new(),
            config: ConfigOptions { config: PathBuf::new() },
            network_grace: Duration::from_mins(1),
            log_level: None,
            log_json: false,
        }
    }
}

/// Which container.
#[derive(Debug, Args)]
pub(crate) struct WhereOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// A container's name or id, pid:N, or netns:PATH.
    pub(crate) container: landline_options::Target,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct ExecOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// A container's name or id, pid:N, or netns:PATH.
    pub(crate) container: landline_options::Target,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
}
