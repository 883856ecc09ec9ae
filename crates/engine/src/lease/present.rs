//! Which links the host's namespace has, kept by netlink events.

use std::collections::BTreeSet;
use std::io;

use landline_kernel::{Event, Group, Monitor, Netlink};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The indexes of the host's links, as of the last event.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    indexes: watch::Receiver<BTreeSet<u32>>,
}

impl Present {
    /// Starts the task that follows the events of the host's namespace until `cancel`.
    pub(crate) fn start(cancel: CancellationToken) -> io::Result<Self> {
        let monitor = Monitor::open(&[Group::Links])?;
        let (sender, indexes) = watch::channel(dump()?);
        tokio::spawn(follow(monitor, sender, cancel));
        Ok(Self { indexes })
    }

    /// Resolves when the link is no longer in the host's namespace: it was moved or removed.
    pub(crate) async fn gone(mut self, index: u32) {
        loop {
            let listed = self.indexes.borrow_and_update().contains(&index);
            // The events may lag behind: the kernel itself has the last word.
            if !listed && !exists(index).await {
                return;
            }
            if self.indexes.changed().await.is_err() {
                // The daemon stops; whoever waits is stopped as well.
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn exists(index: u32) -> bool {
    let look = move || Netlink::open().ok().and_then(|mut n| n.link_by_index(index).ok());
    // What cannot be looked at is taken to be there: the next event looks again.
    crate::blocking(look).await.is_none_or(|found| found.is_some())
}

fn dump() -> io::Result<BTreeSet<u32>> {
    let links = Netlink::open()?.links().map_err(io::Error::other)?;
    Ok(links.into_iter().map(|link| link.index).collect())
}

async fn follow(mut monitor: Monitor, sender: watch::Sender<BTreeSet<u32>>, cancel: CancellationToken) {
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            event = monitor.next() => event,
        };
        match event {
            Ok(Event::LinkNew(link)) => {
                sender.send_if_modified(|set| set.insert(link.index));
            }
            Ok(Event::LinkGone { index, .. }) => {
                sender.send_if_modified(|set| set.remove(&index));
            }
            Ok(Event::Overrun) => match crate::blocking(dump).await {
                Ok(all) => {
                    sender.send_replace(all);
                }
                Err(error) => {
                    tracing::warn!(%error, "the host's links could not be listed after lost events");
                }
            },
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "link events ended; containers' addresses are no longer followed");
                return;
            }
        }
    }
}
