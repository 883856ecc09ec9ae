//! What the supervisors of all endpoints share.

use std::sync::Arc;

use landline_links::{LinkTable, Namespaces, Sandboxes};
use tokio_util::sync::CancellationToken;

use super::conflict_monitor::ConflictMonitor;
use crate::addressing::book::AddressBook;
use crate::clock::Clock;
use crate::history::History;
use crate::ipv6::{Company, RaListeners};
use crate::meters::Meters;
use crate::probe::Prober;
use crate::sockets::Sockets;
use crate::trace::Traces;

/// What every supervisor shares.
#[derive(Clone)]
pub struct Services {
    /// The clock and its timers.
    pub clock: Clock,
    /// Where clients hear and speak.
    pub sockets: Arc<dyn Sockets>,
    /// What was said there last.
    pub traces: Arc<Traces>,
    /// What is counted for the metrics.
    pub meters: Arc<Meters>,
    /// What happened.
    pub history: Arc<History>,
    /// Where containers are.
    pub sandboxes: Arc<dyn Sandboxes>,
    /// Whose links, addresses, routes and neighbours can be looked at and changed.
    pub namespaces: Arc<dyn Namespaces>,
    /// The host's links.
    pub link_table: LinkTable,
    /// Who has which address.
    pub book: AddressBook,
    /// What routers say unasked.
    pub ra_listeners: RaListeners,
    /// The links of one container, which look again together.
    pub company: Company,
    /// Who else claims the containers' addresses.
    pub conflict_monitor: ConflictMonitor,
    /// Which boot this is.
    pub boot: Arc<str>,
    /// The daemon stops.
    pub cancel: CancellationToken,
}

impl Services {
    /// Asks the LAN who has an address.
    pub fn prober(&self) -> Prober {
        Prober { sockets: self.sockets.clone(), namespaces: self.namespaces.clone() }
    }
}
