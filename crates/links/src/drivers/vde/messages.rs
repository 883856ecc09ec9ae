//! What the daemon and the process that runs its switches say to each other: one packet a message, with descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use landline_types::IfName;
use landline_vde::SwitchConfig;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What this program speaks. A process that speaks something else, because it was started before an update, is ended,
/// and one of this program's is started in its place.
pub(super) const VERSION: u32 = 1;

/// The longest message, in bytes: a few paths.
const LONGEST: usize = 32 * 1024;

/// What the process says to whoever connects. A pidfd of the process comes with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Greeting {
    pub(super) version: u32,
}

/// What the daemon wants.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Does a switch run in this directory?
    Runs(PathBuf),
    /// Run a switch. Its tap comes along.
    Start { dir: PathBuf, management: Option<PathBuf>, group: Option<u32>, ports: u16 },
    /// End a switch and remove its directory.
    End(PathBuf),
    /// Has this tap a cable, if only one whose other end is loose?
    Has(IfName),
    /// Plug a tap, which comes along, into the switch in `dir`.
    PlugIn { tap: IfName, dir: PathBuf, patient: bool },
}

impl Ask {
    pub(super) fn start(config: &SwitchConfig) -> Self {
        let SwitchConfig { dir, management, group, ports } = config.clone();
        Self::Start { dir, management, group, ports }
    }
}

/// What comes of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Yes,
    No,
    /// It is done.
    Done,
    /// It is not, for this reason.
    Failed(String),
}

/// Sends a message, and a descriptor with it.
pub(super) fn send(socket: &OwnedFd, message: &impl Serialize, with: Option<&OwnedFd>) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let with = with.map(|descriptor| [descriptor.as_fd()]);
    if let Some(with) = &with {
        control.push(SendAncillaryMessage::ScmRights(with));
    }
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// The next message and its descriptor. The other's end is an error too.
pub(super) fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> io::Result<(T, Option<OwnedFd>)> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let length = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            got => break got?.bytes,
        }
    };
    let with = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match bytes.get(..length) {
        None | Some([]) => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(bytes) => Ok((serde_json::from_slice(bytes)?, with)),
    }
}
