//! Containers that are reached under an address of the LAN that is on the host: address translation in both directions.
//!
//! The address is the record's and not the running container's: it is on the NIC from the moment it was asked for, so
//! something can be bound to it before the container starts. One task (`follow`) keeps the kernel as records and
//! containers want it: addresses (`address`), which may be leased (`lease`), one table of the packet filter that is always
//! written whole (`table`), connections that contradict it (`stale`), and, where the user says so, an exception in the
//! host's firewall (`firewall`).
//!
//! The containers are those on Docker's own bridges (`landline nat`), as the front end sees them, or those on `mode=nat`
//! networks of our own: these have a private bridge (`nat_bridge`), and their endpoints are bound to an address (`claim`).

mod address;
mod admission;
mod binding;
mod claim;
mod exception_rules;
mod exceptions;
mod firewall;
mod follow;
mod forwarding;
mod hairpin;
mod lease;
mod nat_bridge;
mod place;
mod record;
mod stale;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use landline_kernel::nft::NftError;
use landline_leases::addressing::permit::NotPermitted;
use landline_leases::probe::Prober;
use landline_leases::{Foundation, Inventory, Services};
use landline_links::spanning_tree::{Held, until_host_forwards};
use landline_links::{Host, HostError, LinkTable};
use landline_model::NatOwner;
use landline_options::{EndpointId, LanIp, NatPort, NetworkId};
use landline_store::{Store, StoreError};
use landline_types::IfName;
use tokio::sync::{mpsc, oneshot, watch};

pub use exceptions::ExceptionRecord;
pub use firewall::{exception_program, rules, words};
pub use forwarding::forwards;
pub use nat_bridge::NatBridgeRefusal;
use nat_bridge::nat_bridges_of;
pub use place::place;
pub use record::{ForwardingRecord, NatLease, NatRecord, NatState, NatView};
pub(crate) use table::NatBridge;

use exceptions::FirewallExceptions;
use forwarding::{Forwarding, LinuxForwarding};

/// How long a server may take to give `landline nat` an address.
const FIRST_LEASE: Duration = landline_options::DEFAULT_LEASE_TIMEOUT;

/// Bridges that are let through the host's firewall, which would drop what goes over them where the kernel shows it bridged
/// packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OpenBridges {
    /// On somebody's word.
    pub(crate) asked: BTreeSet<IfName>,
    /// Landline's own. The kernel's switch of a bridge (`nf_call_iptables`) only adds to the host's, so it cannot keep the
    /// firewall off one.
    pub(crate) own: BTreeSet<IfName>,
    /// Not bridges: the interfaces to the LAN over which the host routes what containers send and receive, on somebody's word.
    pub(crate) routed: BTreeSet<IfName>,
}

impl OpenBridges {
    /// Whether there is anything.
    pub(crate) fn any(&self) -> bool {
        self.all().next().is_some() || !self.routed.is_empty()
    }

    /// The bridges.
    pub(crate) fn all(&self) -> impl Iterator<Item = &IfName> {
        self.asked.iter().chain(&self.own)
    }
}

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

/// An endpoint that has an address on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) endpoint: EndpointId,
    /// Its own address.
    pub(crate) inside: Ipv4Addr,
    /// Its neighbours' addresses and its own.
    pub(crate) subnet: Ipv4Net,
    /// The host's end of its link.
    pub(crate) port: IfName,
    /// What is passed on; `None`: all.
    pub(crate) ports: Option<BTreeSet<NatPort>>,
}

