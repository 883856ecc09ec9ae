//! Those who want a port, and those who have one.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::dir::Dir;
use crate::request::{REQUEST_MAX, Request, RequestError, reply};
use crate::socket;

/// How long a client may take to say what it wants.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How many may be about to say it.
pub(crate) const PENDING_MAX: usize = 64;

/// How many may share a port.
pub(crate) const SHARED_MAX: usize = 16;

/// A connection that has not said what it wants.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) stream: OwnedFd,
    pub(crate) deadline: Instant,
    said: Vec<u8>,
}

/// What has become of a pending connection.
pub(crate) enum Input {
    /// Not all yet.
    More,
    Request(Request),
    /// It has gone, or speaks something else.
    Nothing(Option<RequestError>),
}

impl Pending {
    pub(crate) fn new(stream: OwnedFd, now: Instant) -> Self {
        Self { stream, deadline: now + PATIENCE, said: Vec::new() }
    }

    /// Reads what there is. Clients send a request at once, so that its end is where the data ends.
    pub(crate) fn hear(&mut self) -> Input {
        let mut buffer = [0; REQUEST_MAX + 1];
        let room = buffer.len() - self.said.len();
        match rustix::io::read(&self.stream, &mut buffer[..room]) {
            Ok(0) => return Input::Nothing(None),
            Ok(more) => self.said.extend(&buffer[..more]),
            Err(Errno::AGAIN | Errno::INTR) => return Input::More,
            Err(_) => return Input::Nothing(None),
        }
        match Request::parse(&self.said) {
            Ok(request) => Input::Request(request),
            Err(RequestError::Short) => Input::More,
            Err(error) => Input::Nothing(Some(error)),
        }
    }
}

/// Who opened a connection, by the kernel's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) user: u32,
}

impl Peer {
    pub(crate) fn of(stream: &OwnedFd) -> io::Result<Self> {
        let credentials = rustix::net::sockopt::socket_peercred(stream.as_fd())?;
        Ok(Self { user: credentials.uid.as_raw() })
    }
}

/// A client on a port. Dropping it pulls its cable.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: u32,
    pub(crate) peer: Peer,
    pub(crate) description: String,
    /// Closed by the client when it goes.
    pub(crate) ctl: OwnedFd,
    pub(crate) data: OwnedFd,
    dir: Arc<Dir>,
    name: OsString,
}

impl Endpoint {
    /// Makes the socket of a port and tells the client its name.
    pub(crate) fn plug(
        ctl: OwnedFd,
        request: Request,
        peer: Peer,
        (port, id): (u16, u32),
        dir: &Arc<Dir>,
    ) -> io::Result<Self> {
        let data = socket::data_socket()?;
        socket::connect_to(dir, &data, &request.path, &[peer.user])?;
        let name = OsString::from(format!("{port:03}.{id}"));
        socket::bind_for(dir, &data, &name, peer.user)?;
        let answer = reply(&dir.path().join(&name));
        let endpoint = Self { id, peer, description: request.description, ctl, data, dir: dir.clone(), name };
        let sent = rustix::io::write(&endpoint.ctl, &answer)?;
        if sent == answer.len() { Ok(endpoint) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.dir.remove(&self.name);
    }
}
