//! What is shown over HTTP: metrics, health, and a page, on the control socket, and on a TCP port if `[http]` names one.
//!
//! Everything is read-only. Requests over TCP must call the server by an IP address, `localhost` or a name of the configuration, so that
//! no web page can have a browser read it under a name of its own (DNS rebinding).

mod answer;
mod host;
mod page;
mod recent;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use landline_kernel::Acceptor;
use landline_options::{ConfigFile, Http};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::control::Context;
use host::Names;
use recent::Recent;

/// How many connections over TCP are served at the same time.
const CONNECTIONS: usize = 64;
/// How long the head of a request may take; an idle connection is closed after as long, too.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may live. Whoever looks on connects again.
const LIFE: Duration = Duration::from_hours(1);
/// The longest head of a request, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// What all connections share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// What the page shows.
    state: Recent,
    /// The picture.
    picture: Recent,
}

/// Serves at the address of the configuration, whenever that is read, until `cancel`.
pub(crate) async fn follow(
    context: Arc<Context>,
    mut config: watch::Receiver<Arc<ConfigFile>>,
    cancel: CancellationToken,
) {
    loop {
        let http = config.borrow_and_update().http.clone();
        let changed = async {
            loop {
                if config.changed().await.is_err() {
                    return std::future::pending().await;
                }
                if config.borrow_and_update().http != http {
                    return;
                }
            }
        };
        tokio::select! {
            () = changed => {}
            () = serve(&context, &http) => {}
            () = cancel.cancelled() => return,
        }
    }
}

/// Serves at this address, if there is one; does not end.
async fn serve(context: &Arc<Context>, http: &Http) {
    let Some(address) = http.listen else { return std::future::pending().await };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%address, %error, "cannot listen for HTTP; landline.toml says where ([http] listen)");
            return std::future::pending().await;
        }
    };
    tracing::info!(%address, "metrics and health over HTTP");
    // Connections end with the server.
    let ended = CancellationToken::new();
    let _guard = ended.clone().drop_guard();
    let names = Arc::new(Names::new(http.hosts.clone()));
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut acceptor = Acceptor::new(listener, "http");
    loop {
        let stream = acceptor.accept().await;
        // Who is one too many finds the connection closed.
        let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
        let (context, names, ended) = (context.clone(), names.clone(), ended.clone());
        tokio::spawn(async move {
            ended.run_until_cancelled(converse(stream, context, Some(names))).await;
            drop(permit);
        });
    }
}

/// Serves one connection to the control socket, whose peer may look.
pub(crate) async fn serve_local(stream: UnixStream, context: Arc<Context>) {
    converse(stream, context, None).await;
}

/// `names`: how the server may be called; `None`: however it is.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    context: Arc<Context>,
    names: Option<Arc<Names>>,
) {
    let service = service_fn(move |request| {
        let (context, names) = (context.clone(), names.clone());
        async move { Ok::<_, Infallible>(answer::answer(&request, &context, names.as_deref()).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(LIFE, Box::pin(connection)).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for HTTP ended badly"),
    }
}
