//! One connection, and how long it may live.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::answer::Answer;

/// How long the head of a request may take; an idle connection is closed after as long, too.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may live.
const LIFE: Duration = Duration::from_mins(1);
/// How long its last answer may take to be read then.
const REST: Duration = Duration::from_secs(10);
/// How long a connection may live that notices of changes are sent to. Whoever looks on connects again.
const LISTENING: Duration = Duration::from_hours(1);
/// The longest head of a request, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// Answers the requests of one connection until it ends.
pub(super) async fn converse<F>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Response<Answer>>,
{
    let listens = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| {
        let (answer, listens) = (answer(request), listens.clone());
        async move {
            let response = answer.await;
            if matches!(response.body(), Either::Right(_)) {
                listens.store(true, Ordering::Relaxed);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = Box::pin(connection);
    let ended = match timeout(LIFE, connection.as_mut()).await {
        Ok(ended) => Some(ended),
        Err(_) if listens.load(Ordering::Relaxed) => timeout(LISTENING, connection).await.ok(),
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(REST, connection).await.ok()
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "a connection for HTTP ended badly");
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::body::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::Instant;

    use super::*;
    use crate::http::page::Notices;

    /// A request every five seconds; how long the connection lives.
    async fn ask_again_and_again(mut client: DuplexStream) -> Duration {
        let started = Instant::now();
        let mut answer = [0; 1024];
        while client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.is_ok()
            && client.read(&mut answer).await.is_ok_and(|length| length > 0)
        {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_kept_alive_ends_after_a_minute() {
        let (client, server) = tokio::io::duplex(4096);
        let asked = tokio::spawn(ask_again_and_again(client));
        converse(server, async |_| Response::new(Either::Left(Full::new(Bytes::new())))).await;
        let lived = asked.await.unwrap();
        assert!((LIFE..LIFE + REST).contains(&lived), "{lived:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_changes_is_served_longer() {
        let (mut client, server) = tokio::io::duplex(4096);
        let started = Instant::now();
        client.write_all(b"GET /changes HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        converse(server, async |_| Response::new(Either::Right(Notices::silent()))).await;
        assert_eq!(started.elapsed().as_secs(), (LIFE + LISTENING).as_secs());
    }
}
