//! The network driver's trait: a method for each request of Docker's.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::{Future, ready};
use std::time::Duration;

use landline_options::NetworkId;
use landline_types::Shown;
use tokio_util::sync::CancellationToken;

use crate::protocol::{
    CreateEndpointRequest, CreateNetworkRequest, EndpointInterface, EndpointRequest, JoinRequest,
    JoinResponse,
};

/// Does the work behind the plugin protocol.
///
/// Every method is idempotent by the ids in its request: Docker repeats requests, also after it gave up on one.
/// Whatever does not exist (any more) is deleted and left successfully. A future runs in a task of its own, is
/// never dropped half-way, and a panic in it is an error answer. None may ask Docker anything.
///
/// [`leave`](Self::leave) and the two methods about external connectivity may never be called for an endpoint: a repeat that came
/// without its contents is answered with success. [`delete_endpoint`](Self::delete_endpoint) follows in any case.
pub trait Driver: Send + Sync + 'static {
    /// Takes note that somebody has connected: the engine runs, most likely.
    fn connected(&self) {}

    /// Takes note of how long the answer to a request took, after it was made. `verb` is what was asked, like
    /// `NetworkDriver.CreateEndpoint`.
    fn answered(&self, verb: &'static str, took: Duration) {
        let _ = (verb, took);
    }

    /// A request of a container's start came without its contents: the engine has sent them once, and the connection broke then.
    /// `Some`: what its user is told in the place of that. `peer` is as in [`create_endpoint`](Self::create_endpoint).
    fn start_without_contents(&self, peer: Option<u32>) -> impl Future<Output = Option<DriverError>> + Send {
        let _ = peer;
        ready(None)
    }

    /// Makes a network known, durably: Docker does not tell its options again.
    fn create_network(
        &self,
        request: CreateNetworkRequest,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// Forgets a network.
    fn delete_network(&self, network: NetworkId) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// Makes an endpoint: its link and its address. What the request gave need not be repeated in the answer.
    ///
    /// `peer` is the process that asks, if it can be seen from here: dockerd, whose mounts tell which containers
    /// are starting ([`Mounts`](crate::Mounts)).
    ///
    /// `cancel` is cancelled when nobody waits for the answer any more (Docker gave up, or the deadline passed);
    /// then nothing may be left behind. If the answer comes too late all the same, [`delete_endpoint`] follows.
    ///
    /// [`delete_endpoint`]: Self::delete_endpoint
    fn create_endpoint(
        &self,
        request: CreateEndpointRequest,
        peer: Option<u32>,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<EndpointInterface, DriverError>> + Send;

    /// How long [`create_endpoint`](Self::create_endpoint) may take on this network.
    fn create_endpoint_deadline(&self, network: &NetworkId) -> Duration {
        let _ = network;
        Duration::from_secs(30)
    }

    /// Undoes an endpoint; its link is gone before the answer.
    fn delete_endpoint(
        &self,
        request: EndpointRequest,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// What there is to say about an endpoint; Docker shows it nowhere, but asks.
    fn endpoint_info(
        &self,
        request: EndpointRequest,
    ) -> impl Future<Output = Result<BTreeMap<String, String>, DriverError>> + Send;

    /// Says how an endpoint's link is to be put into its sandbox.
    fn join(&self, request: JoinRequest) -> impl Future<Output = Result<JoinResponse, DriverError>> + Send;

    /// Takes note that the sandbox is about to lose the link.
    fn leave(&self, request: EndpointRequest) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// Takes note that the container goes out to the world through this endpoint. Engines from 28
    /// say so of the chosen endpoint only, earlier ones of all.
    fn program_external_connectivity(
        &self,
        request: EndpointRequest,
    ) -> impl Future<Output = Result<(), DriverError>> + Send {
        let _ = request;
        ready(Ok(()))
    }

    /// Takes note that it no longer does.
    fn revoke_external_connectivity(
        &self,
        request: EndpointRequest,
    ) -> impl Future<Output = Result<(), DriverError>> + Send {
        let _ = request;
        ready(Ok(()))
    }
}

/// Why the work was not done: any error, whose chain is printed once, here, for the user of `docker run`.
///
/// Like other such types it is made with `?` and is no [`Error`] itself.
pub struct DriverError(Box<dyn Error + Send + Sync>);

impl DriverError {
    /// The longest text shown, in bytes.
    const MAX: usize = 4096;
}

impl<E: Error + Send + Sync + 'static> From<E> for DriverError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for DriverError {
    /// The error and its sources, joined by ": ". A source that its parent printed already is not repeated;
    /// control characters (a DHCP server may have sent some) are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = landline_types::chain(&*self.0);
        f.write_str(&clean(&text, Self::MAX))
    }
}

impl fmt::Debug for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The text on one line of at most `max` bytes.
pub(crate) fn clean(text: &str, max: usize) -> String {
    format!("{:.max$}", Shown(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        #[source]
        source: Option<Box<Link>>,
    }

    fn link(text: &'static str, source: Option<Link>) -> Link {
        Link { text, source: source.map(Box::new) }
    }

    #[test]
    fn prints_the_chain_once() {
        let error = link("no lease on lan", Some(link("cannot send", Some(link("network is down", None)))));
        assert_eq!(DriverError::from(error).to_string(), "no lease on lan: cannot send: network is down");
        let repeats = link("cannot send: network is down", Some(link("network is down", None)));
        assert_eq!(DriverError::from(repeats).to_string(), "cannot send: network is down");
    }

    #[test]
    fn text_is_one_bounded_line() {
        assert_eq!(DriverError::from(link("a\nb\u{1b}[31mc", None)).to_string(), "a\\nb\\u001b[31mc");
        assert_eq!(clean(&"é".repeat(10), 5), "éé");
        assert_eq!(clean("", 5), "");
    }
}
