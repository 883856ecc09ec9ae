//! Decodes a request, calls the driver, and encodes its answer or error.

use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Limits;
use super::body::{self, BodyError};
use super::work::{Work, WorkError};
use crate::driver::{Driver, DriverError, clean};
use crate::ipam_driver::IpamDriver;
use crate::protocol::{
    self, Activation, AddressRequest, AddressResponse, AddressSpaces, Capabilities, CreateEndpointRequest,
    CreateEndpointResponse, CreateNetworkRequest, EndpointInfoResponse, EndpointRequest, GatewayAllocation,
    IpamCapabilities, JoinRequest, NetworkRequest, PoolRequest, ReleaseAddressRequest, ReleasePoolRequest,
    Verb,
};

/// Why a request was not answered with a result. The text is what `docker` prints.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Body(#[from] BodyError),
    /// An engine that retries after a broken connection sends what is left of the body it already sent: nothing.
    #[error("Docker repeated the request without its contents; try again")]
    Empty,
    #[error("Landline does not understand Docker's {verb} request: {error}")]
    Malformed { verb: Verb, error: serde_json::Error },
    #[error("{0}")]
    Work(#[from] WorkError),
    #[error("a Landline network exists on one host; leave out --scope swarm and --attachable")]
    Swarm,
}

/// Answers requests.
pub(super) struct Answerer<D> {
    driver: Arc<D>,
    limits: Limits,
    activation: Activation,
    tasks: TaskTracker,
    /// Those that are being answered.
    requests: TaskTracker,
}

impl<D: Driver + IpamDriver> Answerer<D> {
    pub(super) fn new(
        driver: Arc<D>,
        limits: Limits,
        activation: Activation,
        tasks: TaskTracker,
        requests: TaskTracker,
    ) -> Self {
        Self { driver, limits, activation, tasks, requests }
    }

