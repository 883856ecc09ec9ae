//! A driver that remembers what it was asked, and a client that sends whatever it likes.

// Each test binary uses its part.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use landline_docker::{
    AddressRequest, CreateEndpointRequest, CreateNetworkRequest, Driver, DriverError, EndpointInterface,
    EndpointRequest, InterfaceName, IpamDriver, JoinRequest, JoinResponse, Limits, PoolAnswer, PoolRequest,
    ReleaseAddressRequest, serve_with,
};
use landline_options::NetworkId;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a network's user options say the driver should do in `CreateEndpoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    #[default]
    Willing,
    /// Fails with a chain of errors.
    Failing,
    Panicking,
    /// Waits until cancelled, then succeeds all the same.
    Late,
    /// Never ends, whatever happens.
    Stuck,
}

#[derive(Debug, thiserror::Error)]
#[error("no lease on lan")]
struct NoLease(#[source] std::io::Error);

pub struct FakeDriver {
    mood: Mutex<Mood>,
    /// Whether endpoints may be made.
    released: watch::Sender<bool>,
    calls: watch::Sender<Vec<String>>,
}

impl FakeDriver {
    pub fn new() -> Arc<Self> {
        let released = watch::Sender::new(true);
        Arc::new(Self { mood: Mutex::default(), released, calls: watch::Sender::default() })
    }

    /// Makes no endpoint until `true` is sent.
    pub fn hold(&self) -> watch::Sender<bool> {
        self.released.send_replace(false);
        self.released.clone()
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn calls(&self) -> Vec<String> {
        self.calls.borrow().clone()
    }

    /// Waits until a call that starts so was made.
    pub async fn called(&self, start: &str) {
        let mut calls = self.calls.subscribe();
        let found = calls.wait_for(|calls| calls.iter().any(|call| call.starts_with(start)));
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("never called {start}"))
            .unwrap();
    }

    fn note(&self, call: &str, detail: &str) {
        self.calls.send_modify(|calls| calls.push(format!("{call} {detail}")));
    }
}

impl Driver for FakeDriver {
    async fn create_network(&self, request: CreateNetworkRequest) -> Result<(), DriverError> {
        let options = request.user_options()?;
        self.note("create_network", &format!("{} {options:?}", request.network.short()));
        Ok(())
    }

    async fn delete_network(&self, network: NetworkId) -> Result<(), DriverError> {
        self.note("delete_network", network.short());
        Ok(())
    }

    async fn start_without_contents(&self, _peer: Option<u32>) -> Option<DriverError> {
        let failing = *self.mood.lock().unwrap() == Mood::Failing;
        failing.then(|| NoLease(std::io::Error::other("later")).into())
    }

    async fn create_endpoint(
        &self,
        request: CreateEndpointRequest,
        _peer: Option<u32>,
        cancel: CancellationToken,
    ) -> Result<EndpointInterface, DriverError> {
        self.note("create_endpoint", request.endpoint.short());
        let mood = *self.mood.lock().unwrap();
        let mut released = self.released.subscribe();
        released.wait_for(|released| *released).await?;
        match mood {
            Mood::Willing => {}
            Mood::Failing => return Err(NoLease(std::io::Error::other("network is\ndown")).into()),
            Mood::Panicking => panic!("on purpose"),
            Mood::Late => cancel.cancelled().await,
            Mood::Stuck => std::future::pending().await,
        }
        Ok(EndpointInterface {
            address: "192.0.2.9/24".parse().ok(),
            address_ipv6: None,
            mac: "02:00:00:00:00:09".parse().ok(),
        })
    }

    fn create_endpoint_deadline(&self, _: &NetworkId) -> Duration {
        match *self.mood.lock().unwrap() {
            Mood::Stuck => Duration::from_millis(50),
            _ => PATIENCE,
        }
    }

    async fn delete_endpoint(&self, request: EndpointRequest) -> Result<(), DriverError> {
        self.note("delete_endpoint", request.endpoint.short());
        Ok(())
    }

    async fn endpoint_info(&self, request: EndpointRequest) -> Result<BTreeMap<String, String>, DriverError> {
        self.note("endpoint_info", request.endpoint.short());
        Ok(BTreeMap::from([("state".to_owned(), "bound".to_owned())]))
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinResponse, DriverError> {
        self.note("join", &format!("{} {:?}", request.endpoint.short(), request.sandbox));
        let interface_name =
            Some(InterfaceName { source: "llc0".parse()?, prefix: "eth".into(), name: None });
        Ok(JoinResponse { interface_name, disable_gateway_service: true, ..JoinResponse::default() })
    }

    async fn leave(&self, request: EndpointRequest) -> Result<(), DriverError> {
        self.note("leave", request.endpoint.short());
        Ok(())
    }

    async fn program_external_connectivity(&self, request: EndpointRequest) -> Result<(), DriverError> {
        self.note("program_external_connectivity", request.endpoint.short());
        Ok(())
    }

    async fn revoke_external_connectivity(&self, request: EndpointRequest) -> Result<(), DriverError> {
        self.note("revoke_external_connectivity", request.endpoint.short());
        Ok(())
    }
}

impl IpamDriver for FakeDriver {
    async fn request_pool(&self, request: PoolRequest) -> Result<PoolAnswer, DriverError> {
        let (subnet, options) = (request.pool.unwrap_or_default(), request.user_options());
        self.note("request_pool", &format!("{subnet} {:?} {options:?}", request.sub_pool));
        Ok(PoolAnswer { id: "pool1".into(), subnet })
    }

    async fn release_pool(&self, pool: String) -> Result<(), DriverError> {
        self.note("release_pool", &pool);
        Ok(())
    }

    async fn request_address(
        &self,
        request: AddressRequest,
        _peer: Option<u32>,
        cancel: CancellationToken,
    ) -> Result<IpNet, DriverError> {
        let what =
            if request.is_gateway() { "gateway".into() } else { format!("{:?}", request.endpoint_name()) };
        self.note("request_address", &format!("{} {:?} {what}", request.pool, request.address));
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Failing => return Err(NoLease(std::io::Error::other("network is\ndown")).into()),
            Mood::Late => cancel.cancelled().await,
            _ => {}
        }
        Ok("192.0.2.9/24".parse()?)
    }

    async fn release_address(&self, request: ReleaseAddressRequest) -> Result<(), DriverError> {
        self.note("release_address", &format!("{} {:?}", request.pool, request.address));
        Ok(())
    }
}

/// A running server.
pub struct Server {
    pub driver: Arc<FakeDriver>,
    pub shutdown: CancellationToken,
    pub running: JoinHandle<()>,
    socket: PathBuf,
    _dir: TempDir,
}

impl Server {
    pub fn start() -> Self {
        let grace = Duration::from_millis(200);
        Self::with(Limits { grace, ..Limits::default() })
    }

    pub fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("landline.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (driver, shutdown) = (FakeDriver::new(), CancellationToken::new());
        let running = tokio::spawn(serve_with(listener, driver.clone(), limits, shutdown.clone()));
        Self { driver, shutdown, running, socket, _dir: dir }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    /// Sends these bytes and returns the answer's status and all that follows it, up to the end.
    pub async fn raw(&self, request: &[u8]) -> (u16, String) {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        answer(&mut stream).await
    }

    /// Docker's way to ask: POST, no content type.
    pub async fn post(&self, path: &str, body: &[u8]) -> (u16, Value) {
        let (status, text) = self.raw(&request("POST", path, body)).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/vnd.docker.plugins.v1.2+json"), "{head}");
        (status, serde_json::from_str(body).unwrap())
    }

    /// Asks and expects a result.
    pub async fn ask(&self, verb: &str, body: &Value) -> Value {
        let (status, answer) =
            self.post(&format!("/NetworkDriver.{verb}"), body.to_string().as_bytes()).await;
        assert_eq!((status, answer.get("Err")), (200, None), "{verb}: {answer}");
        answer
    }

    /// Asks and expects an error: its text.
    pub async fn error(&self, verb: &str, body: &[u8]) -> String {
        let (status, answer) = self.post(&format!("/NetworkDriver.{verb}"), body).await;
        assert_eq!(status, 200);
        assert_eq!(answer["Err"], answer["Error"]);
        answer["Err"].as_str().unwrap_or_else(|| panic!("no error: {answer}")).to_owned()
    }
}

pub fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: plugin.moby.localhost\r\nConnection: close\r\n\
         Accept: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub async fn answer(stream: &mut UnixStream) -> (u16, String) {
    let mut text = Vec::new();
    // An error after the answer (the server closed what was not read) does not make it less of one.
    let read = stream.read_to_end(&mut text);
    let _ = tokio::time::timeout(PATIENCE, read).await.expect("no answer");
    let text = String::from_utf8(text).unwrap();
    let status =
        text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {text:?}")), text)
}
