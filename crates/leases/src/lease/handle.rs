//! The outside of a task that keeps an endpoint's addresses.

use std::future::Future;
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::ipv4::Status;

/// What such a task is told.
pub(crate) enum Command {
    Joined { index: Option<u32>, sandbox: PathBuf },
    Left,
    Hostname(Option<String>),
    Renew,
    Release,
    Reconnected,
    LinkUp,
    Recheck,
    Allow,
    Stop { release: bool, done: oneshot::Sender<()> },
}

/// The channel to a running task. To one that has ended nothing is said.
#[derive(Debug, Clone)]
pub struct Orders(mpsc::UnboundedSender<Command>);

impl Orders {
    /// Docker was told the link's name and will move it into this sandbox. `index`: the link's on the host, if
    /// it is still there.
    pub fn joined(&self, index: Option<u32>, sandbox: PathBuf) {
        let _ = self.0.send(Command::Joined { index, sandbox });
    }

    /// The sandbox is about to go: let go of it.
    pub fn left(&self) {
        let _ = self.0.send(Command::Left);
    }

    /// The container's host name became known.
    pub fn hostname(&self, name: Option<String>) {
        let _ = self.0.send(Command::Hostname(name));
    }

    /// Renew now.
    pub fn renew(&self) {
        let _ = self.0.send(Command::Renew);
    }

    /// Give the addresses back and take them away, until they are to be renewed.
    pub fn release(&self) {
        let _ = self.0.send(Command::Release);
    }

    /// The link was cut off and is back, perhaps on another LAN: ask whether the address is still good.
    pub fn reconnected(&self) {
        let _ = self.0.send(Command::Reconnected);
    }

    /// The host's addresses have changed: give up what it has now.
    pub fn recheck(&self) {
        let _ = self.0.send(Command::Recheck);
    }

    /// What was withheld from the sandbox, or waits for its time, is to be set up there now.
    pub fn allow(&self) {
        let _ = self.0.send(Command::Allow);
    }

    /// Packets get onto the LAN again: ask again, all in their time.
    pub fn link_up(&self) {
        let _ = self.0.send(Command::LinkUp);
    }
}

/// A running task.
#[derive(Debug)]
pub struct Supervised<S = Status> {
    /// Where it is told things.
    pub orders: Orders,
    /// What it knows.
    pub status: watch::Receiver<S>,
    /// It began with addresses that were known to live.
    pub remembered: bool,
    task: JoinHandle<()>,
}

impl<S> Supervised<S> {
    /// Starts it.
    pub(crate) fn spawn<F>(
        status: watch::Receiver<S>,
        run: impl FnOnce(mpsc::UnboundedReceiver<Command>) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (commands, inbox) = mpsc::unbounded_channel();
        Self { orders: Orders(commands), status, remembered: false, task: tokio::spawn(run(inbox)) }
    }

    /// Ends the task; with `release` the address is given back to the server. Returns when the task has ended.
    pub async fn stop(self, release: bool) {
        let (done, ended) = oneshot::channel();
        if self.orders.0.send(Command::Stop { release, done }).is_ok() {
            let _ = ended.await;
        }
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a lease supervisor failed");
        }
    }
}
