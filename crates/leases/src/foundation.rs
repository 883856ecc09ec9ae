//! What everything else is built on: the store with what was in it, what the tasks of leases share, and the inventory.
//!
//! The daemon lays it, starts the features and the engine on it, each of which takes its own rows, and drops it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use landline_kernel::boottime;
use landline_links::{
    Host, HostError, LinkEvents, LinkTable, LinuxNamespaces, LinuxSandboxes, Pending, blocking,
};
use landline_model::{EndpointRecord, NetworkRecord};
use landline_store::{Rows, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::addressing::book::AddressBook;
use crate::clock::Clock;
use crate::inventory::Ledger;
use crate::ipv6::{Company, RaListeners};
use crate::lease::{ConflictMonitor, Services};
use crate::sockets::{Sockets, TracedSockets};
use crate::trace::Traces;

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

/// What all parts of a daemon share: each has a copy.
#[derive(Clone)]
pub struct Shared {
    /// The host's links.
    pub host: Arc<dyn Host>,
    /// What survives a crash.
    pub store: Arc<Store>,
    /// What tasks need.
    pub services: Services,
}

/// The ground of a daemon.
pub struct Foundation {
    /// The host's links.
    pub host: Arc<dyn Host>,
    /// What survives a crash.
    pub store: Arc<Store>,
    /// What nobody has taken yet.
    pub rows: Rows,
    /// The stored networks and those behind attachments.
    pub networks: Vec<NetworkRecord>,
    /// Whether those are all.
    pub all_networks: bool,
    /// The stored endpoints.
    pub endpoints: Vec<EndpointRecord>,
    /// What there is, as all others see it.
    pub ledger: Ledger,
    /// What the tasks of leases share.
    pub services: Services,
    /// What has happened to the host's links and nobody has looked at yet.
    pub links: Arc<Pending<LinkEvents>>,
    /// Ends all tasks.
    pub cancel: CancellationToken,
}

impl Foundation {
    /// What all parts share.
    pub fn shared(&self) -> Shared {
        Shared { host: self.host.clone(), store: self.store.clone(), services: self.services.clone() }
    }

    /// The file of the store in this directory.
    pub fn store_in(state_dir: &Path) -> PathBuf {
        state_dir.join("landline.redb")
    }

    /// Opens the store in `state_dir` (which must exist) and starts to follow the host's links and addresses. Must be called
    /// within a tokio runtime, in the host's namespace.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(state_dir: &Path, host: Arc<dyn Host>) -> Result<Self, OpenError> {
        let path = Self::store_in(state_dir);
        let name = path.display().to_string();
        let failed = |source| OpenError::Store { path: name, source };
        let (store, rows) = blocking(move || Store::open(&path).map_err(failed)).await?;
        let cancel = CancellationToken::new();
        let links = Arc::<Pending<LinkEvents>>::default();
        let kernel = |what| move |source| OpenError::Kernel { what, source };
        let link_table =
            LinkTable::start(links.clone(), cancel.clone()).map_err(kernel("follow the host's links"))?;
        let traces = Arc::<Traces>::default();
        let sockets: Arc<dyn Sockets> = Arc::new(TracedSockets(traces.clone()));
        let services = Services {
            clock: Clock::start().map_err(kernel("set timers"))?,
            ra_listeners: RaListeners::new(link_table.clone(), sockets.clone()),
            company: Company::default(),
            conflict_monitor: ConflictMonitor::new(link_table.clone(), sockets.clone()),
            book: AddressBook::start(link_table.clone(), cancel.clone())
                .map_err(kernel("follow the host's addresses"))?,
            sockets,
            traces,
            meters: Arc::default(),
            history: Arc::default(),
            sandboxes: Arc::new(LinuxSandboxes),
            namespaces: Arc::new(LinuxNamespaces),
            link_table,
            cancel: cancel.clone(),
            boot: boottime::boot_id().map_err(kernel("read the boot id"))?.into(),
        };
        let ground = Self::on(host, store, rows, services, links);
        let (history, store, ledger) =
            (ground.services.history.clone(), ground.store.clone(), ground.ledger.clone());
        tokio::spawn(history.follow(store, ledger, cancel));
        Ok(ground)
    }

    /// As [`Self::open`], with what was opened.
    pub fn on(
        host: Arc<dyn Host>,
        store: Store,
        mut rows: Rows,
        services: Services,
        links: Arc<Pending<LinkEvents>>,
    ) -> Self {
        let (networks, cancel) = (rows.take(), services.cancel.clone());
        services.history.resume(rows.take());
        Self {
            host,
            store: Arc::new(store),
            networks,
            all_networks: !rows.lacks::<NetworkRecord>(),
            endpoints: rows.take(),
            rows,
            ledger: Ledger::default(),
            services,
            links,
            cancel,
        }
    }
}
