//! Asking the Engine API over its unix socket.
//!
//! Every question has a connection of its own: the engine answers some only after seconds, and those must not hold
//! up others. Answers are bounded in size.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::door::Door;
use super::model::{Event, Version};

/// The newest version of the API whose answers were looked at. Older engines are asked in their own.
const NEWEST: (u32, u32) = (1, 52);

/// The version of engine 29.0, the first that tells IPAM drivers a container's name.
const NAMES_ENDPOINTS: (u32, u32) = (1, 52);

/// How much of a reason is kept, in characters.
const MAX_REASON: usize = 4096;

/// How much of an engine's version is kept, in characters.
const MAX_VERSION: usize = 64;

/// The longest answer: thousands of containers.
const MAX_ANSWER: usize = 64 << 20;

/// The longest event: a container's labels are in it.
const MAX_EVENT: usize = 1 << 20;

/// Which events there is anything to learn from. Health checks alone make many more.
const EVENTS: &str = r#"{"type":["container","network"],"event":["create","start","die","destroy","rename","update","connect","disconnect","remove"]}"#;

/// Why the engine did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("cannot connect to {}", .0.display())]
    Connect(PathBuf, #[source] io::Error),
    #[error("Docker no longer listens, and a connection would start it")]
    Away,
    #[error("Docker's API broke off")]
    Http(#[from] hyper::Error),
    #[error("Docker's API did not answer within {0:?}")]
    TooSlow(Duration),
    #[error("Docker's API answered {path} with {status}{}", says.as_ref().map(|says| format!(": {says}")).unwrap_or_default())]
    Status {
        path: String,
        status: StatusCode,
        /// Why, in Docker's words.
        says: Option<String>,
    },
    #[error("Docker's API answered {path} with something else than expected")]
    Content {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("Docker's API answered with more than {0} bytes")]
    TooLong(usize),
}

impl ApiError {
    /// Whether asking again may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Connect(..) | Self::Away | Self::Http(_) | Self::TooSlow(_) => true,
            Self::Status { status, .. } => status.is_server_error(),
            Self::Content { .. } | Self::TooLong(_) => false,
        }
    }

    /// Whether there is a socket and nobody listens on it.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Connect(_, error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Where the API is and which version of it to speak.
#[derive(Debug, Clone)]
pub(crate) struct EngineApi {
    door: Door,
    /// Goes before every path: `/v1.41`, or nothing for the engine's own choice.
    prefix: String,
    /// The newest version that the engine speaks.
    newest: Option<(u32, u32)>,
    /// The engine's own version, if it says one.
    engine: Option<String>,
    deadline: Duration,
}

impl EngineApi {
    /// Finds out which version to speak: the engine's newest, or the newest known here, whichever is older.
    pub(crate) async fn negotiate(door: &Door, deadline: Duration) -> Result<Self, ApiError> {
        let mut api =
            Self { door: door.clone(), prefix: String::new(), newest: None, engine: None, deadline };
        let version: Version = api.get("/version").await?;
        if let Some((major, minor)) = choose(&version) {
            api.prefix = format!("/v{major}.{minor}");
        }
        api.newest = parse_version(&version.newest);
        let engine: String = version.engine.chars().take(MAX_VERSION).collect();
        api.engine = Some(engine).filter(|engine| !engine.is_empty());
        Ok(api)
    }

    /// The engine's own version, if it says one.
    pub(super) fn engine(&self) -> Option<&str> {
        self.engine.as_deref()
    }

    /// Whether the engine tells IPAM drivers which container an address is for.
    pub(super) fn names_endpoints(&self) -> bool {
        self.newest >= Some(NAMES_ENDPOINTS)
    }

