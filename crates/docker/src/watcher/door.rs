//! The engine's socket, and when it may be connected to.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use landline_kernel::NameWatch;
use tokio::sync::Notify;

use super::presence::{Holder, Presence, look};

/// The engine's socket. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    socket: PathBuf,
    /// Something has happened that the engine may have done.
    sign: Arc<Notify>,
    /// Who was seen to listen last.
    holder: Mutex<Option<Holder>>,
}

impl Door {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self(Arc::new(Inner { socket, sign: Arc::default(), holder: Mutex::default() }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.socket
    }

    /// To be notified when there is a sign that the engine lives.
    pub(super) fn sign(&self) -> Arc<Notify> {
        self.0.sign.clone()
    }

    /// Who listens.
    pub(super) async fn presence(&self) -> Presence {
        // Podman's service ends when it is idle, and is meant to be started by its clients.
        if self.0.socket.file_name().is_some_and(|name| name == "podman.sock") {
            return Presence::Hidden;
        }
        let socket = self.0.socket.clone();
        let looked = tokio::task::spawn_blocking(move || look(&socket)).await;
        let presence = looked.unwrap_or(Presence::Hidden);
        let holder = if let Presence::Engine(holder) = &presence { Some(holder.clone()) } else { None };
        *self.0.holder.lock().unwrap_or_else(PoisonError::into_inner) = holder;
        presence
    }

    /// Whether a connection now starts nothing. To be asked right before each.
    pub(super) async fn is_open(&self) -> bool {
        let holder = self.0.holder.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Most often the one that listened the last time; otherwise it may listen with another descriptor.
        holder.is_some_and(|holder| holder.holds())
            || matches!(self.presence().await, Presence::Engine(_) | Presence::Hidden)
    }
}

/// What the engine does when it starts: it makes its socket, unless systemd has, and writes its process number.
#[derive(Debug)]
pub(super) struct Signs {
    socket: Option<NameWatch>,
    pid_file: Option<NameWatch>,
    request: Arc<Notify>,
}

impl Signs {
    pub(super) fn of(door: &Door) -> Self {
        Self { socket: None, pid_file: None, request: door.sign() }
    }

    /// Follows what there is to follow; a directory that is not there cannot be. To be called before a look, so that nothing
    /// is missed that comes after it.
    pub(super) fn follow(&mut self, door: &Door) {
        let pid_file = door.path().with_extension("pid");
        self.socket = self.socket.take().or_else(|| NameWatch::open(door.path()).ok());
        self.pid_file = self.pid_file.take().or_else(|| NameWatch::open(&pid_file).ok());
    }

    /// Whether files can be followed.
    pub(super) fn are_followed(&self) -> bool {
        self.socket.is_some() && self.pid_file.is_some()
    }

    /// Waits for a sign.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            () = appears(&mut self.socket) => {}
            () = appears(&mut self.pid_file) => {}
            () = self.request.notified() => {}
        }
    }

    /// Waits for a sign for as long as this; whether there was one.
    pub(super) async fn next_within(&mut self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.next()).await.is_ok()
    }
}

/// Waits until a file appears, or can no longer be followed: then it is time to look, too. For ever if it is not followed.
async fn appears(watch: &mut Option<NameWatch>) {
    let Some(watching) = watch else { return std::future::pending().await };
    if watching.appeared().await.is_err() {
        *watch = None;
    }
}
