//! The engine: what there is, and its beginning and end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landline_kernel::boottime::{self, Alarm};
use landline_spec::{EndpointId, NetworkId};
use landline_types::IfName;
use tokio_util::sync::CancellationToken;

use crate::addressing::book::AddressBook;
use crate::attach::{AttachmentRecord, Attachments};
use crate::blocking;
use crate::bridge_mac::BridgeMacs;
use crate::cell::Cell;
use crate::doctor::Openings;
use crate::host::{Host, HostError};
use crate::host_access::{self, Beginning, HostAccess, Keeper};
use crate::host_lease::HostLeases;
use crate::identities::{Derivation, Identities};
use crate::inventory::{Ledger, Networks};
use crate::ipv6::{Company, Ears, Status6};
use crate::lease::{Orders, Sentries, Services, Supervised};
use crate::link_table::{LinkEvents, LinkTable};
use crate::links::{ParentIs, facts_of};
use crate::nat::{self, Nat, OpenBridges};
use crate::pending::Pending;
use crate::pools::{Ahead, Pools};
use crate::records::NetworkRecord;
use crate::refused_starts::RefusedStarts;
use crate::release::Releaser;
use crate::store::{Store, StoreError};

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store.
    #[error("cannot use the state in {path}")]
    Store {
        /// The state file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: StoreError,
    },
    /// The kernel.
    #[error("cannot look at the host's network")]
    Host(#[source] HostError),
    /// Timers or events of the kernel.
    #[error("cannot {what}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// An endpoint that exists or is being made.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) cell: Arc<Cell>,
    /// The lease's task, for endpoints that have one.
    pub(crate) supervised: Mutex<Option<Supervised>>,
    /// The task for IPv6, where there is to be any.
    pub(crate) ipv6: Mutex<Option<Supervised<Status6>>>,
    /// Its link was not in a sandbox when the daemon started.
    pub(crate) found_on_host: bool,
}

impl Endpoint {
    pub(crate) fn supervised(&self) -> MutexGuard<'_, Option<Supervised>> {
        self.supervised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ipv6(&self) -> MutexGuard<'_, Option<Supervised<Status6>>> {
        self.ipv6.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All its tasks.
    pub(crate) fn tasks(&self) -> Vec<Orders> {
        let lease = self.supervised().as_ref().map(|s| s.orders.clone());
        let ipv6 = self.ipv6().as_ref().map(|s| s.orders.clone());
        lease.into_iter().chain(ipv6).collect()
    }

    /// Ends its tasks; with `release` the addresses are given back.
    pub(crate) async fn stop(&self, release: bool) {
        let (lease, ipv6) = (self.supervised().take(), self.ipv6().take());
        let lease = async {
            if let Some(lease) = lease {
                lease.stop(release).await;
            }
        };
        let ipv6 = async {
            if let Some(ipv6) = ipv6 {
                ipv6.stop(release).await;
            }
        };
        tokio::join!(lease, ipv6);
    }
}

/// One endpoint id: its operations run one after the other.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) operation: tokio::sync::Mutex<()>,
    pub(crate) current: Mutex<Option<Arc<Endpoint>>>,
}

impl Slot {
    pub(crate) fn current(&self) -> Option<Arc<Endpoint>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, endpoint: Option<Arc<Endpoint>>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = endpoint;
    }
}

/// Networks and endpoints, and everything done to them.
pub struct Engine {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) store: Arc<Store>,
    pub(crate) services: Services,
    pub(crate) identities: Arc<Identities>,
    pub(crate) releaser: Releaser,
    pub(crate) pools: Pools,
    pub(crate) ahead: Ahead,
    pub(crate) refused_starts: RefusedStarts,
    host_access: HostAccess,
    pub(crate) nat: Nat,
    /// Held while interfaces of VLANs are looked at, made and removed.
    pub(crate) vlans: tokio::sync::Mutex<()>,
    /// Held while a container's `resolv.conf` is looked at and written.
    pub(crate) resolver: tokio::sync::Mutex<()>,
    pub(crate) attachments: Attachments,
    pub(crate) openings: Openings,
    pub(crate) bridge_macs: Arc<BridgeMacs>,
    pub(crate) ledger: Ledger,
    /// When the networks were created that Docker has asked for since the daemon started.
    pub(crate) created: Mutex<BTreeMap<NetworkId, Duration>>,
    slots: Mutex<BTreeMap<EndpointId, Arc<Slot>>>,
    pub(crate) host_leases: HostLeases,
    pub(crate) cancel: CancellationToken,
}

