//! `landline bridge`: a NIC becomes the port of a bridge, and the host keeps its connections.
//!
//! The command does the work itself; the daemon need not run. Before it begins it starts a second process, the guard
//! (`guard.rs`), which holds the way back: it undoes everything when the command ends before it is done, and when
//! nobody confirms in time that the host can still be reached. Should that process be killed, the daemon takes its place
//! (`heir.rs`).

mod boot;
mod guard;
mod heir;
mod identity;
mod manager;
mod persist;
mod record;

pub(crate) use heir::follow as follow_guards;
use landline_links::blocking;
use landline_uplink as uplink;
use landline_uplink::{BridgeKind, HostLease, UplinkError};

use std::fs::{self, DirBuilder};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use landline_kernel::boottime;
use landline_types::IfName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, Command};

use crate::cli::{self, AdoptOptions, BridgeCommand};
use crate::control::{CallError, Request, call};
use crate::output::{complain, say};
use persist::{Changes, PersistError};
use record::GuardRecord;

/// Where guards can be reached, and what they have written down. Gone after a reboot, as the bridges are; the service manager
/// does not know of it, and keeps it when it restarts the daemon.
const DIRECTORY: &str = "/run/landline-bridge";

/// What the command tells the guard when its work is done.
const DONE: &str = "done\n";
/// What the guard says when it is ready, and again when it has heard that the work is done.
const READY: &str = "ready\n";
/// What an administrator says to the guard, and what it answers.
const CONFIRM: &str = "confirm\n";

