//! Attachments: interfaces for containers that run already, started by Docker or by anything else.
//!
//! An attachment is an endpoint on a network of its own (`attach-ID`, which Docker knows nothing of) whose sandbox was
//! named by somebody: link kinds, leases, identities and repairs are those of all endpoints. What Docker does for an
//! endpoint of its own, moving the link and setting it up, is done here (`apply`, `inside`), and undone (`detach`). It is
//! recorded until it is detached; the sandboxes it was in come and go.

mod addresses;
mod apply;
mod card;
mod changes;
mod detach;
mod dummy;
mod follow;
mod inside;
mod parent;
mod place;
mod record;
mod routes;
mod runtime;
mod script;
mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use landline_engine::{CreateEndpointError, Engine, JoinError, Refusal};
use landline_leases::addressing::permit::NotPermitted;
use landline_leases::{Foundation, Shared};
use landline_links::network::NetworkLinksError;
use landline_links::{HostError, Namespaces, ParentError};
use landline_model::{ContainerRecord, NetworkRecord};
use landline_options::{AttachSpec, Change, OptionError, Target};
use landline_store::StoreError;
use landline_types::{IfName, Mac};

pub use parent::ResolvedParent;
pub use place::{namespace_at, process_called};
use record::Inside;
pub use record::{AttachmentId, AttachmentRecord, Origin};
pub use runtime::is_named;
pub use script::shell_word;
pub use view::AttachmentView;

/// A request for an attachment.
#[derive(Debug, Clone)]
pub struct AttachRequest {
    /// Whom it is for.
    pub target: Target,
    /// What it is.
    pub spec: AttachSpec,
    /// Who wants it.
    pub origin: Origin,
    /// Where the container is now.
    pub place: TargetSandbox,
    /// Whether the attachment exists already and is only checked: one that was detached meanwhile is not made again.
    pub again: bool,
    /// Whether a bridge that is not there may be made.
    pub may_make: bool,
}

/// A sandbox, and who is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSandbox {
    /// A path that names its namespace.
    pub sandbox: PathBuf,
    /// The Docker container there, if it is one.
    pub container: Option<ContainerRecord>,
}

