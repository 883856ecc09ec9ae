//! What routers say unasked.
//!
//! A host is to hear it at any time: a router that has come, or goes, or has another prefix, does not wait to be asked. An
//! idle endpoint has no socket, though, and must not have one in its sandbox. But what routers say to all, they say
//! to the parent of its link as well, in the host's namespace: there one socket listens for all endpoints on it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use landline_dhcp::wire::udp::Check;
use landline_kernel::{Netlink, PacketSocket};
use landline_links::LinkTable;
use landline_types::{IfName, Mac};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use super::socket::LONGEST;
use crate::lease::hear;

/// How many advertisements may wait for a task that is busy. The newest counts; routers repeat themselves.
const WAITING: usize = 16;

/// An advertisement, from the IPv6 header on.
#[derive(Debug, Clone)]
pub(crate) struct Advertisement {
    pub(crate) frame_source: Mac,
    pub(crate) packet: Arc<[u8]>,
    pub(crate) check: Check,
    /// This host sent it.
    pub(crate) own: bool,
}

/// The parents that are listened at.
#[derive(Debug, Clone)]
pub struct RaListeners {
    present: LinkTable,
    parents: Arc<Mutex<BTreeMap<IfName, Weak<RaListener>>>>,
}

#[derive(Debug)]
struct RaListener {
    heard: broadcast::Sender<Advertisement>,
    task: JoinHandle<()>,
}

impl Drop for RaListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What one endpoint hears. Without listeners nobody listens.
#[derive(Debug)]
pub(crate) struct Listener {
    _ear: Arc<RaListener>,
    heard: broadcast::Receiver<Advertisement>,
}

impl RaListeners {
    /// Listens nowhere yet.
    pub fn new(present: LinkTable) -> Self {
        Self { present, parents: Arc::default() }
    }

    /// Listens at this parent, now and whenever it is there again.
    pub(crate) fn listen(&self, parent: &IfName) -> Listener {
        let mut parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = parents.get(parent).and_then(Weak::upgrade).unwrap_or_else(|| {
            let (heard, _) = broadcast::channel(WAITING);
            let task = tokio::spawn(listen(parent.clone(), self.present.clone(), heard.clone()));
            Arc::new(RaListener { heard, task })
        });
        parents.retain(|_, listener| listener.strong_count() > 0);
        parents.insert(parent.clone(), Arc::downgrade(&listener));
        Listener { heard: listener.heard.subscribe(), _ear: listener }
    }
}

impl Listener {
    /// The next advertisement. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Advertisement {
        loop {
            match self.heard.recv().await {
                Ok(advertisement) => return advertisement,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                // Not while the listener is held.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

async fn listen(parent: IfName, mut present: LinkTable, heard: broadcast::Sender<Advertisement>) {
    loop {
        let name = parent.clone();
        let error = match landline_links::blocking(move || index(&name)).await {
            Ok(index) => match PacketSocket::router_advertisements(None, index) {
                Ok(socket) => pass_on(&socket, &heard).await,
                Err(error) => error,
            },
            Err(error) => error,
        };
        tracing::debug!(%parent, %error, "routers are not heard until something changes");
        present.changed().await;
    }
}

fn index(name: &IfName) -> io::Result<u32> {
    let link = Netlink::open()?.link_by_name(name).map_err(io::Error::other)?;
    Ok(link.ok_or(io::ErrorKind::NotFound)?.index)
}

/// Passes on what the socket hears until it fails.
async fn pass_on(socket: &PacketSocket, heard: &broadcast::Sender<Advertisement>) -> io::Error {
    loop {
        match hear(Some(socket), LONGEST).await {
            Ok((got, packet)) => {
                let check = if got.checksum_valid_or_unknown { Check::Skip } else { Check::Verify };
                // Somebody listens, or this task is about to end.
                let (frame_source, own) = (got.source_mac, got.own);
                let _ = heard.send(Advertisement { frame_source, packet: packet.into(), check, own });
            }
            Err(error) => return error,
        }
    }
}