/// Why a bridge was not made or released.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BridgeError {
    #[error(transparent)]
    Uplink(#[from] UplinkError),
    #[error(transparent)]
    Persist(#[from] PersistError),
    #[error(transparent)]
    Boot(#[from] boot::BootError),
    #[error("the bridge stays, but may not outlive a reboot; confirm again")]
    Keep(#[source] UplinkError),
    #[error("what Open vSwitch has of earlier boots could not be removed")]
    Sweep(#[source] UplinkError),
    #[error("cannot write {path}, which says what to do once the bridge is confirmed; are you root?")]
    Pending {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{nic} has {address} from a DHCP server for a limited time, and the program that renews it there cannot do so on the bridge; \
         start the daemon, which can (landline daemon), or use --persist so that the network manager does"
    )]
    Leased {
        nic: IfName,
        address: Ipv4Addr,
        #[source]
        source: CallError,
    },
    #[error("the bridge stays, but nobody renews its address; once the daemon runs, confirm again")]
    Daemon(#[source] CallError),
    #[error("cannot start the process that holds the way back")]
    Guard(#[source] io::Error),
    #[error("everything is as it was, because")]
    Undone(#[source] UplinkError),
    #[error("the process that holds the way back has ended; everything is as it was")]
    Unguarded,
    #[error("the way back did not work either ({back}); landline bridge release {bridge} tries again")]
    Stuck {
        bridge: IfName,
        back: String,
        #[source]
        source: UplinkError,
    },
    #[error(
        "nothing waits for a confirmation of {0}: it was given already, or {0} is gone because it was not"
    )]
    Nobody(IfName),
    #[error(
        "the time to confirm {0} is over, and the process that was to put everything back was killed; type \
         landline bridge release {0}, and adopt it again"
    )]
    Overdue(IfName),
    #[error("cannot listen on {path}")]
    Listen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

pub(crate) async fn run(command: &BridgeCommand) -> Result<(), BridgeError> {
    match command {
        BridgeCommand::Adopt(options) => adopt(options).await,
        BridgeCommand::Confirm { control, bridge } => {
            let confirmed = confirm(bridge).await;
            // Confirmed before, and what followed failed: that is done now.
            if GuardRecord::read(bridge).is_some() || !Pending::path(bridge).exists() {
                confirmed?;
            }
            make_last(bridge, &control.control_socket).await?;
            say(format_args!("The bridge {bridge} stays."));
            Ok(())
        }
        BridgeCommand::Release { control, bridge } => release(bridge, &control.control_socket).await,
        BridgeCommand::Guard { bridge, nic, kind, within } => {
            guard::run(bridge, nic, (*kind).into(), *within).await
        }
        BridgeCommand::Sweep => sweep().await,
    }
}

impl From<cli::BridgeKind> for BridgeKind {
    fn from(kind: cli::BridgeKind) -> Self {
        match kind {
            cli::BridgeKind::Bridge => Self::Linux,
            cli::BridgeKind::Ovs => Self::Ovs,
            cli::BridgeKind::OvsNetdev => Self::OvsUserSpace,
        }
    }
}

/// The same for the daemon, should something have kept systemd from it.
pub(crate) async fn sweep_left_over() {
    match uplink::sweep().await {
        Ok(swept) if swept.is_empty() => {}
        Ok(swept) => {
            tracing::warn!(bridges = ?swept, "removed from Open vSwitch: they were made for another boot");
        }
        // Most hosts have none.
        Err(error) => {
            tracing::debug!(error = %landline_types::chain(&error), "Open vSwitch was not looked at");
        }
    }
}

/// Takes what was adopted before this boot out of Open vSwitch's database.
async fn sweep() -> Result<(), BridgeError> {
    for bridge in uplink::sweep().await.map_err(|error| BridgeError::Sweep(error.into()))? {
        say(format_args!("{bridge} was made for another boot and is removed."));
    }
    Ok(())
}

async fn adopt(options: &AdoptOptions) -> Result<(), BridgeError> {
    let AdoptOptions { nic, bridge, kind, confirm_within: within, persist, dry_run, control } = options;
    let (wanted, name, kind) = (nic.clone(), bridge.clone(), BridgeKind::from(*kind));
    let uplink = blocking(move || uplink::survey(&wanted, &name, kind)).await?;
    let link = uplink.nic();
    let host =
        persist::Nic { root: Path::new("/"), name: nic, index: link.index, mac: link.mac, bridge, kind };
    let mut pending = Pending::default();
    if *persist {
        let changes = persist::plan(&host)?;
        say(format_args!("{}", changes.show()));
        pending.changes = Some(changes);
    } else if let Some(address) = uplink.leased() {
        let no_daemon = |source| BridgeError::Leased { nic: nic.clone(), address, source };
        call(&control.control_socket, &Request::Ls).await.map_err(no_daemon)?;
        pending.lease = Some(identity::lease(host.root, nic, link.index, bridge, address));
    }
    if *dry_run {
        say(format_args!("{uplink}"));
        return Ok(());
    }
    pending.remember(bridge)?;
    // One whose guard was killed, and whose NIC is not in it any more.
    if let Some(record) = GuardRecord::read(bridge) {
        record.remove();
    }
    if kind != BridgeKind::Linux {
        // Before there is anything in a database that outlives this boot.
        boot::sweep_first(host.root, bridge)?;
    }
    let guard = Guard::start(bridge, nic, kind, Some(*within)).await?;
    let done = blocking(move || uplink::adopt(&uplink)).await;
    if let Err(source) = done {
        return Err(match back(bridge, nic, kind).await {
            Ok(()) => BridgeError::Undone(source),
            Err(back) => {
                BridgeError::Stuck { bridge: bridge.clone(), back: landline_types::chain(&back), source }
            }
        });
    }
    // While the guard still has the way back.
    if !persist {
        tell(
            nic,
            manager::leave_alone(&host).await.map(|who| {
                if let Some(who) = who {
                    say(format_args!("{who} leaves {nic} alone until {bridge} is released."));
                }
            }),
        );
    }
    if guard.done().await.is_err() {
        back(bridge, nic, kind).await?;
        return Err(BridgeError::Unguarded);
    }
    say(format_args!(
        "{bridge} is up. If this host can still be reached, type within {} s: landline bridge confirm {bridge}\n\
         Otherwise everything will be as it was.",
        within.as_secs()
    ));
    Ok(())
}

async fn back(bridge: &IfName, nic: &IfName, kind: BridgeKind) -> Result<(), UplinkError> {
    let (name, port) = (bridge.clone(), nic.clone());
    blocking(move || uplink::release(&name, &port, kind)).await?;
    boot::sweep_no_more(Path::new("/"), bridge);
    tell(nic, manager::give_back(nic).await);
    // Nothing is left for another to do.
    if let Some(record) = GuardRecord::read(bridge) {
        record.remove();
    }
    Ok(())
}

/// The bridge is as it is to be without.
fn tell(nic: &IfName, told: Result<(), manager::ManagerError>) {
    if let Err(error) = told {
        complain(format_args!(
            "the network manager was not told about {nic}: {}",
            landline_types::chain(&error)
        ));
    }
}

async fn confirm(bridge: &IfName) -> Result<(), BridgeError> {
    if confirm_to_guard(bridge).await.is_ok_and(|confirmed| confirmed) {
        return Ok(());
    }
    // Whoever waited for it was killed, unless the way back is under way or over.
    let record = GuardRecord::read(bridge);
    let deadline = record.as_ref().and_then(|record| record.phase.deadline());
    match (record, deadline) {
        (Some(record), Some(deadline)) if boottime::now() < deadline => {
            record.remove();
            Ok(())
        }
        (Some(_), Some(_)) => Err(BridgeError::Overdue(bridge.clone())),
        _ => Err(BridgeError::Nobody(bridge.clone())),
    }
}

/// Tells the guard; whether it has heard it. One that was about to go back closes without a word.
async fn confirm_to_guard(bridge: &IfName) -> io::Result<bool> {
    let mut guard = UnixStream::connect(socket(bridge)).await?;
    guard.write_all(CONFIRM.as_bytes()).await?;
    let mut answer = String::new();
    guard.read_to_string(&mut answer).await?;
    Ok(answer == CONFIRM)
}

async fn release(bridge: &IfName, daemon: &Path) -> Result<(), BridgeError> {
    let name = bridge.clone();
    let (nic, kind) = blocking(move || uplink::releasable(&name)).await?;
    // Whoever types this does not want to wait for the confirmation; and half a release is finished by the guard.
    let _ = confirm(bridge).await;
    // A daemon that does not run finds out when it starts.
    let _ = call(daemon, &Request::DropHostLease { interface: bridge.clone() }).await;
    let guard = Guard::start(bridge, &nic, kind, None).await?;
    back(bridge, &nic, kind).await?;
    // It has nothing left to do, whether it hears this or not.
    let _ = guard.done().await;
    for path in Changes::undo(Path::new("/"), bridge)? {
        say(format_args!(
            "{} was changed since and is left as it is; it still speaks of {bridge}.",
            path.display()
        ));
    }
    say(format_args!("{nic} has its addresses and routes back; the bridge {bridge} is gone."));
    Ok(())
}

/// What is to be done once the bridge is confirmed. Nothing of it is before: a host that is switched off and on
/// instead boots as it always did.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Pending {
    /// What is written into the manager's configuration.
    changes: Option<Changes>,
    /// What the daemon is to renew.
    lease: Option<HostLease>,
}

impl Pending {
    fn path(bridge: &IfName) -> PathBuf {
        PathBuf::from(DIRECTORY).join(format!("bridge-{bridge}.pending"))
    }

    fn remember(&self, bridge: &IfName) -> Result<(), BridgeError> {
        let path = Self::path(bridge);
        let write = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(DIRECTORY)?;
            fs::write(&path, serde_json::to_vec(self)?)
        };
        write().map_err(|source| BridgeError::Pending { path: path.clone(), source })
    }
}

async fn make_last(bridge: &IfName, daemon: &Path) -> Result<(), BridgeError> {
    let path = Pending::path(bridge);
    let Ok(text) = fs::read(&path) else { return Ok(()) };
    let failed = |source| BridgeError::Pending { path: path.clone(), source };
    let pending: Pending = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    if let Some(changes) = pending.changes {
        changes.write(Path::new("/"), bridge)?;
        say(format_args!("{}", changes.hint()));
        if changes.keeps_switch() {
            uplink::keep(bridge).await.map_err(|error| BridgeError::Keep(error.into()))?;
            boot::sweep_no_more(Path::new("/"), bridge);
        }
    }
    if let Some(lease) = pending.lease {
        let address = lease.address;
        call(daemon, &Request::KeepHostLease(lease)).await.map_err(BridgeError::Daemon)?;
        say(format_args!("The daemon renews {address} from now on."));
    }
    fs::remove_file(&path).map_err(failed)
}

fn socket(bridge: &IfName) -> PathBuf {
    PathBuf::from(DIRECTORY).join(format!("bridge-{bridge}.sock"))
}

/// The process that holds the way back, as this one sees it.
struct Guard {
    orders: ChildStdin,
    answers: BufReader<tokio::process::ChildStdout>,
    /// Not waited for: it outlives this process.
    _process: Child,
}

impl Guard {
    /// Starts it; returns when it is ready. `within`: how long it waits for a confirmation; `None`: not at all.
    async fn start(
        bridge: &IfName,
        nic: &IfName,
        kind: BridgeKind,
        within: Option<Duration>,
    ) -> Result<Self, BridgeError> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("landline").args(["bridge", "guard", bridge.as_str(), nic.as_str()]);
        if kind != BridgeKind::Linux {
            // Which of them makes no difference on the way back.
            command.arg("--kind=ovs");
        }
        if let Some(within) = within {
            command.arg(format!("--within={}ms", within.as_millis()));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().map_err(BridgeError::Guard)?;
        let broken = || BridgeError::Guard(io::ErrorKind::BrokenPipe.into());
        let orders = process.stdin.take().ok_or_else(broken)?;
        let answers = BufReader::new(process.stdout.take().ok_or_else(broken)?);
        let mut guard = Self { orders, answers, _process: process };
        guard.hear().await.map_err(BridgeError::Guard)?;
        Ok(guard)
    }

    /// Tells it that the work is done; from now on it waits for the confirmation.
    async fn done(mut self) -> io::Result<()> {
        self.orders.write_all(DONE.as_bytes()).await?;
        self.orders.flush().await?;
        self.hear().await
    }

    async fn hear(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line).await?;
        if line == READY { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
