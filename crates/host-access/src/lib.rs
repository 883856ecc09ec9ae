//! The host reaches the containers on its NICs' macvlan and ipvlan networks, Landline's own and others'.
//!
//! The kernel keeps a NIC and its children apart, but not the children from one another: for each NIC one more child,
//! a *shim*, stays on the host. A host route leads to each container through it, with the host's own address as the
//! source, and each side has the other's hardware address as a permanent neighbour; so nothing is asked on the LAN and
//! nobody there notices (`shim`, `tables`). A shim may also have an address of its own.
//!
//! One task (`follow`) holds all of it. It wakes up when the front end sees another snapshot ([`Seen`]), when an
//! endpoint of the engine changes, when the kernel reports a change of a parent or a shim, and for commands; then it
//! makes a plan (`plan`, a pure value) and has it carried out (`executor`).

mod admission;
mod enable;
mod executor;
mod follow;
mod own;
mod plan;
mod record;
mod seen;
mod settle;
mod shim;
mod tables;
mod view;

use std::sync::Arc;

use landline_engine::Engine;
use landline_leases::probe::Prober;
use landline_leases::{Foundation, Inventory, LinuxSockets};
use landline_links::LinuxNamespaces;
use landline_options::Access;
use landline_store::Store;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use admission::{FilterCheck, StrictFilter};
pub use enable::{AccessError, Unfit};
pub use record::RpFilterRecord;
pub use seen::{Member, Seen, SeenNetwork, Wire};
pub use shim::Keeper;
pub use view::{AccessContainer, AccessOrigin, AccessState, AccessView};

pub(crate) enum Command {
    Enable(Access, oneshot::Sender<Result<AccessView, AccessError>>),
    Disable(String, oneshot::Sender<Result<(), AccessError>>),
}

/// The door to host access.
#[derive(Debug)]
pub struct HostAccess {
    commands: mpsc::UnboundedSender<Command>,
    seen: watch::Sender<Seen>,
    declared: watch::Sender<Vec<Access>>,
    views: watch::Receiver<Vec<AccessView>>,
}

/// The other side of it, before its task runs.
pub(crate) struct Inbox {
    commands: mpsc::UnboundedReceiver<Command>,
    seen: watch::Receiver<Seen>,
    declared: watch::Receiver<Vec<Access>>,
    views: watch::Sender<Vec<AccessView>>,
}

/// What the task begins with.
pub(crate) struct InitialState {
    pub(crate) keeper: Keeper,
    /// Where addresses are looked for, and what else there is of the host.
    pub(crate) prober: Prober,
    pub(crate) records: Vec<Access>,
    pub(crate) loosened: Vec<RpFilterRecord>,
    /// Where changes of those go.
    pub(crate) store: Option<Arc<Store>>,
    /// The networks and endpoints that count besides what the front end sees.
    pub(crate) inventory: Option<watch::Receiver<Inventory>>,
}

impl HostAccess {
    fn new() -> (Self, Inbox) {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (seen, snapshot) = watch::channel(Seen::default());
        let (declared, written) = watch::channel(Vec::new());
        let (shown, views) = watch::channel(Vec::new());
        let inbox = Inbox { commands: inbox, seen: snapshot, declared: written, views: shown };
        (Self { commands, seen, declared, views }, inbox)
    }

    /// Host access by itself, without an engine and a store: for a command in the foreground. Must be called within a
    /// tokio runtime, in the host's network namespace.
    pub fn alone(keeper: Keeper, cancel: CancellationToken) -> Self {
        let (access, inbox) = Self::new();
        let prober = Prober { sockets: Arc::new(LinuxSockets), namespaces: Arc::new(LinuxNamespaces) };
        let initial = InitialState {
            keeper,
            prober,
            records: Vec::new(),
            loosened: Vec::new(),
            store: None,
            inventory: None,
        };
        tokio::spawn(follow::run(inbox, initial, cancel));
        access
    }

    /// Begins to keep what there was, and what networks of the engine's ask for.
    pub fn start(ground: &mut Foundation, engine: &Engine) -> Arc<Self> {
        let (access, inbox) = Self::new();
        let initial = InitialState {
            keeper: Keeper::Daemon,
            prober: ground.services.prober(),
            records: ground.rows.take(),
            loosened: ground.rows.take(),
            store: Some(ground.store.clone()),
            inventory: Some(engine.inventory()),
        };
        tokio::spawn(follow::run(inbox, initial, ground.cancel.clone()));
        Arc::new(access)
    }

    /// The front end sees this now. While it is out of touch it tells what it knew last: nothing is removed then.
    pub fn see(&self, seen: Seen) {
        self.seen.send_if_modified(|before| {
            let changed = *before != seen;
            *before = seen;
            changed
        });
    }

    /// These are the networks that the administrator wrote down, all of them: what was among them before and is not any
    /// more is taken back. They are not stored, and one that was enabled by command as well is as the command said.
    pub fn declare(&self, networks: Vec<Access>) {
        self.declared.send_if_modified(|before| {
            let changed = *before != networks;
            *before = networks;
            changed
        });
    }

    /// Gives the host access to a network, or changes how it has it. Returns when it has.
    ///
    /// # Errors
    /// See [`AccessError`]; nothing was changed then.
    pub async fn enable(&self, record: Access) -> Result<AccessView, AccessError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Enable(record, answer)).map_err(|_| AccessError::Stopping)?;
        answered.await.map_err(|_| AccessError::Stopping)?
    }

    /// Takes it back, and everything that was done for it.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn disable(&self, network: &str) -> Result<(), AccessError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Disable(network.to_owned(), answer);
        self.commands.send(command).map_err(|_| AccessError::Stopping)?;
        answered.await.map_err(|_| AccessError::Stopping)?
    }

    /// All networks with host access.
    pub fn views(&self) -> Vec<AccessView> {
        self.views.borrow().clone()
    }
}
