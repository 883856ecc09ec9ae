//! Containers that are reached under an address of the LAN that is on the host: address translation in both directions.
//!
//! The address is the record's and not the running container's: it is on the NIC from the moment it was asked for, so
//! something can be bound to it before the container starts. One task (`follow`) keeps the kernel as records and
//! containers want it: addresses (`address`), one table of the packet filter that is always written whole (`table`),
//! and, where the user says so, an opening in the host's firewall (`firewall`).

mod address;
mod firewall;
mod follow;
mod hairpin;
mod record;
mod stale;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use landline_kernel::nft::NftError;
use landline_types::IfName;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use record::{NatPort, NatPorts, NatRecord, NatView, PortsError, Transport};

use crate::host::HostError;
use crate::store::{Store, StoreError};

/// What the front end sees of containers on networks that the host routes for (Docker's own bridges).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatSeen {
    /// Whether it is in touch with who runs them, and may change the host's firewall.
    pub connected: bool,
    /// Running containers by name.
    pub containers: BTreeMap<String, NatContainer>,
}

/// A running container on such a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatContainer {
    /// Its address there.
    pub address: Ipv4Addr,
    /// The networks its neighbours there have their addresses from.
    pub subnets: Vec<Ipv4Net>,
    /// The ports it exposes or publishes: IP protocol number and port.
    pub ports: BTreeSet<(u8, u16)>,
    /// Where its network namespace can be entered.
    pub sandbox: Option<PathBuf>,
}

/// Why a container was not given an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatError {
    /// No such interface.
    #[error("there is no interface {0}; name the NIC that is plugged into the LAN (ip link lists them)")]
    NoInterface(IfName),
    /// It is down.
    #[error("{0} is down; bring it up first: ip link set {0} up")]
    Down(IfName),
    /// It has nothing that Ethernet has.
    #[error("{0} is not an Ethernet interface; name the NIC that is plugged into the LAN")]
    NotEthernet(IfName),
    /// The host has it.
    #[error(
        "{address} is an address of this host already, on {interface}; remove it there first, or take another"
    )]
    OwnAddress {
        /// The address.
        address: Ipv4Addr,
        /// The interface.
        interface: String,
    },
    /// Another container has it.
    #[error("{address} is the address of container {container}; take another")]
    Taken {
        /// The address.
        address: Ipv4Addr,
        /// Whose it is.
        container: String,
    },
    /// The container has one.
    #[error("container {0} has an address already; remove that first: landline nat rm {0}")]
    Exists(String),
    /// The container has none.
    #[error("container {0} has no address by landline nat; landline nat ls lists those that have")]
    Unknown(String),
    /// A machine on the LAN has it.
    #[error("{address} is in use on the LAN, by {mac}; take another")]
    InUse {
        /// The address.
        address: Ipv4Addr,
        /// Whose it is.
        mac: landline_types::Mac,
    },
    /// It could not be asked for on the LAN.
    #[error("cannot find out whether {address} is in use")]
    Probe {
        /// The address.
        address: Ipv4Addr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The packet filter.
    #[error("the rules could not be loaded; nothing was changed")]
    Rules(#[source] NftError),
    /// The host's firewall.
    #[error("the host's firewall could not be opened: {0}")]
    Firewall(String),
    /// The kernel.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The disk.
    #[error("cannot store it")]
    Store(#[from] StoreError),
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
}

pub(crate) enum Command {
    Add(NatRecord, oneshot::Sender<Result<NatView, NatError>>),
    Remove(String, oneshot::Sender<Result<(), NatError>>),
    Bridges(BTreeSet<IfName>, oneshot::Sender<Result<(), NatError>>),
}

/// The door.
#[derive(Debug)]
pub struct Nat {
    commands: mpsc::UnboundedSender<Command>,
    seen: watch::Sender<NatSeen>,
    views: watch::Receiver<Vec<NatView>>,
}

impl Nat {
    /// Begins to keep these records.
    pub(crate) fn start(
        records: Vec<NatRecord>,
        bridges: BTreeSet<IfName>,
        store: Arc<Store>,
        cancel: CancellationToken,
    ) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (seen, picture) = watch::channel(NatSeen::default());
        let (shown, views) = watch::channel(Vec::new());
        tokio::spawn(follow::run(
            follow::Follower::new(records, bridges, store, picture, shown),
            inbox,
            cancel,
        ));
        Self { commands, seen, views }
    }

    /// The front end sees this now.
    pub fn see(&self, seen: NatSeen) {
        self.seen.send_if_modified(|before| {
            let changed = *before != seen;
            *before = seen;
            changed
        });
    }

    /// Gives a container an address. Returns when the address is the host's and the rules are loaded; the container
    /// need not run, or be there.
    ///
    /// # Errors
    /// See [`NatError`]; nothing was changed then.
    pub async fn add(&self, record: NatRecord) -> Result<NatView, NatError> {
        self.ask(|answer| Command::Add(record, answer)).await
    }

    /// Takes it back, and everything that was done for it.
    ///
    /// # Errors
    /// See [`NatError`].
    pub async fn remove(&self, container: &str) -> Result<(), NatError> {
        self.ask(|answer| Command::Remove(container.to_owned(), answer)).await
    }

    /// Lets through the host's firewall what goes over these bridges, and what goes over others no more.
    pub(crate) async fn open_bridges(&self, bridges: BTreeSet<IfName>) -> Result<(), NatError> {
        self.ask(|answer| Command::Bridges(bridges, answer)).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, NatError>>) -> Command,
    ) -> Result<T, NatError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).map_err(|_| NatError::Stopping)?;
        answered.await.map_err(|_| NatError::Stopping)?
    }

    /// All containers with such an address.
    pub fn views(&self) -> Vec<NatView> {
        self.views.borrow().clone()
    }
}