/// What there is at the start.
pub(crate) struct InitialState {
    pub(crate) records: Vec<NatRecord>,
    pub(crate) bound: BTreeMap<NatOwner, Bound>,
    pub(crate) nat_bridges: BTreeSet<NatBridge>,
    pub(crate) bridges: OpenBridges,
    pub(crate) store: Arc<Store>,
    pub(crate) services: Services,
    pub(crate) forwarding: Arc<dyn Forwarding>,
    pub(crate) forwarding_owed: Option<ForwardingRecord>,
    pub(crate) routers: follow::Routers,
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
    /// No container can have it.
    #[error("{0}; take another")]
    NotPermitted(NotPermitted),
    /// Another container has it.
    #[error("{address} is the address of {user}; take another")]
    Taken {
        /// The address.
        address: Ipv4Addr,
        /// Whose it is.
        user: String,
    },
    /// The network has one address, and a container is behind it.
    #[error(
        "a container on this network has its address {address}; give the other one its own (--network \
         name=NETWORK,driver-opt=lan_ip=ADDRESS, or lan_ip=dhcp)"
    )]
    Occupied {
        /// The address.
        address: Ipv4Addr,
    },
    /// A port is published elsewhere.
    #[error(
        "-p {address}:... names another address than the container's on the LAN; leave the address out: \
         -p 80:80"
    )]
    PublishedElsewhere {
        /// What was named.
        address: Ipv4Addr,
    },
    /// No DHCP server gave one.
    #[error("no DHCP server on {interface} gave an address within {} s{}", waited.as_secs_f64(), because(why.as_deref()))]
    NoLease {
        /// The NIC.
        interface: IfName,
        /// How long was waited.
        waited: Duration,
        /// What is known of the reason.
        why: Option<String>,
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
    /// A bridge between the host and the LAN forwards nothing yet.
    #[error("{held}, and no packet got to the LAN within {} s; {}", held.at_most.as_secs_f64(), held.remedy)]
    HeldBack {
        /// What holds packets back.
        held: Held,
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

fn because(why: Option<&str>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

type Reply<T> = oneshot::Sender<Result<T, NatError>>;

pub(crate) enum Command {
    Add(Box<NatRecord>, Reply<NatView>),
    /// Its address may be there already.
    Adopt(Box<NatRecord>, Reply<NatView>),
    Remove(NatOwner, Reply<()>),
    RemoveNetwork(NetworkId, Reply<()>),
    Bind(NatOwner, Box<Bound>, Reply<()>),
    Unbind(EndpointId, Reply<()>),
    Expire(NatOwner, Duration),
    Bridges(OpenBridges, Reply<()>),
    Open(BTreeSet<NatOwner>, Reply<()>),
    Close(Reply<bool>),
    NatBridges(BTreeSet<NatBridge>, Reply<()>),
}

/// The door.
pub struct Nat {
    commands: mpsc::UnboundedSender<Command>,
    looks: mpsc::UnboundedSender<follow::Waiter>,
    seen: watch::Sender<NatSeen>,
    views: watch::Receiver<BTreeMap<NatOwner, NatView>>,
    inventory: watch::Receiver<Inventory>,
    /// The bridges that are let through the host's firewall on the administrator's word.
    exceptions: FirewallExceptions,
    host: Arc<dyn Host>,
    prober: Prober,
    forwarding: Arc<dyn Forwarding>,
    link_table: LinkTable,
    store: Arc<Store>,
}

impl Nat {
    /// Begins to keep what there is.
    pub async fn start(ground: &mut Foundation) -> Arc<Self> {
        Self::start_on(ground, Arc::new(LinuxForwarding)).await
    }

    async fn start_on(ground: &mut Foundation, forwarding: Arc<dyn Forwarding>) -> Arc<Self> {
        let (store, host) = (ground.store.clone(), ground.host.clone());
        let exceptions = FirewallExceptions::resume(ground.rows.take(), &ground.networks, &store).await;
        let (networks, named) = (&ground.networks, exceptions.all());
        let initial = InitialState {
            records: ground.rows.take(),
            bound: claim::all_bound(ground.endpoints.iter()),
            nat_bridges: nat_bridges_of(networks.iter(), &named),
            bridges: exceptions::open_bridges(networks.iter(), &named),
            store: store.clone(),
            services: ground.services.clone(),
            forwarding: forwarding.clone(),
            forwarding_owed: ground.rows.take().pop(),
            routers: follow::Routers::new(ground.ledger.watch(), networks),
        };
        let (commands, inbox) = mpsc::unbounded_channel();
        let (looks, waiters) = mpsc::unbounded_channel();
        let (seen, snapshot) = watch::channel(NatSeen::default());
        let (shown, views) = watch::channel(BTreeMap::new());
        tokio::spawn(follow::run(initial, inbox, waiters, snapshot, shown, ground.cancel.clone()));
        let inventory = ground.ledger.watch();
        let (link_table, prober) = (ground.services.link_table.clone(), ground.services.prober());
        Arc::new(Self {
            commands,
            looks,
            seen,
            views,
            inventory,
            exceptions,
            host,
            prober,
            forwarding,
            link_table,
            store,
        })
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
        self.add_within(record, FIRST_LEASE).await
    }

    /// As [`Self::add`]; a DHCP server may take this long.
    pub(crate) async fn add_within(&self, record: NatRecord, wait: Duration) -> Result<NatView, NatError> {
        // What is asked before, of the LAN and of its server, would be lost.
        let forwards = until_host_forwards(&self.host, &self.link_table, &record.interface);
        forwards.await.map_err(|held| NatError::HeldBack { held })?;
        let owner = record.owner.clone();
        self.ask(|answer| Command::Add(Box::new(record), answer)).await?;
        let leased = self.leased(&owner, wait).await;
        if leased.is_err() {
            self.remove(&owner).await?;
        }
        leased
    }

    /// As [`Self::add`] for an address that may be there already, from before the state was lost; a server is not waited for.
    pub(crate) async fn adopt(&self, record: NatRecord) -> Result<(), NatError> {
        self.ask(|answer| Command::Adopt(Box::new(record), answer)).await.map(drop)
    }

    /// Waits until the owner has its address.
    pub(crate) async fn leased(&self, owner: &NatOwner, wait: Duration) -> Result<NatView, NatError> {
        let mut views = self.views.clone();
        let there =
            |views: &BTreeMap<NatOwner, NatView>| views.get(owner).is_none_or(|view| view.address.is_some());
        let _ = tokio::time::timeout(wait, views.wait_for(there)).await;
        let view = self.views.borrow().get(owner).cloned();
        let view = view.ok_or_else(|| NatError::Unknown(owner.to_string()))?;
        if view.address.is_some() {
            return Ok(view);
        }
        let why = Some(view.state).filter(|state| *state != NatState::Asking).map(Into::into);
        Err(NatError::NoLease { interface: view.interface, waited: wait, why })
    }

    /// Where the owner's address comes from, if it has one or is to have one.
    pub(crate) fn source(&self, owner: &NatOwner) -> Option<LanIp> {
        let views = self.views.borrow();
        let view = views.get(owner)?;
        if view.dhcp { Some(LanIp::Dhcp) } else { view.address.map(LanIp::Static) }
    }

    /// Takes it back, and everything that was done for it.
    ///
    /// # Errors
    /// See [`NatError`].
    pub async fn remove(&self, owner: &NatOwner) -> Result<(), NatError> {
        self.ask(|answer| Command::Remove(owner.clone(), answer)).await
    }

    /// Takes back all that are a network's, or its containers'.
    pub(crate) async fn remove_network(&self, network: &NetworkId) -> Result<(), NatError> {
        self.ask(|answer| Command::RemoveNetwork(network.clone(), answer)).await
    }

    /// Passes on what comes to the owner's address.
    pub(crate) async fn bind(&self, owner: &NatOwner, bound: Bound) -> Result<(), NatError> {
        self.ask(|answer| Command::Bind(owner.clone(), Box::new(bound), answer)).await
    }

    /// The endpoint is gone. Its address stays.
    pub(crate) async fn unbind(&self, endpoint: &EndpointId) {
        // The daemon stops.
        let _ = self.ask(|answer| Command::Unbind(endpoint.clone(), answer)).await;
    }

    /// The owner's container is gone: its address goes after this time, unless it is there again by then.
    pub(crate) fn expire(&self, owner: NatOwner, after: Duration) {
        let _ = self.commands.send(Command::Expire(owner, after));
    }

    /// Lets through the host's firewall what goes over these bridges, and what goes over others no more.
    pub(crate) async fn open_bridges(&self, bridges: OpenBridges) -> Result<(), NatError> {
        self.ask(|answer| Command::Bridges(bridges, answer)).await
    }

    /// These are the bridges of networks with translated addresses.
    pub(crate) async fn nat_bridges(&self, nat_bridges: BTreeSet<NatBridge>) -> Result<(), NatError> {
        self.ask(|answer| Command::NatBridges(nat_bridges, answer)).await
    }

    /// Lets these through the host's firewall, and has the host pass packets on, on the administrator's word.
    pub async fn open(&self, owners: BTreeSet<NatOwner>) -> Result<(), NatError> {
        self.ask(|answer| Command::Open(owners, answer)).await
    }

    /// Takes that back; whether there was anything.
    pub async fn close(&self) -> Result<bool, NatError> {
        self.ask(Command::Close).await
    }

    /// Looks whether everything is let through that is to be, and lets it through where it is not. For whoever is about to send
    /// the first packet.
    pub(crate) async fn look(&self) {
        // If there is no answer, the daemon stops.
        let _ = self.ask_to_look().await;
    }

    /// As [`Self::look`], for whoever need not wait.
    pub(crate) fn ask_to_look(&self) -> oneshot::Receiver<()> {
        let (waiter, answered) = oneshot::channel();
        let _ = self.looks.send(waiter);
        answered
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, NatError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).map_err(|_| NatError::Stopping)?;
        answered.await.map_err(|_| NatError::Stopping)?
    }

    /// All addresses on the host that stand for containers.
    pub fn views(&self) -> BTreeMap<NatOwner, NatView> {
        self.views.borrow().clone()
    }
}