/// Why something was not attached, changed or detached. Nothing is left of it then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachFailure {
    /// There is no namespace there.
    #[error("cannot open the network namespace of {target}; is it running?")]
    Gone {
        /// Whose it should be.
        target: Target,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The host's own namespace.
    #[error("{0} is in the host's own network namespace, and what is there is on the LAN already")]
    Host(Target),
    /// The interface is there already.
    #[error("{target} has an interface {name} already; choose another name with ifname={name}x or -i")]
    NameTaken {
        /// Whose it is.
        target: Target,
        /// Its name.
        name: IfName,
    },
    /// The same interface was attached in another way.
    #[error(
        "{name} of {target} is attached to {parent} already; detach it first: landline detach {target} {name}"
    )]
    Differs {
        /// Whose it is.
        target: Target,
        /// The interface.
        name: IfName,
        /// Its parent.
        parent: String,
    },
    /// No host interface has this hardware address.
    #[error("no network card of this host has the hardware address {0}; ip link shows them")]
    NoSuchCard(Mac),
    /// The parent will not do.
    #[error(transparent)]
    Parent(#[from] ParentError),
    /// A feature does not admit its network: the host's firewall could not be opened.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What its network needs on the host cannot be had.
    #[error(transparent)]
    NetworkLinks(#[from] NetworkLinksError),
    /// It may not be made.
    #[error("there is no {0}, and it may not be made")]
    MayNotMake(IfName),
    /// It has no meaning with this kind of link.
    #[error("{0}")]
    Contradiction(&'static str),
    /// An option.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The address cannot be used.
    #[error("{0}; choose another")]
    NotPermitted(NotPermitted),
    /// Somebody on the LAN has the address.
    #[error(
        "{address} is used by {by} on the LAN already; choose another, or use it all the same with force=true"
    )]
    InUse {
        /// The address.
        address: std::net::IpAddr,
        /// The hardware address of its user, or what else is known.
        by: String,
    },
    /// One machine answers for every address of the LAN.
    #[error(
        "{by} answers for every address on the LAN, {address} among them; if that is a router that does proxy ARP, switch \
         it off for this LAN, or use conflict_check=off"
    )]
    ProxyArp {
        /// The address.
        address: std::net::Ipv4Addr,
        /// Who answers.
        by: Mac,
    },
    /// The link or the lease.
    #[error(transparent)]
    Endpoint(#[from] CreateEndpointError),
    /// The host.
    #[error("cannot change the host's links")]
    Links(#[from] HostError),
    /// Taking up its place.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Something inside the container.
    #[error("cannot set up the interface in {target}")]
    Inside {
        /// The container.
        target: Target,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its card is not here, so it cannot be put back as it was.
    #[error(
        "{card} has not come back from {target} yet: something still holds the network namespace it is in \
         (lsns -t net shows them); try again when that has ended"
    )]
    CardAway {
        /// The card.
        card: IfName,
        /// Where it was.
        target: Target,
    },
    /// There is no such attachment.
    #[error("{target} has no such attachment; landline attach --list shows them")]
    Unknown {
        /// Whose it should be.
        target: Target,
    },
    /// The interface of a runtime's container is gone.
    #[error("{container} has no interface {interface} of Landline's any more")]
    NotThere {
        /// The interface.
        interface: IfName,
        /// The container.
        container: String,
    },
    /// It could not be stored.
    #[error("cannot store the attachment")]
    Store(#[from] StoreError),
    /// Whoever asked has gone, or the container has ended.
    #[error("the attachment was given up")]
    Cancelled,
}

/// One attachment: what is done with it is done one after the other.
#[derive(Debug)]
pub(crate) struct Slot {
    turn: tokio::sync::Mutex<()>,
    record: Mutex<AttachmentRecord>,
}

impl Slot {
    fn new(record: AttachmentRecord) -> Arc<Self> {
        Arc::new(Self { turn: tokio::sync::Mutex::default(), record: Mutex::new(record) })
    }

    pub(crate) fn read(&self) -> AttachmentRecord {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All attachments.
#[derive(Debug, Default)]
pub struct AttachmentSlots {
    slots: Mutex<BTreeMap<AttachmentId, Arc<Slot>>>,
    /// Whoever changes something that attachments of one sandbox share holds its lock.
    sandboxes: Mutex<BTreeMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>,
    changes: Arc<changes::Changes>,
}

impl AttachmentSlots {
    fn new(records: Vec<AttachmentRecord>, changes: changes::Changes) -> Self {
        let slots = records.into_iter().map(|record| (record.id.clone(), Slot::new(record)));
        Self { slots: Mutex::new(slots.collect()), sandboxes: Mutex::default(), changes: Arc::new(changes) }
    }

    /// What there was when the daemon stopped. A path may name another namespace by now, and numbers of processes are
    /// given again: an endpoint whose namespace is not the one it was in has none.
    pub async fn resume(ground: &mut Foundation) -> Self {
        let records: Vec<AttachmentRecord> = ground.rows.take();
        ground.all_networks &= !ground.rows.lacks::<AttachmentRecord>();
        let changes = changes::Changes::new(ground.rows.take(), &ground.services.boot);
        let mut endpoints = std::mem::take(&mut ground.endpoints);
        let namespaces = ground.services.namespaces.clone();
        let (attachments, endpoints) = landline_links::blocking(move || {
            for record in &records {
                let Some(endpoint) = endpoints.iter_mut().find(|one| one.id == *record.id.endpoint()) else {
                    continue;
                };
                let same = |i: &Inside| namespaces.name_at(&i.sandbox).as_ref() == Some(&i.namespace);
                if !record.inside.as_ref().is_some_and(same) {
                    endpoint.sandbox = None;
                }
                endpoint.host_end.clone_from(&record.spec.host_end);
            }
            (Self::new(records, changes), endpoints)
        })
        .await;
        ground.endpoints = endpoints;
        ground.networks.extend(attachments.networks());
        attachments
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AttachmentId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Slot>> {
        self.lock().values().cloned().collect()
    }

    fn get(&self, id: &AttachmentId) -> Option<Arc<Slot>> {
        self.lock().get(id).cloned()
    }

    fn of_sandbox(&self, path: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut sandboxes = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        sandboxes.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = sandboxes.get(path).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::default());
        sandboxes.insert(path.to_owned(), Arc::downgrade(&lock));
        lock
    }

    /// The networks that stand behind those whose links were made before.
    fn networks(&self) -> Vec<NetworkRecord> {
        self.all().iter().filter_map(|slot| slot.read().network_record()).collect()
    }
}

/// Attaches and detaches.
pub struct Attachments {
    shared: Shared,
    engine: Arc<Engine>,
    slots: AttachmentSlots,
}

impl Attachments {
    /// The host's namespace and those of containers.
    fn namespaces(&self) -> Arc<dyn Namespaces> {
        self.shared.services.namespaces.clone()
    }

    /// Goes on with the attachments there were, whose endpoints the engine has taken up, and keeps them as they are to be.
    pub async fn start(shared: Shared, engine: Arc<Engine>, slots: AttachmentSlots) -> Arc<Self> {
        let attach = Arc::new(Self { shared, engine, slots });
        for slot in attach.slots.all() {
            let record = slot.read();
            if let Some(endpoint) = attach.engine.endpoint(record.id.endpoint()) {
                let addresses = record.spec.addresses.iter().map(|address| address.net.addr());
                endpoint.state.has_also(addresses.collect()).await;
            }
        }
        let cancel = attach.shared.services.cancel.clone();
        tokio::spawn(cancel.run_until_cancelled_owned(follow::run(attach.clone())));
        attach
    }

    /// Changes routes, rules or queues in a container's namespace, each time that it is told to.
    ///
    /// # Errors
    /// See [`AttachFailure`].
    pub async fn change(
        &self,
        target: &Target,
        sandbox: &Path,
        change: &Change,
    ) -> Result<(), AttachFailure> {
        let (netns, _) = place::open(self.namespaces(), target, sandbox).await?;
        let (change, target) = (change.clone(), target.clone());
        landline_links::blocking(move || routes::change(&*netns, &change))
            .await
            .map_err(|source| AttachFailure::Inside { target, source: source.into() })
    }
}

#[cfg(test)]
mod tests;
