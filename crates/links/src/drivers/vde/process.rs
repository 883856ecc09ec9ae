//! The process that runs the switches and cables of all `mode=vde` networks of a host. There is one, the daemon starts it,
//! and it outlives the daemon: who is plugged in does not notice that the daemon is restarted, updated or killed.
//!
//! It knows nothing of networks. It ends by itself when it has nothing to run and nobody is connected to it.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use landline_kernel::{Failure, Failures};
use landline_vde::SwitchConfig;
use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::board::Board;
use super::messages::{Answer, Ask, Greeting, VERSION, receive, send};

/// What the process is called (the kernel keeps 15 bytes).
const NAME: &CStr = c"landline-switch";

/// Why the process ends at once.
#[derive(Debug, thiserror::Error)]
pub enum SwitchProcessError {
    /// There is no socket to serve.
    #[error("this is for the daemon to start: standard input is not a listening socket")]
    NotListening,
    /// The system's answer.
    #[error("cannot serve the daemon")]
    Io(#[from] io::Error),
}

/// Runs switches for whoever connects to the socket at standard input, until there is nothing to run.
///
/// # Errors
/// See [`SwitchProcessError`].
pub async fn run_switches() -> Result<(), SwitchProcessError> {
    let listener = io::stdin().as_fd().try_clone_to_owned()?;
    if !sockopt::socket_acceptconn(&listener).unwrap_or(false) {
        return Err(SwitchProcessError::NotListening);
    }
    // It was started through a link whose name says nothing; this is what `ps` and the service manager call it.
    let _ = rustix::thread::set_name(NAME);
    // Neither a terminal's end nor the daemon's is this one's.
    let _ = rustix::process::setsid();
    let _ = landline_kernel::raise_descriptor_limit();
    let process = Arc::new(Process {
        pidfd: pidfd_open(getpid(), PidfdFlags::empty()).map_err(io::Error::from)?,
        board: Board::default(),
        connections: Mutex::new(Some(0)),
        fewer: Condvar::new(),
        over: Notify::new(),
    });
    let (accepting, runtime) = (process.clone(), Handle::current());
    std::thread::spawn(move || accepting.accept(&runtime, &listener));
    process.over.notified().await;
    Ok(())
}

struct Process {
    pidfd: OwnedFd,
    board: Board,
    /// How many are connected; `None`: the process is ending, and nobody is let in.
    connections: Mutex<Option<usize>>,
    /// Notified when somebody has left.
    fewer: Condvar,
    over: Notify,
}

impl Process {
    fn accept(self: &Arc<Self>, runtime: &Handle, listener: &OwnedFd) {
        let mut failures = Failures::default();
        loop {
            let socket = match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => {
                    self.let_nobody_in(&mut failures, &error);
                    continue;
                }
            };
            match &mut *self.connections() {
                Some(count) => *count += 1,
                None => return,
            }
            let (process, runtime) = (self.clone(), runtime.clone());
            let serve = move || {
                let _entered = runtime.enter();
                process.serve(&socket);
                // Closed before it counts as gone.
                drop(socket);
                process.left();
            };
            match std::thread::Builder::new().name("switches-serve".into()).spawn(serve) {
                Ok(_) => failures.over(),
                Err(error) => {
                    self.left();
                    self.let_nobody_in(&mut failures, &error);
                }
            }
        }
    }

    /// What lets somebody in has failed: waits before it is tried again.
    fn let_nobody_in(&self, failures: &mut Failures, error: &dyn std::error::Error) {
        let Failure { pause, count } = failures.another(Instant::now());
        if let Some(count) = count {
            tracing::warn!(%error, count, "nobody can be let in for the moment");
        }
        self.wait_for_room(pause);
    }

    fn connections(&self) -> MutexGuard<'_, Option<usize>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody leaves, who gives a descriptor back, or others have had this long to.
    fn wait_for_room(&self, patience: Duration) {
        drop(self.fewer.wait_timeout(self.connections(), patience));
    }

    fn left(&self) {
        let mut connections = self.connections();
        let Some(count) = &mut *connections else { return };
        *count -= 1;
        self.fewer.notify_all();
        if *count == 0 && self.board.is_empty() {
            *connections = None;
            self.over.notify_one();
        }
    }

    /// Answers one connection until its end.
    fn serve(&self, socket: &OwnedFd) {
        if send(socket, &Greeting { version: VERSION }, Some(&self.pidfd)).is_err() {
            return;
        }
        while let Ok((ask, tap)) = receive(socket) {
            let answer = self.carry_out(ask, tap);
            if send(socket, &answer, None).is_err() {
                return;
            }
        }
    }

    fn carry_out(&self, ask: Ask, tap: Option<OwnedFd>) -> Answer {
        let yes = |yes| if yes { Answer::Yes } else { Answer::No };
        let done = match (ask, tap) {
            (Ask::Runs(dir), _) => return yes(self.board.runs(&dir)),
            (Ask::Has(tap), _) => return yes(self.board.cables.has(&tap)),
            (Ask::End(dir), _) => {
                self.board.end(&dir);
                Ok(())
            }
            (Ask::Start { dir, management, group, ports }, Some(tap)) => {
                self.board.start(&SwitchConfig { dir, management, group, ports }, tap)
            }
            (Ask::PlugIn { tap: name, dir, patient }, Some(tap)) => {
                self.board.cables.plug_in(&name, tap, &dir, patient)
            }
            (Ask::Start { .. } | Ask::PlugIn { .. }, None) => {
                return Answer::Failed("no tap came along".into());
            }
        };
        match done {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Failed(landline_types::chain(&error)),
        }
    }
}
