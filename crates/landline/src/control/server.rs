//! Serving the control socket.

use std::io;
use std::sync::Arc;

use landline_docker::DockerView;
use landline_host_access::AccessError;
use landline_kernel::Acceptor;
use landline_model::NatOwner;
use rustix::net::RecvFlags;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::access::Peer;
use super::{Answer, Listing, MAX_LINE, Request};
use crate::alike;
use crate::attach::Attacher;
use crate::doctor::{Surroundings, examine};
use crate::events;
use crate::graph;
use crate::http;
use crate::identity::Site;
use crate::inspect;
use crate::metrics;
use crate::network::{Lost, detail};
use crate::parts::Parts;
use crate::status::status;
use crate::trace::trace;
use crate::wait::wait;

/// How many connections of others than root are served at the same time.
const OTHERS: usize = 32;

/// The most that somebody else than root may ask over one connection, in bytes: requests that only look are short.
const MAX_LINE_OF_OTHERS: u64 = 64 << 10;

/// What requests are about.
pub(crate) struct Context {
    pub(crate) parts: Arc<Parts>,
    pub(crate) docker: watch::Receiver<Arc<DockerView>>,
    pub(crate) attacher: Arc<Attacher>,
    pub(crate) lost: Arc<Lost>,
    pub(crate) site: Arc<Site>,
    pub(crate) around: Surroundings,
    pub(crate) http: http::Shared,
}

/// Serves until `cancel`; every connection has a task of its own.
pub(crate) async fn serve(listener: UnixListener, context: Arc<Context>, cancel: CancellationToken) {
    let others = Arc::new(Semaphore::new(OTHERS));
    let mut acceptor = Acceptor::new(listener, "control");
    while let Some(stream) = cancel.run_until_cancelled(acceptor.accept()).await {
        let (context, cancel, others) = (context.clone(), cancel.clone(), others.clone());
        tokio::spawn(async move {
            let conversation = Box::pin(serve_connection(stream, context, &others, &cancel));
            let served = cancel.run_until_cancelled(conversation).await;
            if let Some(Err(error)) = served {
                tracing::debug!(%error, "a control connection failed");
            }
        });
    }
}

async fn serve_connection(
    stream: UnixStream,
    context: Arc<Context>,
    others: &Semaphore,
    cancel: &CancellationToken,
) -> io::Result<()> {
    let peer = Peer::of(&stream)?;
    let (_permit, most) = if peer.is_root() {
        (None, MAX_LINE)
    } else {
        (Some(others.try_acquire().map_err(io::Error::other)?), MAX_LINE_OF_OTHERS)
    };
    let config = context.attacher.config();
    if speaks_http(&stream).await? {
        http::serve_local(stream, context, peer, config).await;
        return Ok(());
    }
    let context = &*context;
    let (input, mut output) = stream.into_split();
    let mut lines = BufReader::new(input.take(most));
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).await? > 0 {
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => {
                let allowed = peer.may(&request, &config.borrow());
                let waits =
                    matches!(request, Request::Wait { .. } | Request::Trace { .. } | Request::Events { .. });
                let answer = async {
                    match allowed {
                        Ok(()) => answer(request, context, cancel).await,
                        Err(why) => Answer::Error(why),
                    }
                };
                tokio::select! {
                    answer = Box::pin(answer) => answer,
                    // Nobody waits for it any more.
                    () = closed(&mut lines), if waits => return Ok(()),
                }
            }
            Err(error) => Answer::Error(format!("the request makes no sense: {error}")),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        output.write_all(&text).await?;
        line.clear();
    }
    Ok(())
}

