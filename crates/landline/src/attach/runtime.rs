//! What container runtimes ask of the daemon.

use landline_attach::AttachFailure;
use landline_model::RuntimeFailure;
use landline_types::chain;
use tokio_util::sync::CancellationToken;

use super::Attacher;
use crate::control::{Answer, RuntimeRequest};

impl Attacher {
    /// Serves one request. It is carried out also if the runtime hangs up in the meantime.
    pub(crate) async fn runtime(&self, request: RuntimeRequest, cancel: &CancellationToken) -> Answer {
        let (attach, cancel) = (self.attachments(), cancel.clone());
        let work = tokio::spawn(async move {
            Ok::<_, AttachFailure>(match request {
                RuntimeRequest::Attach { owner, sandbox, spec } => {
                    let attached = Box::pin(attach.attach_for_runtime(owner, sandbox, *spec, cancel));
                    Answer::Interface(Box::new(attached.await?))
                }
                RuntimeRequest::Look { owner } => {
                    Answer::Interface(Box::new(attach.runtime_interface(&owner).await?))
                }
                RuntimeRequest::Detach { owner } => {
                    attach.detach_for_runtime(&owner).await?;
                    Answer::Done
                }
                RuntimeRequest::Keep { api, network, kept } => {
                    let ended = attach.keep_for_runtime(api, &network, &kept).await?;
                    tracing::debug!(%api, network, ended, "interfaces that the runtime does not list were ended");
                    Answer::Done
                }
            })
        });
        let answer = match work.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::RuntimeError(error.kind(), chain(&error)),
            Err(error) => Answer::RuntimeError(RuntimeFailure::Other, error.to_string()),
        };
        self.look_again();
        answer
    }
}
