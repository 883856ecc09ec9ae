//! Which hardware addresses of containers other machines on the LAN have.
//!
//! What a container sends leaves by the host's link to the LAN and is not received there. So an ARP packet that comes in on that link
//! from the container's hardware address is from another machine, or its own that came back (a loop, an access point): whoever
//! hears it asks. The filter of the socket knows the hardware addresses.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use landline_dhcp::wire::arp::Heard;
use landline_links::LinkTable;
use landline_types::{IfName, Mac};
use tokio::sync::{broadcast, watch};

use super::listeners::{Hears, Listener, Listeners, relay};
use crate::sockets::{Sockets, Stations};

/// The hardware addresses that are listened for on a link.
#[derive(Clone, Default)]
struct Own(watch::Sender<BTreeSet<Mac>>);

/// The host's links to the LAN that are listened on.
pub struct StationMonitor(Listeners<Own>);

/// A listener on one of them. Without any nobody listens.
pub struct StationWatch(Listener<Own>);

impl StationMonitor {
    /// Listens nowhere yet.
    pub fn new(link_table: LinkTable, sockets: Arc<dyn Sockets>) -> Self {
        Self(Listeners::new(link_table, sockets))
    }

    /// Listens on this link, now and whenever it is there again.
    pub fn at(&self, link: &IfName) -> StationWatch {
        StationWatch(self.0.at(link))
    }
}

impl StationWatch {
    /// The hardware addresses that are listened for from now on.
    pub fn watch(&self, own: BTreeSet<Mac>) {
        self.0.hears().0.send_if_modified(|watched| {
            let changed = *watched != own;
            *watched = own;
            changed
        });
    }

    /// The next packet from one of them. Cancel-safe.
    pub async fn next(&mut self) -> Heard {
        self.0.next().await
    }
}

impl Hears for Own {
    type Heard = Heard;
    type Socket = Box<dyn Stations>;

    const WHAT: &'static str = "the hardware addresses of other machines are";

    fn open(sockets: &dyn Sockets, link: &IfName) -> io::Result<Self::Socket> {
        sockets.stations(link)
    }

    async fn pass_on(&self, socket: &Self::Socket, heard: &broadcast::Sender<Heard>) -> io::Error {
        let watch = |own: &BTreeSet<Mac>| socket.watch(&own.iter().copied().collect::<Vec<_>>());
        relay(self.0.subscribe(), watch, || socket.receive(), heard).await
    }
}