/// Whether the first thing that comes is the start of a request for HTTP: those of the control protocol begin with a brace.
async fn speaks_http(stream: &UnixStream) -> io::Result<bool> {
    let mut first = [0];
    loop {
        stream.readable().await?;
        let peeked = stream.try_io(Interest::READABLE, || {
            Ok(rustix::net::recv(stream, &mut first, RecvFlags::PEEK | RecvFlags::DONTWAIT)?)
        });
        match peeked {
            Ok((_, length)) => return Ok(length == 1 && first[0].is_ascii_uppercase()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Ends when the other side has closed the connection.
async fn closed(lines: &mut (impl AsyncBufRead + Unpin)) {
    if lines.fill_buf().await.is_ok_and(|more| !more.is_empty()) {
        std::future::pending::<()>().await;
    }
}

async fn answer(request: Request, context: &Context, cancel: &CancellationToken) -> Answer {
    let Context { parts, docker, attacher, lost, site, .. } = context;
    match request {
        Request::Ls => {
            let mut endpoints = parts.engine.endpoint_views().await;
            parts.attach.name_containers(&mut endpoints);
            let view = docker.borrow().clone();
            Answer::Ls(Listing {
                docker: view.connected,
                networks: parts.engine.network_views(),
                endpoints,
                attachments: attacher.rows(),
                alike: alike::look(parts, &view),
                dropped: parts.connections.dropped(),
            })
        }
        Request::Trace { target, after, follow } => {
            Answer::Traced(trace(context, &target, after, follow).await)
        }
        Request::Wait { target, awaited, timeout } => wait(context, &target, awaited, timeout).await,
        Request::Events { after, follow } => Answer::Events(events::events(context, after, follow).await),
        Request::Graph => Answer::Graph(Box::new(graph::look(context).await)),
        Request::Metrics => Answer::Metrics(metrics::look(context).await.text()),
        Request::Status => match Box::pin(status(context)).await {
            Ok(status) => Answer::Status(Box::new(status)),
            Err(error) => Answer::Error(landline_types::chain(&error)),
        },
        Request::Inspect { target } => {
            let mut found = inspect::look(&parts.engine, &target).await;
            for endpoint in parts.attach.of_container(&target) {
                found.extend(inspect::look(&parts.engine, endpoint.as_str()).await);
            }
            Answer::Inspected(found)
        }
        Request::Renew { container, network } => {
            Answer::Renewing(parts.engine.renew_container(&container, network.as_deref()).await)
        }
        Request::Release { container, network } => {
            Answer::Renewing(parts.engine.release_container(&container, network.as_deref()).await)
        }
        Request::Networks => Answer::Networks(lost.rows()),
        Request::InspectNetwork { network } => detail(context, &network).await,
        Request::ForgetNetwork { network } => done(lost.forget(&network).await),
        Request::Identities => Answer::Identities(parts.engine.identity_views().await),
        Request::IdentityOf { name, network } => match parts.engine.reservation_for(&network, &name).await {
            Ok(reservation) => Answer::IdentityOf(Box::new(reservation)),
            Err(error) => Answer::Error(landline_types::chain(&error)),
        },
        Request::ExportIdentities => Answer::Exported(Box::new(parts.engine.export_identities().await)),
        Request::ImportIdentities { export } => match parts.engine.import_identities(*export).await {
            Ok(imported) => Answer::Imported(imported),
            Err(error) => Answer::Error(landline_types::chain(&error)),
        },
        Request::SiteKey => Answer::SiteKey(site.text()),
        Request::SetSiteKey { key } => done(site.replace(&key)),
        Request::Forget { id } => done(parts.engine.forget_identity(&id).await),
        Request::KeepHostLease(lease) => done(parts.host_leases.keep(lease).await),
        Request::DropHostLease { interface } => done(parts.host_leases.leave(&interface).await),
        Request::Nat => Answer::Nat(parts.nat.list(&parts.engine)),
        Request::NatAdd { record } => match parts.nat.add(*record).await {
            Ok(view) => Answer::Nat(vec![view]),
            Err(error) => Answer::Error(landline_types::chain(&error)),
        },
        Request::NatRemove { container } => done(parts.nat.remove(&NatOwner::Container(container)).await),
        Request::Attach { attach, dry_run } => Box::pin(attacher.attach(*attach, dry_run, cancel)).await,
        Request::Runtime(request) => Box::pin(attacher.runtime(request, cancel)).await,
        Request::Ping => Answer::Done,
        Request::Attachments => Answer::Attachments(parts.attach.views().await),
        Request::Detach { target, name } => attacher.detach(&target, name.as_ref()).await,
        Request::Change { target, change } => attacher.change(&target, &change).await,
        Request::Where { target } => attacher.locate(&target).await,
        Request::Doctor { fix } => match Box::pin(examine(context, fix)).await {
            Ok(report) => Answer::Doctor(report),
            Err(error) => Answer::Error(landline_types::chain(&error)),
        },
        Request::DoctorUndo => match parts.doctor.unfix().await {
            Ok(undone) => Answer::Undone(undone),
            Err(error) => Answer::Error(landline_types::chain(&error)),
        },
        Request::Reload => done(attacher.reload()),
        Request::HostAccess => Answer::HostAccess(parts.host_access.views()),
        Request::HostAccessEnable { request } => {
            let enabled = async {
                let access = request.read().map_err(AccessError::from)?;
                parts.host_access.enable(access).await
            };
            match enabled.await {
                Ok(view) => Answer::HostAccess(vec![view]),
                Err(error) => Answer::Error(landline_types::chain(&error)),
            }
        }
        Request::HostAccessDisable { network } => done(parts.host_access.disable(&network).await),
    }
}

fn done<E: std::error::Error>(result: Result<(), E>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Error(landline_types::chain(&error)),
    }
}
