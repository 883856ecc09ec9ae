//! Serving the plugin protocol on a unix socket.
//!
//! One task per connection reads requests and writes answers (`hyper`, HTTP/1.1); one task per request does the work
//! (`work`), so that neither a client that goes away nor a panic takes anything else along. `answer` turns
//! requests into calls of the driver and results into JSON; `body` reads bodies within limits.

mod answer;
mod body;
mod work;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use landline_kernel::Acceptor;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver::Driver;
use crate::ipam_driver::IpamDriver;
use crate::protocol::Activation;
use answer::Answerer;

/// How long a request may be on its way that was sent before the server began to stop: closing its connection would lose it.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// What the server puts up with.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a request's head may take; an idle connection is closed after as long, too.
    pub head: Duration,
    /// How long a request's body may take.
    pub body: Duration,
    /// How many bytes of a body are looked at. What is longer is read to its end (within `body`), so that its
    /// sender can read the answer, which is an error.
    pub body_bytes: usize,
    /// How long a request may take, except one for an endpoint: the driver says that.
    pub work: Duration,
    /// How long work that was cancelled may take to undo itself before the answer goes out without it, and how
    /// long answers may take to be read at shutdown.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Docker keeps connections and finds out at once that one was closed.
            head: Duration::from_mins(1),
            body: Duration::from_secs(10),
            body_bytes: 1 << 20,
            work: Duration::from_secs(20),
            grace: Duration::from_secs(5),
        }
    }
}

/// Serves the plugin protocol until `shutdown`, with the default [`Limits`].
pub async fn serve(
    listener: UnixListener,
    driver: Arc<impl Driver + IpamDriver>,
    shutdown: CancellationToken,
) {
    serve_with(listener, driver, Limits::default(), shutdown).await;
}

/// Serves the IPAM driver alone until `shutdown`: under another name than the network driver's.
pub async fn serve_ipam(
    listener: UnixListener,
    driver: Arc<impl Driver + IpamDriver>,
    shutdown: CancellationToken,
) {
    serve_all(listener, driver, Limits::default(), Activation::IPAM, shutdown).await;
}

/// Serves the plugin protocol until `shutdown`.
///
/// Then no connection is accepted any more, and requests that are being answered are finished, each within its own limit. Who
/// connects meanwhile waits for the next daemon where a service manager holds the socket, and is refused elsewhere; Docker tries
/// again for half a minute after that.
pub async fn serve_with(
    listener: UnixListener,
    driver: Arc<impl Driver + IpamDriver>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    serve_all(listener, driver, limits, Activation::BOTH, shutdown).await;
}

async fn serve_all(
    listener: UnixListener,
    driver: Arc<impl Driver + IpamDriver>,
    limits: Limits,
    activation: Activation,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let requests = TaskTracker::new();
    let answerer =
        Arc::new(Answerer::new(driver.clone(), limits, activation, tasks.clone(), requests.clone()));
    let mut acceptor = Acceptor::new(listener, "plugin");
    while let Some(stream) = shutdown.run_until_cancelled(acceptor.accept()).await {
        driver.connected();
        tasks.spawn(serve_connection(stream, answerer.clone(), limits.head, shutdown.clone()));
    }
    // Who connects from now on is refused before it has sent anything, so that it can send all of it again.
    drop(acceptor);
    requests.close();
    tasks.close();
    if !requests.is_empty() {
        tracing::info!(requests = requests.len(), "finishing what Docker waits for");
    }
    loop {
        // Each has a limit of its own.
        requests.wait().await;
        if tokio::time::timeout(limits.grace, tasks.wait()).await.is_ok() {
            return;
        }
        if requests.is_empty() {
            tracing::warn!("stopping although {} connections or tasks are not finished", tasks.len());
            return;
        }
    }
}

/// The process that opened the connection (`SO_PEERCRED`, unix(7)), unless it is in a namespace that is hidden from here.
fn peer(stream: &UnixStream) -> Option<u32> {
    let pid = stream.peer_cred().ok()?.pid()?;
    u32::try_from(pid).ok().filter(|pid| *pid > 0)
}

/// Answers one connection's requests until either side ends it.
async fn serve_connection<D: Driver + IpamDriver>(
    stream: UnixStream,
    answerer: Arc<Answerer<D>>,
    head: Duration,
    shutdown: CancellationToken,
) {
    let peer = peer(&stream);
    let service = service_fn(move |request| {
        let answerer = answerer.clone();
        async move { Ok::<_, Infallible>(answerer.answer(request, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        // Heads are short; bodies are counted on their own.
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            if let Ok(ended) = tokio::time::timeout(ON_ITS_WAY, connection.as_mut()).await {
                ended
            } else {
                // Finish what is being answered, then close.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        // A client that broke off or sent garbage; what it asked for ends by itself.
        tracing::debug!(%error, "a connection to the plugin socket ended badly");
    }
}
