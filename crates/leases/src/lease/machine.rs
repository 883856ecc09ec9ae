//! What one address family does in its own way ([`Machine`]), and what both need for it ([`Base`]).

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::Instant;
use landline_links::mark::Mark;
use landline_links::{Inside, SandboxError};
use landline_model::{EndpointRecord, EventKind};
use landline_store::StoreError;
use tokio::sync::watch;

use super::client::Client;
use super::link_location::LinkLocation;
use super::pace::{Pace, Quota, Spaced};
use super::services::Services;
use crate::addressing::permit::NotPermitted;
use crate::endpoint_state::EndpointState;
use crate::history::Happened;
use crate::sockets::{Location, Sockets};

/// Opens a machine's sockets; blocks for a short time.
pub(crate) type Opener<S> = Box<dyn FnOnce(&dyn Sockets, &Location, &Mark) -> io::Result<S> + Send>;

/// Brings a sandbox in line with a machine's addresses. What was done counts, even where something failed after it. `Ok(true)`:
/// it is to be looked at again when Docker is done.
pub(crate) type Job<A> = Box<dyn FnOnce(&mut dyn Inside) -> (A, Result<bool, SandboxError>) + Send>;

/// What one address family does in its own way.
pub(crate) trait Machine: Sized + Send + 'static {
    type Client: Client;
    type Sockets: Send + Sync + 'static;
    /// What comes in by the sockets.
    type Received: Send;
    /// What is heard without them.
    type Overheard: Send;
    /// What others see of it.
    type Status;
    /// What was done in the sandbox.
    type Applied: Send + 'static;

    /// Whether all IPv6 addresses of the link are to be Landline's.
    const OWN_V6: bool;
    /// How many messages may wait until the link has been moved. The machine repeats what is lost.
    const WAITING: usize;

    fn client(&mut self) -> &mut Self::Client;

    fn status(&self) -> watch::Receiver<Self::Status>;

    /// The address that Docker will put on the link, if any.
    fn told(record: &EndpointRecord) -> Option<IpAddr>;

    fn opener(&self) -> Opener<Self::Sockets>;

    fn send(sockets: &mut Self::Sockets, transmit: &Transmit<Self>) -> io::Result<()>;

    /// Whether a message is kept while the link is being moved; `open`: there are sockets.
    fn waits(transmit: &Transmit<Self>, open: bool) -> bool;

    /// Waits for the next packet. Cancel-safe.
    fn receive(sockets: &Self::Sockets) -> impl Future<Output = io::Result<Self::Received>> + Send;

    fn received(&mut self, base: &Base, received: Self::Received);

    /// Waits for something of interest to an endpoint in this sandbox. Cancel-safe.
    fn overhear(&mut self, sandbox: Option<&PathBuf>) -> impl Future<Output = Self::Overheard> + Send;

    /// Says whether the sandbox is to be looked at. `open`: there are sockets, which have heard it as well.
    fn overheard(&mut self, base: &Base, heard: Self::Overheard, open: bool) -> bool;

    /// Says whether the change is to be stored and set up at once.
    fn event(&mut self, base: &mut Base, event: Event<Self>) -> bool;

    /// Stores what the machine has.
    fn remember(&mut self, base: &mut Base) -> impl Future<Output = ()> + Send;

    /// What is to be done in the sandbox, if anything.
    fn job(&mut self, base: &mut Base) -> impl Future<Output = Option<Job<Self::Applied>>> + Send;

    /// Stores what was done in the sandbox.
    fn applied(
        &mut self,
        base: &mut Base,
        applied: Self::Applied,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Docker is done with the link.
    fn settled(&self, _base: &Base) {}

    /// Gives the addresses back; returns when the server has heard it, or the message has left the link.
    fn release(
        &mut self,
        base: &mut Base,
        sockets: &mut Option<Self::Sockets>,
    ) -> impl Future<Output = ()> + Send;

    /// Lets others see what the machine has. `true`: that is something else than before.
    fn publish(&mut self) -> bool;
}

pub(crate) type Event<M> = <<M as Machine>::Client as Client>::Event;
pub(crate) type Transmit<M> = <<M as Machine>::Client as Client>::Transmit;

/// What the machines of both families need.
pub(crate) struct Base {
    pub(crate) location: LinkLocation,
    /// The sandbox has addresses that no server and no router has confirmed or refused yet: they stay until then.
    pub(crate) undecided: bool,
    /// Nothing is set up in the sandbox until whoever has started the task allows it.
    pub(crate) withheld: bool,
    /// Until when Docker may still be setting the sandbox up with the address that it was told.
    pub(crate) told_until: Option<Duration>,
    /// What Docker was told is to be changed, or the routes looked at, once that is over.
    pub(crate) deferred: bool,
    /// What is stored and set up once in a while.
    pub(crate) pace: Pace,
    /// The name the server is to learn.
    pub(crate) names: Spaced<Option<String>>,
    /// How much is logged of what others do.
    quota: Quota,
}

impl Base {
    pub(crate) fn new(endpoint: Arc<EndpointState>, services: Services, place: Location) -> Self {
        Self {
            location: LinkLocation::new(endpoint, services, place),
            undecided: false,
            withheld: false,
            told_until: None,
            deferred: false,
            pace: Pace::default(),
            names: Spaced::default(),
            quota: Quota::default(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.location.services.clock.now()
    }

    /// The endpoint as it is called in the log.
    pub(crate) fn endpoint(&self) -> &str {
        self.location.endpoint.id().short()
    }

    /// Something happens to the endpoint now.
    pub(crate) fn happened(&self, kind: EventKind, about: impl FnOnce(Happened) -> Happened) {
        let endpoint = &self.location.endpoint;
        self.location.services.history.note(about(Happened::new(kind).to(endpoint.id(), endpoint.network())));
    }

    /// Whether a line about the endpoint may be logged now.
    pub(crate) fn may_log(&mut self) -> bool {
        let now = self.now().since_boot();
        self.quota.take(now, self.location.endpoint.id().short())
    }

    /// Whether Docker may still be setting the sandbox up.
    pub(crate) fn is_setting_up(&self) -> bool {
        self.told_until.is_some_and(|until| self.now().since_boot() < until)
    }

    /// Why the endpoint may not have an address; `None`: it may, as the other user has gone since.
    pub(crate) fn refusal(&self, address: IpAddr) -> Option<NotPermitted> {
        let (endpoint, book) = (&self.location.endpoint, &self.location.services.book);
        book.permit_endpoint(address.into(), endpoint.options(), endpoint.id()).err()
    }
}
