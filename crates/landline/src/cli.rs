//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
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

/// How to look at the host.
#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
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
    /// Let them change the routes, rules and queues of their own namespace.
    #[arg(long)]
    pub(crate) changes: bool,
}

fn kind(text: &str) -> Result<landline_spec::KindWord, String> {
    text.to_owned().try_into()
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
