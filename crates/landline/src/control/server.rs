//! Serving the control socket.

use std::io;
use std::sync::Arc;

use landline_docker::DockerView;
use landline_host_access::AccessError;
use landline_kernel::Acceptor;
use landline_model::NatOwner;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Answer, Listing, MAX_LINE, Request};
use crate::alike;
use crate::attach::Attacher;
use crate::doctor::{Surroundings, examine};
use crate::identity::Site;
use crate::inspect;
use crate::network::Lost;
use crate::parts::Parts;

/// What requests are about.
pub(crate) struct Context {
    pub(crate) parts: Arc<Parts>,
    pub(crate) docker: watch::Receiver<Arc<DockerView>>,
    pub(crate) attacher: Arc<Attacher>,
    pub(crate) lost: Arc<Lost>,
    pub(crate) site: Arc<Site>,
    pub(crate) around: Surroundings,
}

/// Serves until `cancel`; every connection has a task of its own.
pub(crate) async fn serve(listener: UnixListener, context: Context, cancel: CancellationToken) {
    let context = Arc::new(context);
    let mut acceptor = Acceptor::new(listener, "control");
    while let Some(stream) = cancel.run_until_cancelled(acceptor.accept()).await {
        let (context, cancel) = (context.clone(), cancel.clone());
        tokio::spawn(async move {
            let conversation = Box::pin(converse(stream, &context, &cancel));
            let served = cancel.run_until_cancelled(conversation).await;
            if let Some(Err(error)) = served {
                tracing::debug!(%error, "a control connection failed");
            }
        });
    }
}

async fn converse(stream: UnixStream, context: &Context, cancel: &CancellationToken) -> io::Result<()> {
    let Context { parts, docker, attacher, lost, site, around } = context;
    let (input, mut output) = stream.into_split();
    let mut lines = BufReader::new(input.take(MAX_LINE));
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).await? > 0 {
        let answer = match serde_json::from_slice(&line) {
            Ok(Request::Ls) => {
                let endpoints = parts.engine.endpoint_views().await;
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
            Ok(Request::Inspect { target }) => Answer::Inspected(inspect::look(&parts.engine, &target).await),
            Ok(Request::Renew { container, network }) => {
                Answer::Renewing(parts.engine.renew_container(&container, network.as_deref()).await)
            }
            Ok(Request::Release { container, network }) => {
                Answer::Renewing(parts.engine.release_container(&container, network.as_deref()).await)
            }
            Ok(Request::Networks) => Answer::Networks(lost.rows()),
            Ok(Request::ForgetNetwork { network }) => done(lost.forget(&network).await),
            Ok(Request::Identities) => Answer::Identities(parts.engine.identity_views().await),
            Ok(Request::IdentityOf { name, network }) => {
                match parts.engine.reservation_for(&network, &name).await {
                    Ok(reservation) => Answer::IdentityOf(Box::new(reservation)),
                    Err(error) => Answer::Error(landline_types::chain(&error)),
                }
            }
            Ok(Request::ExportIdentities) => {
                Answer::Exported(Box::new(parts.engine.export_identities().await))
            }
            Ok(Request::ImportIdentities { export }) => match parts.engine.import_identities(*export).await {
                Ok(imported) => Answer::Imported(imported),
                Err(error) => Answer::Error(landline_types::chain(&error)),
            },
            Ok(Request::SiteKey) => Answer::SiteKey(site.text()),
            Ok(Request::SetSiteKey { key }) => done(site.replace(&key)),
            Ok(Request::Forget { id }) => done(parts.engine.forget_identity(&id).await),
            Ok(Request::KeepHostLease(lease)) => done(parts.host_leases.keep(lease).await),
            Ok(Request::DropHostLease { interface }) => done(parts.host_leases.leave(&interface).await),
            Ok(Request::Nat) => Answer::Nat(parts.nat.list(&parts.engine)),
            Ok(Request::NatAdd { record }) => match parts.nat.add(*record).await {
                Ok(view) => Answer::Nat(vec![view]),
                Err(error) => Answer::Error(landline_types::chain(&error)),
            },
            Ok(Request::NatRemove { container }) => {
                done(parts.nat.remove(&NatOwner::Container(container)).await)
            }
            Ok(Request::Attach { attach, dry_run }) => {
                Box::pin(attacher.attach(*attach, dry_run, cancel)).await
            }
            Ok(Request::Attachments) => Answer::Attachments(parts.attach.views().await),
            Ok(Request::Detach { target, name }) => attacher.detach(&target, name.as_ref()).await,
            Ok(Request::Change { target, change }) => attacher.change(&target, &change).await,
            Ok(Request::Where { target }) => attacher.locate(&target).await,
            Ok(Request::Doctor { fix }) => {
                let view = docker.borrow().clone();
                match Box::pin(examine(parts, around, &view, fix)).await {
                    Ok(report) => Answer::Doctor(report),
                    Err(error) => Answer::Error(landline_types::chain(&error)),
                }
            }
            Ok(Request::DoctorUndo) => match parts.doctor.unfix().await {
                Ok(undone) => Answer::Undone(undone),
                Err(error) => Answer::Error(landline_types::chain(&error)),
            },
            Ok(Request::Reload) => done(attacher.reload()),
            Ok(Request::HostAccess) => Answer::HostAccess(parts.host_access.views()),
            Ok(Request::HostAccessEnable { request }) => {
                let enabled = async {
                    let access = request.read().map_err(AccessError::from)?;
                    parts.host_access.enable(access).await
                };
                match enabled.await {
                    Ok(view) => Answer::HostAccess(vec![view]),
                    Err(error) => Answer::Error(landline_types::chain(&error)),
                }
            }
            Ok(Request::HostAccessDisable { network }) => done(parts.host_access.disable(&network).await),
            Err(error) => Answer::Error(format!("the request makes no sense: {error}")),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        output.write_all(&text).await?;
        line.clear();
    }
    Ok(())
}

fn done<E: std::error::Error>(result: Result<(), E>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Error(landline_types::chain(&error)),
    }
}
