//! What is answered to which path.

use std::borrow::Cow;
use std::sync::Arc;

use http_body_util::{Either, Full};
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::door::Door;
use super::page::{self, Notices, PageError};
use crate::control::Context;
use crate::health::{Level, health};
use crate::metrics;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// A body that is there, or one of notices to come.
pub(super) type Answer = Either<Full<Bytes>, Notices>;

/// What is not a page cannot load anything.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// A picture has its own styles in it.
const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// A body and its type.
struct Content {
    status: StatusCode,
    kind: &'static str,
    policy: Cow<'static, str>,
    body: Bytes,
}

impl Content {
    fn ok(kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, kind, policy: Cow::Borrowed(POLICY), body: body.into() }
    }

    fn error(status: StatusCode, says: impl Into<Bytes>) -> Self {
        Self { status, kind: TEXT, policy: Cow::Borrowed(POLICY), body: says.into() }
    }

    fn failed(error: &PageError) -> Self {
        tracing::warn!(error = %landline_types::chain(error), "there is nothing to show on the page");
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, "the log says why there is nothing to show\n")
    }

    fn respond(self) -> Response<Answer> {
        let mut response = Response::new(Either::Left(Full::new(self.body)));
        *response.status_mut() = self.status;
        // It is made of letters, digits and signs that fit.
        let policy = HeaderValue::try_from(&*self.policy).unwrap_or(HeaderValue::from_static(POLICY));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        let own = HeaderName::from_static("cross-origin-resource-policy");
        headers.insert(own, HeaderValue::from_static("same-origin"));
        response
    }
}

/// What a request is refused with before anything is looked at.
fn refuse<B>(request: &Request<B>, door: &Door) -> Option<Response<Answer>> {
    if let Some((status, why)) = door.refuse(request.headers()) {
        return Some(Content::error(status, format!("{why}\n")).respond());
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = Content::error(StatusCode::METHOD_NOT_ALLOWED, "use GET\n").respond();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(response);
    }
    None
}

/// The answer to one request.
pub(super) async fn answer<B>(request: &Request<B>, context: &Arc<Context>, door: &Door) -> Response<Answer> {
    if let Some(refused) = refuse(request, door) {
        return refused;
    }
    match request.uri().path() {
        "/" => match page::page() {
            Ok((page, policy)) => Content { policy: Cow::Owned(policy), ..Content::ok(HTML, page) },
            Err(_) => Content::error(StatusCode::INTERNAL_SERVER_ERROR, "no random numbers\n"),
        },
        "/state.json" => match page::state(context).await {
            Ok(body) => Content::ok(JSON, body),
            Err(error) => Content::failed(&error),
        },
        "/changes" => {
            let Ok(permit) = context.http.listeners.clone().try_acquire_owned() else {
                let says = "too many browsers show the page\n";
                return Content::error(StatusCode::SERVICE_UNAVAILABLE, says).respond();
            };
            let mut response = Content::ok("text/event-stream", "").respond();
            if request.method() == Method::GET {
                *response.body_mut() = Either::Right(Notices::new(context, permit));
            }
            return response;
        }
        "/metrics" => Content::ok(metrics::CONTENT_TYPE, metrics::look(context).await.text()),
        "/health" => {
            let mut endpoints = context.parts.engine.client_views().await;
            context.parts.attach.name_containers(&mut endpoints);
            let health = health(context, &endpoints).await;
            let status =
                if health.level == Level::Fail { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            match serde_json::to_vec(&health) {
                Ok(body) => Content { status, ..Content::ok(JSON, body) },
                Err(_) => Content::error(StatusCode::INTERNAL_SERVER_ERROR, "cannot write JSON\n"),
            }
        }
        "/graph.svg" => match page::picture(context).await {
            Ok(body) => {
                Content { policy: Cow::Borrowed(PICTURE_POLICY), ..Content::ok("image/svg+xml", body) }
            }
            Err(error) => Content::failed(&error),
        },
        _ => Content::error(StatusCode::NOT_FOUND, "there are /, /metrics, /health and /graph.svg\n"),
    }
    .respond()
}

#[cfg(test)]
mod tests {
    use landline_options::ConfigFile;
    use tokio::sync::watch;

    use super::*;
    use crate::control::Peer;
    use crate::http::host::Names;

    fn refused_at(door: &Door, method: &str, host: &str) -> Option<StatusCode> {
        let request =
            Request::builder().method(method).uri("/metrics").header("host", host).body(()).unwrap();
        refuse(&request, door).map(|response| response.status())
    }

    fn refused(method: &str, host: &str) -> Option<StatusCode> {
        refused_at(&Door::Network(Arc::new(Names::new(Vec::new()))), method, host)
    }

    #[test]
    fn who_may_look_over_the_control_socket_is_asked_at_each_request() {
        let config = watch::Sender::new(Arc::new(ConfigFile::parse("[control]\ngroup = \"4242\"").unwrap()));
        let member = Door::Control(Peer::new(1000, &[1000, 4242]), config.subscribe());
        assert_eq!(refused_at(&member, "GET", "any.example"), None);
        config.send_replace(Arc::default());
        assert_eq!(refused_at(&member, "GET", "any.example"), Some(StatusCode::FORBIDDEN));
        let root = Door::Control(Peer::new(0, &[0]), config.subscribe());
        assert_eq!(refused_at(&root, "GET", "any.example"), None);
        assert_eq!(refused_at(&root, "POST", "any.example"), Some(StatusCode::METHOD_NOT_ALLOWED));
    }

    #[test]
    fn nothing_can_be_changed_and_no_name_can_be_borrowed() {
        assert_eq!(refused("GET", "127.0.0.1:9732"), None);
        assert_eq!(refused("HEAD", "localhost"), None);
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            assert_eq!(refused(method, "localhost"), Some(StatusCode::METHOD_NOT_ALLOWED), "{method}");
        }
        assert_eq!(refused("GET", "evil.example"), Some(StatusCode::MISDIRECTED_REQUEST));
    }

    #[test]
    fn nothing_is_kept_sniffed_or_loaded() {
        let response = Content::ok(TEXT, "x").respond();
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-security-policy").starts_with("default-src 'none'"));
    }
}