    /// The same with another deadline for answers.
    #[must_use]
    pub(super) fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// One answer, as JSON.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let answer = async {
            let (response, _connection) = self.ask(path).await?;
            collect(response).await
        };
        let answer = tokio::time::timeout(self.deadline, answer)
            .await
            .map_err(|_| ApiError::TooSlow(self.deadline))??;
        serde_json::from_slice(&answer).map_err(|source| ApiError::Content { path: path.to_owned(), source })
    }

    /// Has something done, by what the body says; the answer says no more than that it was.
    pub(super) async fn post(&self, path: &str, body: Option<&Value>) -> Result<(), ApiError> {
        self.change(Method::POST, path, body).await.map(drop)
    }

    /// Has something made, and reads what Docker says of it.
    pub(crate) async fn create<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ApiError> {
        let answer = self.change(Method::POST, path, Some(body)).await?;
        serde_json::from_slice(&answer).map_err(|source| ApiError::Content { path: path.to_owned(), source })
    }

    /// Has something removed.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), ApiError> {
        self.change(Method::DELETE, path, None).await.map(drop)
    }

    async fn change(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>, ApiError> {
        let done = async {
            let (response, _connection) = self.request(method, path, body).await?;
            collect(response).await
        };
        let done = tokio::time::timeout(self.deadline, done).await;
        done.map_err(|_| ApiError::TooSlow(self.deadline))?
    }

    /// What happens from now on, and what happened since that time (seconds since 1970).
    pub(super) async fn events(&self, since: u64) -> Result<Events, ApiError> {
        let path = format!("/events?since={since}&filters={}", percent_encode(EVENTS));
        let asked = tokio::time::timeout(self.deadline, self.ask(&path)).await;
        let (response, connection) = asked.map_err(|_| ApiError::TooSlow(self.deadline))??;
        Ok(Events { body: response.into_body(), read: Vec::new(), _connection: connection })
    }

    async fn ask(&self, path: &str) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), ApiError> {
        self.request(Method::GET, path, None).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), ApiError> {
        if !self.door.is_open().await {
            return Err(ApiError::Away);
        }
        let stream = UnixStream::connect(self.door.path()).await;
        let stream = stream.map_err(|source| ApiError::Connect(self.door.path().to_owned(), source))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // Its errors come out of the request, too.
            let _ = connection.await;
        }));
        let uri = format!("{}{path}", self.prefix);
        let text = body.map(ToString::to_string).unwrap_or_default();
        let mut request = Request::new(Full::<Bytes>::from(text));
        if body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        // All paths are made of literals and checked ids.
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().map_err(|_| not_found(path))?;
        request.headers_mut().insert(HOST, HeaderValue::from_static("docker"));
        let response = sender.send_request(request).await?;
        let status = response.status();
        // A container that runs already is as good as started.
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            Ok((response, connection))
        } else {
            let says = collect(response).await.ok().and_then(|body| reason(&body));
            Err(ApiError::Status { path: path.to_owned(), status, says })
        }
    }
}

pub(super) fn not_found(path: &str) -> ApiError {
    ApiError::Status { path: path.to_owned(), status: StatusCode::NOT_FOUND, says: None }
}

/// Why the engine has refused something, by its answer.
fn reason(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    serde_json::from_slice::<Refusal>(body)
        .ok()
        .map(|refusal| refusal.message.trim().chars().take(MAX_REASON).collect())
}

async fn collect(response: Response<Incoming>) -> Result<Vec<u8>, ApiError> {
    let mut body = response.into_body();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if whole.len() + data.len() > MAX_ANSWER {
                return Err(ApiError::TooLong(MAX_ANSWER));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

/// The version to speak; none if the engine does not say clearly what it speaks.
fn choose(version: &Version) -> Option<(u32, u32)> {
    let newest = parse_version(&version.newest)?;
    match parse_version(&version.oldest) {
        Some(oldest) if oldest > NEWEST => Some(newest),
        _ => Some(newest.min(NEWEST)),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn percent_encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// What happens, one line of JSON each.
pub(super) struct Events {
    body: Incoming,
    read: Vec<u8>,
    _connection: AbortOnDropHandle<()>,
}

impl Events {
    /// The next event; none when Docker ends the stream. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let event = serde_json::from_slice(&line);
                return event
                    .map(Some)
                    .map_err(|source| ApiError::Content { path: "/events".to_owned(), source });
            }
            if self.read.len() > MAX_EVENT {
                return Err(ApiError::TooLong(MAX_EVENT));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(newest: &str, oldest: &str) -> Option<(u32, u32)> {
        choose(&Version { engine: String::new(), newest: newest.to_owned(), oldest: oldest.to_owned() })
    }

    #[test]
    fn speaks_what_both_know() {
        assert_eq!(chosen("1.41", "1.12"), Some((1, 41)));
        assert_eq!(chosen("1.52", "1.44"), Some((1, 52)));
        assert_eq!(chosen("1.100", "1.44"), Some(NEWEST));
        assert_eq!(chosen("1.100", "1.60"), Some((1, 100)));
        assert_eq!(chosen("1.40", ""), Some((1, 40)));
        assert_eq!(chosen("", ""), None);
        assert_eq!(chosen("latest", "1.12"), None);
    }

    #[test]
    fn refusals_say_why() {
        assert_eq!(reason(br#"{"message":"no such network\n"}"#).as_deref(), Some("no such network"));
        assert_eq!(reason(b"404 page not found"), None);
    }

    #[test]
    fn filters_are_one_query_value() {
        assert_eq!(percent_encode(r#"{"a":[1]}"#), "%7B%22a%22%3A%5B1%5D%7D");
    }
}
