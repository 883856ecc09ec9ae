//! What is shown over HTTP: metrics, health, and a page, on the control socket, and on a TCP port if `[http]` names one.
//!
//! Everything is read-only. Requests over TCP must call the server by an IP address, `localhost` or a name of the configuration, so that
//! no web page can have a browser read it under a name of its own (DNS rebinding).

mod answer;
mod converse;
mod door;
mod host;
mod page;
mod recent;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landline_doctor::Finding;
use landline_kernel::Acceptor;
use landline_options::{ConfigFile, Http};
use rustix::net::sockopt::{set_ip_freebind, set_ipv6_freebind};
use tokio::net::{TcpListener, TcpSocket, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::control::{Context, Peer};
use answer::answer;
use converse::converse;
use door::Door;
use host::Names;
use recent::Recent;

/// How many connections over TCP are served at the same time.
const CONNECTIONS: usize = 64;
/// How many connections notices of changes are sent to at the same time.
const LISTENERS: usize = 16;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What the page shows.
    state: Recent,
    /// The picture.
    picture: Recent,
    /// Room for connections that notices of changes are sent to.
    listeners: Arc<Semaphore>,
    /// Why nothing listens at the address of the configuration.
    failure: Mutex<Option<Finding>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            state: Recent::default(),
            picture: Recent::default(),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
            failure: Mutex::default(),
        }
    }
}

impl Shared {
    /// Why nothing listens at the address of the configuration, if that is so.
    pub(crate) fn failure(&self) -> Option<Finding> {
        self.lock_failure().clone()
    }

    fn lock_failure(&self) -> MutexGuard<'_, Option<Finding>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves at the address of the configuration, whenever that is read, until `cancel`.
pub(crate) async fn follow(
    context: Arc<Context>,
    mut config: watch::Receiver<Arc<ConfigFile>>,
    cancel: CancellationToken,
) {
    loop {
        let http = config.borrow_and_update().http.clone();
        *context.http.lock_failure() = None;
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
            error = serve(&context, &http) => {
                *context.http.lock_failure() = Some(error);
                // Whenever the configuration is read, the address may be free.
                match cancel.run_until_cancelled(config.changed()).await {
                    Some(Ok(())) => {}
                    Some(Err(_)) | None => return,
                }
            }
            () = cancel.cancelled() => return,
        }
    }
}

/// Serves at this address, if there is one; ends only if that is not possible.
async fn serve(context: &Arc<Context>, http: &Http) -> Finding {
    let Some(address) = http.listen else { return std::future::pending().await };
    let listener = match listen(address) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%address, %error, "cannot listen for HTTP; landline.toml says where ([http] listen)");
            let says = format!(
                "the HTTP server cannot listen on {address}: {error}; stop the program that uses the port, or change listen in [http], \
                 then run systemctl reload landline"
            );
            return Finding::new("http", says);
        }
    };
    tracing::info!(%address, "metrics and health over HTTP");
    // Connections end with the server.
    let ended = CancellationToken::new();
    let _guard = ended.clone().drop_guard();
    let door = Door::Network(Arc::new(Names::new(http.hosts.clone())));
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut acceptor = Acceptor::new(listener, "http");
    loop {
        let stream = acceptor.accept().await;
        // Who is one too many finds the connection closed.
        let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
        let (context, door, ended) = (context.clone(), door.clone(), ended.clone());
        tokio::spawn(async move {
            let answer = async |request| answer(&request, &context, &door).await;
            ended.run_until_cancelled(converse(stream, answer)).await;
            drop(permit);
        });
    }
}

/// Listens at this address, which an interface may be given later (`IP_FREEBIND`, ip(7)).
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    match address {
        SocketAddr::V4(_) => set_ip_freebind(&socket, true)?,
        SocketAddr::V6(_) => set_ipv6_freebind(&socket, true)?,
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
}

/// Serves one connection to the control socket.
pub(crate) async fn serve_local(
    stream: UnixStream,
    context: Arc<Context>,
    peer: Peer,
    config: watch::Receiver<Arc<ConfigFile>>,
) {
    let door = Door::Control(peer, config);
    converse(stream, async |request| answer(&request, &context, &door).await).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_comes_later_can_be_named() {
        for address in ["192.0.2.77:0", "[2001:db8::77]:0"] {
            let listener = listen(address.parse().unwrap()).unwrap();
            let taken = listen(listener.local_addr().unwrap()).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        }
    }
}
