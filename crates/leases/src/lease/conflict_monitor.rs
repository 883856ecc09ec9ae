//! Who else claims an address that is in use (RFC 5227 section 2.4).
//!
//! It may begin long after the address was checked. But announcements of an address, and questions for neighbours, go to
//! all, so the parent of the endpoint's link hears them. The filter of the socket there knows the addresses of all its
//! endpoints, so no task is woken for anything else.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use landline_dhcp::wire::arp::Packet;
use landline_links::LinkTable;
use landline_types::{IfName, Mac};
use tokio::sync::{broadcast, watch};

use super::listeners::{Hears, Listener, Listeners, relay};
use crate::sockets::{Claims, Sockets};

/// What each watch is for, by its number.
#[derive(Clone, Default)]
struct Own(watch::Sender<BTreeMap<u64, Option<(Ipv4Addr, Mac)>>>);

/// The parents that are listened at.
#[derive(Clone)]
pub struct ConflictMonitor(Listeners<Own>);

/// One endpoint's listener. Without any nobody listens.
pub(crate) struct Watch {
    listener: Listener<Own>,
    number: u64,
    own: Option<(Ipv4Addr, Mac)>,
}

impl ConflictMonitor {
    /// Watches nowhere yet.
    pub fn new(link_table: LinkTable, sockets: Arc<dyn Sockets>) -> Self {
        Self(Listeners::new(link_table, sockets))
    }

    /// Listens at this parent, now and whenever it is there again.
    pub(crate) fn at(&self, parent: &IfName) -> Watch {
        let listener = self.0.at(parent);
        let mut number = 0;
        listener.hears().0.send_if_modified(|claims| {
            number = claims.last_key_value().map_or(0, |(number, _)| number + 1);
            claims.insert(number, None);
            false
        });
        Watch { listener, number, own: None }
    }
}

impl Watch {
    /// What is the endpoint's from now on.
    pub(crate) fn watch(&mut self, own: Option<(Ipv4Addr, Mac)>) {
        if self.own != own {
            self.own = own;
            self.listener.hears().0.send_modify(|claims| {
                claims.insert(self.number, own);
            });
        }
    }

    /// The next packet in which another machine claims what is the endpoint's. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Packet {
        loop {
            let packet = self.listener.next().await;
            let claims = |(own, mac)| packet.sender_ip == own && packet.sender_mac != mac;
            if self.own.is_some_and(claims) {
                return packet;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.listener.hears().0.send_modify(|claims| {
            claims.remove(&self.number);
        });
    }
}

impl Hears for Own {
    type Heard = Packet;
    type Socket = Box<dyn Claims>;

    const WHAT: &'static str = "claims of others are";

    fn open(sockets: &dyn Sockets, parent: &IfName) -> io::Result<Self::Socket> {
        sockets.claims(parent)
    }

    async fn pass_on(&self, socket: &Self::Socket, heard: &broadcast::Sender<Packet>) -> io::Error {
        let watch = |claims: &BTreeMap<_, Option<_>>| {
            socket.watch(&claims.values().flatten().copied().collect::<Vec<_>>())
        };
        relay(self.0.subscribe(), watch, || socket.receive(), heard).await
    }
}
