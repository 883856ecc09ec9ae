//! Where an endpoint's link is: on the host, on its way, or in the sandbox. What the tasks of both families follow.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use landline_links::mark::Mark;
use landline_types::Mac;

use super::sandbox_move::{MoveOutcome, SandboxMove, wait_for_move};
use super::services::Services;
use crate::endpoint_state::EndpointState;
use crate::sockets::{Location, Sockets};

pub(crate) struct LinkLocation {
    pub(crate) endpoint: Arc<EndpointState>,
    pub(crate) services: Services,
    pub(crate) mark: Mark,
    pub(crate) place: Option<Location>,
    /// The sandbox it is in or on its way to.
    pub(crate) sandbox: Option<PathBuf>,
    /// Its way there, while that lasts.
    pub(crate) link_move: Option<Pin<Box<dyn Future<Output = MoveOutcome> + Send>>>,
    /// Opening the sockets failed; try again at the machine's next deadline, not before.
    pub(crate) unopened: bool,
}

impl LinkLocation {
    pub(crate) fn new(endpoint: Arc<EndpointState>, services: Services, place: Location) -> Self {
        let sandbox = match &place {
            Location::Sandbox(path) => Some(path.clone()),
            Location::Host(_) | Location::Parent(_) => None,
        };
        let mark = Mark::inside(endpoint.id(), endpoint.options().mode);
        Self { endpoint, services, mark, place: Some(place), sandbox, link_move: None, unopened: false }
    }

    /// Docker will move it into this sandbox, and put `address` on it. `index`: on the host, if it is still there.
    pub(crate) fn joined(
        &mut self,
        index: Option<u32>,
        sandbox: PathBuf,
        address: Option<IpAddr>,
        own_v6: bool,
    ) {
        if self.sandbox.as_ref() == Some(&sandbox) && index.is_none() {
            return;
        }
        self.sandbox = Some(sandbox.clone());
        self.place = index.map(Location::Host);
        let (link_table, sandboxes) = (self.services.link_table.clone(), self.services.sandboxes.clone());
        let mark = self.mark.clone();
        let link_move = SandboxMove { link_table, sandboxes, index, sandbox, mark, address, own_v6 };
        self.link_move = Some(Box::pin(wait_for_move(link_move)));
    }

    /// Whether a hardware address is one of this host's, or of another interface in the endpoint's sandbox.
    pub(crate) fn is_local(&self, mac: Mac) -> bool {
        let sandbox = match &self.place {
            Some(Location::Sandbox(path)) => Some(path),
            Some(Location::Host(_) | Location::Parent(_)) | None => None,
        };
        self.services.link_table.is_of_host(mac)
            || sandbox.is_some_and(|path| self.services.book.shares_sandbox(mac, path))
    }

    /// It is about to leave its sandbox.
    pub(crate) fn left(&mut self) {
        self.link_move = None;
        self.place = None;
        self.sandbox = None;
    }

    /// Its way is over. `true`: it is in its sandbox.
    pub(crate) fn arrived(&mut self, arrival: MoveOutcome) -> bool {
        self.link_move = None;
        self.unopened = false;
        let inside = self.sandbox.clone().filter(|_| arrival != MoveOutcome::Gone);
        self.place = inside.map(Location::Sandbox);
        self.place.is_some()
    }

    /// Whether nothing can be sent now, since the link is on its way.
    pub(crate) fn is_moving(&self) -> bool {
        self.link_move.is_some() && Location::on_behalf(self.endpoint.options()).is_none()
    }

    /// Opens sockets where it is now, or where the host speaks for it. If that is nowhere, or fails, there are none for the time being.
    pub(crate) async fn open<W: Send + 'static>(
        &mut self,
        open: impl FnOnce(&dyn Sockets, &Location, &Mark) -> io::Result<W> + Send + 'static,
    ) -> Option<W> {
        let place = Location::on_behalf(self.endpoint.options()).or_else(|| self.place.clone())?;
        let (mark, sockets) = (self.mark.clone(), self.services.sockets.clone());
        match tokio::task::spawn_blocking(move || open(&*sockets, &place, &mark)).await {
            Ok(Ok(wire)) => return Some(wire),
            Ok(Err(error)) => {
                tracing::debug!(%error, endpoint = %self.endpoint.id().short(), "sockets cannot be opened");
                if error.kind() == io::ErrorKind::NotFound {
                    self.endpoint.sandbox_lost();
                }
            }
            Err(_) => {}
        }
        self.unopened = true;
        None
    }
}
