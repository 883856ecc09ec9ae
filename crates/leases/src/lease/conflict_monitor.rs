//! Who else claims an address that is in use (RFC 5227 section 2.4).
//!
//! It may begin long after the address was checked, and an idle endpoint has no socket to hear it with. But whoever
//! announces an address, or asks for its neighbours, does so to all, and the parent of the endpoint's link hears it as
//! well: there, in the host's namespace, one socket listens for all endpoints on the parent. Its filter knows their
//! addresses, so nobody is woken for anything else.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use landline_dhcp::wire::arp::Packet;
use landline_kernel::{Netlink, PacketSocket};
use landline_links::LinkTable;
use landline_types::{IfName, Mac};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

/// How many packets may wait for a task that is busy.
const WAITING: usize = 16;

/// What each watch is for, by its number.
type Claims = BTreeMap<u64, Option<(Ipv4Addr, Mac)>>;

/// The parents that are listened at.
#[derive(Debug, Clone)]
pub struct ConflictMonitor {
    present: LinkTable,
    parents: Arc<Mutex<BTreeMap<IfName, Weak<ParentMonitor>>>>,
}

#[derive(Debug)]
struct ParentMonitor {
    heard: broadcast::Sender<Packet>,
    claims: watch::Sender<Claims>,
    task: JoinHandle<()>,
}

impl Drop for ParentMonitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One endpoint's listener. Without any nobody listens.
#[derive(Debug)]
pub(crate) struct Watch {
    monitor: Arc<ParentMonitor>,
    heard: broadcast::Receiver<Packet>,
    number: u64,
    own: Option<(Ipv4Addr, Mac)>,
}

impl ConflictMonitor {
    /// Watches nowhere yet.
    pub fn new(present: LinkTable) -> Self {
        Self { present, parents: Arc::default() }
    }

    /// Listens at this parent, now and whenever it is there again.
    pub(crate) fn at(&self, parent: &IfName) -> Watch {
        let mut parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        let monitor = parents.get(parent).and_then(Weak::upgrade).unwrap_or_else(|| {
            let ((heard, _), claims) = (broadcast::channel(WAITING), watch::Sender::default());
            let task =
                tokio::spawn(listen(parent.clone(), self.present.clone(), heard.clone(), claims.subscribe()));
            Arc::new(ParentMonitor { heard, claims, task })
        });
        parents.retain(|_, monitor| monitor.strong_count() > 0);
        parents.insert(parent.clone(), Arc::downgrade(&monitor));
        let next = |claims: &Claims| claims.last_key_value().map_or(0, |(number, _)| number + 1);
        let mut number = 0;
        monitor.claims.send_if_modified(|claims| {
            number = next(claims);
            claims.insert(number, None);
            false
        });
        Watch { heard: monitor.heard.subscribe(), monitor, number, own: None }
    }
}

impl Watch {
    /// What is the endpoint's from now on.
    pub(crate) fn watch(&mut self, own: Option<(Ipv4Addr, Mac)>) {
        if self.own != own {
            self.own = own;
            self.monitor.claims.send_modify(|claims| {
                claims.insert(self.number, own);
            });
        }
    }

    /// The next packet in which somebody else claims what is the endpoint's. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Packet {
        loop {
            match self.heard.recv().await {
                Ok(packet) => {
                    let claims = |(own, mac)| packet.sender_ip == own && packet.sender_mac != mac;
                    if self.own.is_some_and(claims) {
                        return packet;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                // Not while the monitor is held.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.monitor.claims.send_modify(|claims| {
            claims.remove(&self.number);
        });
    }
}

async fn listen(
    parent: IfName,
    mut present: LinkTable,
    heard: broadcast::Sender<Packet>,
    mut claims: watch::Receiver<Claims>,
) {
    loop {
        let name = parent.clone();
        let error = match landline_links::blocking(move || index(&name)).await {
            Ok(index) => match PacketSocket::claims(None, index) {
                Ok(socket) => pass_on(&socket, &heard, &mut claims).await,
                Err(error) => error,
            },
            Err(error) => error,
        };
        tracing::debug!(%parent, %error, "claims of others are not heard until something changes");
        present.changed().await;
    }
}

fn index(name: &IfName) -> io::Result<u32> {
    let link = Netlink::open()?.link_by_name(name).map_err(io::Error::other)?;
    Ok(link.ok_or(io::ErrorKind::NotFound)?.index)
}

/// Passes on what the socket hears until it fails.
async fn pass_on(
    socket: &PacketSocket,
    heard: &broadcast::Sender<Packet>,
    claims: &mut watch::Receiver<Claims>,
) -> io::Error {
    claims.mark_changed();
    let mut buffer = [0; 128];
    loop {
        tokio::select! {
            changed = claims.changed() => {
                if changed.is_err() {
                    // The last watch has ended, and this task with it.
                    std::future::pending::<()>().await;
                }
                let own: Vec<_> = claims.borrow_and_update().values().flatten().copied().collect();
                if let Err(error) = socket.watch_claims(&own) {
                    return error;
                }
            }
            got = socket.recv(&mut buffer) => match got {
                Ok(got) => {
                    if let Some(packet) = buffer.get(..got.len).and_then(Packet::parse) {
                        // Somebody listens, or this task is about to end.
                        let _ = heard.send(packet);
                    }
                }
                Err(error) => return error,
            },
        }
    }
}