impl Engine {
    /// The file of the store in this directory.
    pub fn store_in(state_dir: &Path) -> PathBuf {
        state_dir.join("landline.redb")
    }

    /// Opens the store in `state_dir` (which must exist), starts to follow the host's links, and takes up every
    /// endpoint that was there before. Must be called within a tokio runtime, in the host's namespace.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(state_dir: &Path, host: Arc<dyn Host>) -> Result<Arc<Self>, OpenError> {
        let path = Self::store_in(state_dir);
        let name = path.display().to_string();
        let failed = |source| OpenError::Store { path: name, source };
        let (store, mut rows) = blocking(move || Store::open(&path).map_err(failed)).await?;
        let (attachments, endpoints) = Attachments::resume(rows.take(), rows.take()).await;
        let mut networks: Vec<NetworkRecord> = rows.take();
        networks.extend(attachments.networks());
        let all_networks = !rows.lacks::<NetworkRecord>() && !rows.lacks::<AttachmentRecord>();
        let openings = Openings::resume(rows.take(), &networks, &store).await;
        let (store, identities) = (Arc::new(store), Arc::new(Identities::new(rows.take())));

        let cancel = CancellationToken::new();
        let links = Arc::<Pending<LinkEvents>>::default();
        let kernel = |what| move |source| OpenError::Kernel { what, source };
        let present =
            LinkTable::start(links.clone(), cancel.clone()).map_err(kernel("follow the host's links"))?;
        let services = Services {
            alarm: Alarm::start().map_err(kernel("set timers"))?,
            ears: Ears::new(present.clone()),
            company: Company::default(),
            sentries: Sentries::new(present.clone()),
            book: AddressBook::start(cancel.clone()).map_err(kernel("follow the host's addresses"))?,
            present,
            boot: boottime::boot_id().map_err(kernel("read the boot id"))?.into(),
        };
        let bridge_macs = Arc::new(BridgeMacs::new(host.clone(), store.clone(), rows.take()));
        let releaser = Releaser::start(
            host.clone(),
            store.clone(),
            bridge_macs.clone(),
            identities.clone(),
            services.clone(),
            cancel.clone(),
        );
        let (host_access, inbox) = HostAccess::new();
        let pools = Pools::new(store.clone(), rows.take());
        let refused_starts = RefusedStarts::new(store.clone(), rows.take());
        let nat = nat::Beginning {
            bound: nat::all_bound(endpoints.iter()),
            privates: nat::private_bridges(networks.iter(), &openings.all()),
            bridges: open_bridges(networks.iter(), &openings.all()),
            ..nat::Beginning::new(store.clone(), &services, rows.take())
        };
        let engine = Arc::new(Self {
            host_access,
            nat: Nat::start(nat, cancel.clone()),
            host,
            store,
            services,
            identities,
            releaser,
            pools,
            ahead: Ahead::default(),
            refused_starts,
            vlans: tokio::sync::Mutex::default(),
            resolver: tokio::sync::Mutex::default(),
            attachments,
            openings,
            bridge_macs,
            ledger: Ledger::new(networks),
            created: Mutex::default(),
            slots: Mutex::default(),
            host_leases: HostLeases::default(),
            cancel,
        });
        engine.reconcile(endpoints).await;
        for lease in rows.take() {
            engine.start_host_lease(lease);
        }
        engine.reopen_all_network_links(all_networks).await;
        tokio::spawn(Self::keep_switches(Arc::downgrade(&engine), engine.host.switches_ended()));
        engine.sweep_identities().await;
        if !engine.found_on_host().is_empty() {
            let alarm = engine.services.alarm.clone();
            tokio::spawn(crate::forgotten::run(engine.clone(), alarm, engine.cancel.clone()));
        }
        let beginning = Beginning {
            keeper: Keeper::Daemon,
            records: rows.take(),
            loosened: rows.take(),
            store: Some(engine.store.clone()),
            inventory: Some(engine.ledger.watch()),
        };
        host_access::start(inbox, beginning, engine.cancel.clone());
        let (watch, cancel) = (|| engine.ledger.watch(), &engine.cancel);
        tokio::spawn(crate::switch_ports::run(engine.clone(), watch(), cancel.clone()));
        tokio::spawn(crate::repair::run(engine.clone(), links, watch(), cancel.clone()));
        tokio::spawn(crate::collisions::run(engine.clone(), cancel.clone()));
        tokio::spawn(crate::resolver::run(engine.clone(), watch(), cancel.clone()));
        Ok(engine)
    }

    /// Stops supervising. No lease is released, no link removed: containers go on with what they have.
    pub async fn shutdown(&self) {
        for endpoint in self.endpoints() {
            endpoint.stop(false).await;
        }
        self.cancel.cancel();
    }

    /// How the host reaches containers on its NICs' macvlan and ipvlan networks.
    pub fn host_access(&self) -> &HostAccess {
        &self.host_access
    }

    /// From now on identities are derived like this. Those that there are stay as they are.
    pub fn derive_identities(&self, derivation: Derivation) {
        self.identities.derive(derivation);
    }

    /// Containers with addresses on the host.
    pub fn nat(&self) -> &Nat {
        &self.nat
    }

    /// Whether there is such an endpoint.
    pub fn knows(&self, id: &EndpointId) -> bool {
        self.slot_if_known(id).is_some_and(|slot| slot.current().is_some())
    }

    /// Asks the server again now. `false`: there is no such endpoint, or it has no lease.
    pub fn renew(&self, id: &EndpointId) -> bool {
        let Some(endpoint) = self.slot_if_known(id).and_then(|slot| slot.current()) else { return false };
        let tasks = endpoint.tasks();
        tasks.iter().for_each(Orders::renew);
        !tasks.is_empty()
    }

    /// All networks. To be held for a moment only.
    pub(crate) fn networks(&self) -> Networks<'_> {
        self.ledger.networks()
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<EndpointId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot of this id, made if need be.
    pub(crate) fn slot(&self, id: &EndpointId) -> Arc<Slot> {
        self.slots().entry(id.clone()).or_default().clone()
    }

    pub(crate) fn slot_if_known(&self, id: &EndpointId) -> Option<Arc<Slot>> {
        self.slots().get(id).cloned()
    }

    /// Forgets an empty slot that nobody else waits for.
    pub(crate) fn drop_slot(&self, id: &EndpointId, slot: Arc<Slot>) {
        let mut slots = self.slots();
        drop(slot);
        if slots.get(id).is_some_and(|s| Arc::strong_count(s) == 1 && s.current().is_none()) {
            slots.remove(id);
        }
    }

    /// All endpoints there are, ordered by id.
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let slots: Vec<Arc<Slot>> = self.slots().values().cloned().collect();
        slots.iter().filter_map(|slot| slot.current()).collect()
    }
}

/// The bridges of these networks for which the host's firewall is to be opened: as their users say, or the administrator, and
/// Landline's own, which nobody but the network's containers is on.
pub(crate) fn open_bridges<'a>(
    networks: impl Iterator<Item = &'a NetworkRecord>,
    openings: &BTreeSet<IfName>,
) -> OpenBridges {
    let mut open = OpenBridges::default();
    for options in networks.map(|network| &network.options) {
        let asked = options.open_firewall || openings.contains(&options.parent);
        let facts = facts_of(options.mode);
        if facts.is_lan_bridge() && asked {
            open.asked.insert(options.parent.clone());
        } else if facts.parent == ParentIs::OwnBridge {
            open.own.insert(options.parent.clone());
        }
    }
    open
}
