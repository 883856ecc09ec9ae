//! Which links the host's namespace has and which of them run, kept by netlink events.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use landline_kernel::{Event, Group, Link, Monitor, Netlink};
use landline_types::IfName;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How long a link may take from being set up to carrying packets. It is a matter of a millisecond, unless its
/// parent has no carrier; then nothing is gained by waiting.
const CARRIER: Duration = Duration::from_millis(500);

/// What counts of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    up: bool,
    /// It can carry packets.
    running: bool,
}

type Links = BTreeMap<u32, State>;

/// What is told of the host's links as it happens.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A link appeared or changed.
    Link(Box<Link>),
    /// The link of this name is gone.
    Gone(IfName),
    /// Anything may have happened.
    Lost,
}

/// The host's links by index, as of the last event.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    links: watch::Receiver<Links>,
}

impl Present {
    /// Starts the task that follows the events of the host's namespace until `cancel`.
    ///
    /// `seen` is given every link that appears, changes or goes.
    pub(crate) fn start(seen: mpsc::UnboundedSender<Seen>, cancel: CancellationToken) -> io::Result<Self> {
        let monitor = Monitor::open(&[Group::Links])?;
        let (sender, links) = watch::channel(dump()?);
        tokio::spawn(follow(monitor, sender, seen, cancel));
        Ok(Self { links })
    }

    /// Resolves when the link is no longer in the host's namespace: it was moved or removed.
    pub(crate) async fn gone(mut self, index: u32) {
        loop {
            let listed = self.links.borrow_and_update().contains_key(&index);
            // The events may lag behind: the kernel itself has the last word.
            if !listed && !exists(index).await {
                return;
            }
            self.changed().await;
        }
    }

    /// Resolves when all these links carry packets, or have had their time. Before that the kernel drops silently what
    /// is sent: a link that was just set up has no queue yet, and a bridge does not forward from it.
    pub(crate) async fn running(mut self, indexes: &[u32]) {
        let wait = async {
            loop {
                let ready = {
                    let links = self.links.borrow_and_update();
                    indexes.iter().all(|index| links.get(index).is_some_and(|link| link.running))
                };
                if ready {
                    return;
                }
                self.changed().await;
            }
        };
        if tokio::time::timeout(CARRIER, wait).await.is_err() {
            tracing::warn!(?indexes, "a new link has no carrier; is its parent plugged in?");
        }
    }

    /// Resolves when links have come, gone, or changed their state since the last call.
    pub(crate) async fn changed(&mut self) {
        if self.links.changed().await.is_err() {
            // The daemon stops; whoever waits is stopped as well.
            std::future::pending::<()>().await;
        }
    }
}

async fn exists(index: u32) -> bool {
    let look = move || Netlink::open().ok().and_then(|mut n| n.link_by_index(index).ok());
    // What cannot be looked at is taken to be there: the next event looks again.
    crate::blocking(look).await.is_none_or(|found| found.is_some())
}

fn state(link: &Link) -> State {
    State { up: link.up, running: link.up && link.running && link.lower_up }
}

fn dump() -> io::Result<Links> {
    let links = Netlink::open()?.links().map_err(io::Error::other)?;
    Ok(links.iter().map(|link| (link.index, state(link))).collect())
}

async fn follow(
    mut monitor: Monitor,
    sender: watch::Sender<Links>,
    seen: mpsc::UnboundedSender<Seen>,
    cancel: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            event = monitor.next() => event,
        };
        match event {
            Ok(Event::LinkNew(link)) => {
                let now = state(&link);
                sender.send_if_modified(|links| links.insert(link.index, now) != Some(now));
                // Without anybody to repair anything the daemon is stopping.
                let _ = seen.send(Seen::Link(Box::new(link)));
            }
            Ok(Event::LinkGone { index, name, .. }) => {
                sender.send_if_modified(|links| links.remove(&index).is_some());
                let _ = name.map(|name| seen.send(Seen::Gone(name)));
            }
            Ok(Event::Overrun) => {
                match crate::blocking(dump).await {
                    Ok(all) => {
                        sender.send_replace(all);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the host's links could not be listed after lost events");
                    }
                }
                let _ = seen.send(Seen::Lost);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "link events ended; containers' addresses are no longer followed");
                return;
            }
        }
    }
}
