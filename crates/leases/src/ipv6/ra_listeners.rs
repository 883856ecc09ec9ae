//! What routers say unasked. A host is to hear it at any time: a router that has come, or goes, or has another prefix, does not
//! wait to be asked.

use std::io;
use std::sync::Arc;

use landline_links::LinkTable;
use landline_types::IfName;
use tokio::sync::broadcast;

use crate::lease::{Hears, Listener, Listeners};
use crate::sockets::{Advertisement, Advertisements, Sockets};

/// The parents that are listened at.
#[derive(Clone)]
pub struct RaListeners(Listeners<Routers>);

#[derive(Clone, Default)]
pub(crate) struct Routers;

impl RaListeners {
    /// Listens nowhere yet.
    pub fn new(link_table: LinkTable, sockets: Arc<dyn Sockets>) -> Self {
        Self(Listeners::new(link_table, sockets))
    }

    /// Listens at this parent, now and whenever it is there again.
    pub(crate) fn at(&self, parent: &IfName) -> Listener<Routers> {
        self.0.at(parent)
    }
}

impl Hears for Routers {
    type Heard = Advertisement;
    type Socket = Box<dyn Advertisements>;

    const WHAT: &'static str = "routers are";

    fn open(sockets: &dyn Sockets, parent: &IfName) -> io::Result<Self::Socket> {
        sockets.advertisements(parent)
    }

    async fn pass_on(&self, socket: &Self::Socket, heard: &broadcast::Sender<Advertisement>) -> io::Error {
        loop {
            match socket.receive().await {
                Ok(advertisement) => drop(heard.send(advertisement)),
                Err(error) => return error,
            }
        }
    }
}
