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
    /// PARENT CONTAINER ADDRESS… [key=value…]: an interface of this host (or mac:ADDRESS, dummy, or the directory of a
    /// VDE switch), a container's name or id (or pid:N, or netns:PATH), and addresses: IP/LENGTH or IP/LENGTH@GATEWAY, dhcp, or none.
    #[arg(value_name = "WORD", required_unless_present = "list")]
    words: Vec<String>,
    /// Its hardware address, or U: and a text to make one of.
    #[arg(long)]
    mac: Option<String>,
    /// The VLAN it is in.
    #[arg(long)]
    vlan: Option<String>,
    /// What it is called in the container.
    #[arg(long)]
    ifname: Option<String>,
    /// What its other end is called on the host.
    #[arg(long)]
    host_ifname: Option<String>,
    /// The name that a DHCP server is told.
    #[arg(long)]
    hostname: Option<String>,
    /// How the wire runs, if not as the parent has it: bridge, macvlan, ipvlan, or nic for the card itself.
    #[arg(long)]
    mode: Option<String>,
    /// Use static addresses without looking for others who have them.
    #[arg(long)]
    force: bool,
    /// Make the bridge if it is not there.
    #[arg(long)]
    create: bool,
    /// Print what would be done as shell commands, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// List what is attached.
    #[arg(long, conflicts_with = "words")]
    pub(crate) list: bool,
    /// Print JSON for programs.
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
    /// The container, as it was named when it was attached.
    pub(crate) container: landline_spec::Target,
    /// The interface in it; all that are attached, if none is named.
    pub(crate) interface: Option<IfName>,
}

/// What pipework was told.
#[derive(Debug, Args)]
pub(crate) struct PipeworkOptions {
    /// pipework's own command line.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
    pub(crate) words: Vec<String>,
    /// Behind the words everything is pipework's: where the daemon is says the environment.
    #[command(flatten)]
    pub(crate) control: ControlOptions,
}

/// Where things are for `pipework-daemon`.
#[derive(Debug, Args)]
pub(crate) struct PipeworkDaemonOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// Directory for what must survive a restart.
    #[arg(long, env = "LANDLINE_STATE_DIR", value_name = "DIR", default_value = "/var/lib/landline")]
    state_dir: PathBuf,
    /// Docker's API.
    #[arg(long, env = "DOCKER_HOST", value_name = "URL", default_value = "unix:///docker.sock")]
    docker_host: String,
    /// A command of pipework's to begin with (`run_mode=manual`).
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
    /// The container: a name, an id, pid:N, or netns:PATH.
    pub(crate) container: landline_spec::Target,
    /// Print JSON for programs.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct ExecOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    /// The container: a name, an id, pid:N, or netns:PATH.
    pub(crate) container: landline_spec::Target,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
}