    /// The answer to one request, whatever it is. `peer` is the process that sent it.
    ///
    /// Errors have status 200: then Docker prints `remote: ` and our sentence; with any other status it would print
    /// its name for the request as well. An unknown verb is 404, which Docker takes for "not implemented".
    pub(super) async fn answer<B>(&self, request: Request<B>, peer: Option<u32>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let _under_way = self.requests.token();
        let (head, body) = request.into_parts();
        // Read before anything else: an answer before its request was read is an answer many never see.
        let body = body::read(body, self.limits.body_bytes, self.limits.body).await;
        let Some(verb) = Verb::of_path(head.uri.path()) else {
            let path = clean(head.uri.path(), 128);
            return failure(StatusCode::NOT_FOUND, &format_args!("Landline has no {path}"));
        };
        if head.method != Method::POST {
            let mut response =
                failure(StatusCode::METHOD_NOT_ALLOWED, &format_args!("{verb} is asked for with POST"));
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let started = Instant::now();
        let answer = match body {
            Ok(body) => match self.dispatch(verb, &body, peer).await {
                Err(Refusal::Empty) if verb.only_notifies() => Ok(nothing()),
                Err(Refusal::Empty) => Err(self.empty(verb, peer).await),
                answer => answer,
            },
            Err(error) => Err(error.into()),
        };
        let took = started.elapsed();
        self.driver.answered(verb.name(), took);
        match answer {
            Ok(response) => {
                tracing::debug!(%verb, ?took, "answered Docker");
                response
            }
            Err(refusal) => {
                tracing::warn!(%verb, ?took, error = %refusal, "request failed");
                failure(StatusCode::OK, &refusal)
            }
        }
    }

    /// What a request is refused with that came without its contents.
    async fn empty(&self, verb: Verb, peer: Option<u32>) -> Refusal {
        if !matches!(verb, Verb::CreateEndpoint | Verb::Join | Verb::RequestAddress) {
            return Refusal::Empty;
        }
        let told = self.work(|driver| async move { Ok(driver.start_without_contents(peer).await) }).await;
        match told {
            Ok(Some(error)) => Refusal::Work(WorkError::Driver(error)),
            Ok(None) => Refusal::Empty,
            Err(error) => Refusal::Work(error),
        }
    }

    async fn dispatch(
        &self,
        verb: Verb,
        body: &[u8],
        peer: Option<u32>,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        match verb {
            Verb::Activate => Ok(success(&self.activation)),
            Verb::GetCapabilities => Ok(success(&Capabilities::OURS)),
            Verb::GwAllocCheck => Ok(success(&GatewayAllocation::OURS)),
            // For networks that span hosts; ours do not.
            Verb::AllocateNetwork => Err(Refusal::Swarm),
            Verb::FreeNetwork | Verb::DiscoverNew | Verb::DiscoverDelete => Ok(nothing()),
            Verb::CreateNetwork => {
                let request: CreateNetworkRequest = parse(verb, body)?;
                self.work(|driver| async move { driver.create_network(request).await }).await?;
                Ok(nothing())
            }
            Verb::DeleteNetwork => {
                let request: NetworkRequest = parse(verb, body)?;
                self.work(|driver| async move { driver.delete_network(request.network).await }).await?;
                Ok(nothing())
            }
            Verb::CreateEndpoint => self.create_endpoint(parse(verb, body)?, peer).await,
            Verb::DeleteEndpoint => {
                let request: EndpointRequest = parse(verb, body)?;
                self.work(|driver| async move { driver.delete_endpoint(request).await }).await?;
                Ok(nothing())
            }
            Verb::EndpointOperInfo => {
                let request: EndpointRequest = parse(verb, body)?;
                let value = self.work(|driver| async move { driver.endpoint_info(request).await }).await?;
                Ok(success(&EndpointInfoResponse { value }))
            }
            Verb::Join => {
                let request: JoinRequest = parse(verb, body)?;
                let response = self.work(|driver| async move { driver.join(request).await }).await?;
                Ok(success(&response))
            }
            Verb::Leave => {
                let request: EndpointRequest = parse(verb, body)?;
                self.work(|driver| async move { driver.leave(request).await }).await?;
                Ok(nothing())
            }
            Verb::ProgramExternalConnectivity => {
                let request: EndpointRequest = parse(verb, body)?;
                self.work(|driver| async move { driver.program_external_connectivity(request).await })
                    .await?;
                Ok(nothing())
            }
            Verb::RevokeExternalConnectivity => {
                let request: EndpointRequest = parse(verb, body)?;
                self.work(|driver| async move { driver.revoke_external_connectivity(request).await }).await?;
                Ok(nothing())
            }
            Verb::IpamGetCapabilities => Ok(success(&IpamCapabilities::OURS)),
            Verb::GetDefaultAddressSpaces => Ok(success(&AddressSpaces::OURS)),
            Verb::RequestPool => {
                let request: PoolRequest = parse(verb, body)?;
                let pool = self.work(|driver| async move { driver.request_pool(request).await }).await?;
                Ok(success(&pool.to_json()))
            }
            Verb::ReleasePool => {
                let request: ReleasePoolRequest = parse(verb, body)?;
                self.work(|driver| async move { driver.release_pool(request.pool).await }).await?;
                Ok(nothing())
            }
            Verb::RequestAddress => self.request_address(parse(verb, body)?, peer).await,
            Verb::ReleaseAddress => {
                let request: ReleaseAddressRequest = parse(verb, body)?;
                self.work(|driver| async move { driver.release_address(request).await }).await?;
                Ok(nothing())
            }
        }
    }

    async fn create_endpoint(
        &self,
        request: CreateEndpointRequest,
        peer: Option<u32>,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let given = request.interface;
        let unwanted =
            EndpointRequest { network: request.network.clone(), endpoint: request.endpoint.clone() };
        let deadline = self.driver.create_endpoint_deadline(&request.network);
        let driver = self.driver.clone();
        let work =
            |cancel: CancellationToken| async move { driver.create_endpoint(request, peer, cancel).await };
        let driver = self.driver.clone();
        let undo = |_| async move {
            tracing::warn!(
                endpoint = unwanted.endpoint.short(),
                "Docker gave up on the endpoint; removing it"
            );
            if let Err(error) = driver.delete_endpoint(unwanted).await {
                tracing::error!(%error, "an endpoint that Docker gave up on was not removed");
            }
        };
        let interface = self.limited(deadline).run(work, undo).await?;
        Ok(success(&CreateEndpointResponse { interface: interface.beyond(&given) }))
    }

    async fn request_address(
        &self,
        request: AddressRequest,
        peer: Option<u32>,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let (pool, is_gateway) = (request.pool.clone(), request.is_gateway());
        let deadline = self.driver.request_address_deadline(&pool);
        let driver = self.driver.clone();
        let work =
            |cancel: CancellationToken| async move { driver.request_address(request, peer, cancel).await };
        let driver = self.driver.clone();
        let undo = move |given: IpNet| async move {
            // A gateway's is no address that is in use.
            if is_gateway {
                return;
            }
            tracing::warn!(address = %given.addr(), "Docker gave up on the address; taking it back");
            let unwanted = ReleaseAddressRequest { pool, address: Some(given.addr()) };
            if let Err(error) = driver.release_address(unwanted).await {
                tracing::error!(%error, "an address that Docker gave up on was not taken back");
            }
        };
        let address = self.limited(deadline).run(work, undo).await?;
        Ok(success(&AddressResponse { address }))
    }

    /// Runs work that is idempotent and leaves nothing to undo.
    async fn work<T, F>(&self, work: impl FnOnce(Arc<D>) -> F) -> Result<T, WorkError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DriverError>> + Send + 'static,
    {
        let driver = self.driver.clone();
        self.limited(self.limits.work).run(|_| work(driver), |_| ready(())).await
    }

    fn limited(&self, deadline: Duration) -> Work<'_> {
        Work { tasks: &self.tasks, deadline, grace: self.limits.grace }
    }
}

fn parse<T: DeserializeOwned>(verb: Verb, body: &[u8]) -> Result<T, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Refusal::Empty);
    }
    serde_json::from_slice(body).map_err(|error| Refusal::Malformed { verb, error })
}

fn nothing() -> Response<Full<Bytes>> {
    success(&json!({}))
}

fn success(answer: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(answer) {
        Ok(body) => respond(StatusCode::OK, body),
        // Maps with text keys and plain values: it cannot happen, and Docker would be told.
        Err(error) => failure(StatusCode::OK, &error),
    }
}

/// Network drivers say `Err`, IPAM drivers `Error`; who reads one ignores the other.
fn failure(status: StatusCode, error: &impl fmt::Display) -> Response<Full<Bytes>> {
    let text = clean(&error.to_string(), 4096);
    respond(status, json!({ "Err": text, "Error": text }).to_string().into_bytes())
}

fn respond(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(protocol::CONTENT_TYPE));
    response
}
