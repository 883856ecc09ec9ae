//! Sockets on the parents of links, in the host's namespace, each of which listens for all endpoints on its parent.
//!
//! An idle endpoint has no socket of its own, and must not have one in its sandbox. But what is said to all on the LAN is said
//! to the parent of its link as well.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use landline_links::LinkTable;
use landline_types::IfName;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::sockets::{Next, Sockets};

/// How much may wait for a task that is busy. The newest counts: routers and claimants repeat themselves.
const WAITING: usize = 16;

/// What is listened for on one parent.
pub(crate) trait Hears: Clone + Default + Send + Sync + 'static {
    type Heard: Clone + Send + 'static;

    /// What is not heard while that fails.
    const WHAT: &'static str;

    type Socket: Send + 'static;

    fn open(sockets: &dyn Sockets, parent: &IfName) -> io::Result<Self::Socket>;

    /// Passes on what the socket hears until it fails. Somebody listens as long as this runs.
    fn pass_on(
        &self,
        socket: &Self::Socket,
        heard: &broadcast::Sender<Self::Heard>,
    ) -> impl Future<Output = io::Error> + Send;
}

/// The parents that are listened at.
#[derive(Clone)]
pub(crate) struct Listeners<H: Hears> {
    link_table: LinkTable,
    sockets: Arc<dyn Sockets>,
    parents: Arc<Mutex<BTreeMap<IfName, Weak<AtParent<H>>>>>,
}

struct AtParent<H: Hears> {
    hears: H,
    heard: broadcast::Sender<H::Heard>,
    _task: AbortOnDropHandle<()>,
}

/// What one endpoint hears. Without any nobody listens.
pub(crate) struct Listener<H: Hears> {
    at: Arc<AtParent<H>>,
    heard: broadcast::Receiver<H::Heard>,
}

impl<H: Hears> Listeners<H> {
    /// Listens nowhere yet.
    pub(crate) fn new(link_table: LinkTable, sockets: Arc<dyn Sockets>) -> Self {
        Self { link_table, sockets, parents: Arc::default() }
    }

    /// Listens at this parent, now and whenever it is there again.
    pub(crate) fn at(&self, parent: &IfName) -> Listener<H> {
        let mut parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        let at = parents.get(parent).and_then(Weak::upgrade).unwrap_or_else(|| {
            let (hears, (heard, _)) = (H::default(), broadcast::channel(WAITING));
            let (link_table, sockets) = (self.link_table.clone(), self.sockets.clone());
            let task = listen(parent.clone(), link_table, sockets, hears.clone(), heard.clone());
            Arc::new(AtParent { hears, heard, _task: AbortOnDropHandle::new(tokio::spawn(task)) })
        });
        parents.retain(|_, at| at.strong_count() > 0);
        parents.insert(parent.clone(), Arc::downgrade(&at));
        Listener { heard: at.heard.subscribe(), at }
    }
}

impl<H: Hears> Listener<H> {
    pub(crate) fn hears(&self) -> &H {
        &self.at.hears
    }

    /// What is heard next. Cancel-safe.
    pub(crate) async fn next(&mut self) -> H::Heard {
        loop {
            match self.heard.recv().await {
                Ok(heard) => return heard,
                Err(RecvError::Lagged(_)) => {}
                // Not while the parent is listened at.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Passes on what a socket receives until it fails, and has it watch for `own`, now and whenever that changes.
pub(super) async fn relay<'s, W, T>(
    mut own: watch::Receiver<W>,
    watch: impl Fn(&W) -> io::Result<()>,
    receive: impl Fn() -> Next<'s, T>,
    heard: &broadcast::Sender<T>,
) -> io::Error {
    own.mark_changed();
    loop {
        tokio::select! {
            // Whoever sends it holds the listener.
            _ = own.changed() => {
                if let Err(error) = watch(&own.borrow_and_update()) {
                    return error;
                }
            }
            packet = receive() => match packet {
                Ok(packet) => drop(heard.send(packet)),
                Err(error) => return error,
            },
        }
    }
}

async fn listen<H: Hears>(
    parent: IfName,
    mut link_table: LinkTable,
    sockets: Arc<dyn Sockets>,
    hears: H,
    heard: broadcast::Sender<H::Heard>,
) {
    loop {
        let (name, sockets) = (parent.clone(), sockets.clone());
        let error = match landline_links::blocking(move || H::open(&*sockets, &name)).await {
            Ok(socket) => hears.pass_on(&socket, &heard).await,
            Err(error) => error,
        };
        tracing::debug!(%parent, %error, "{} not heard until something changes", H::WHAT);
        link_table.changed().await;
    }
}
