//! Accepting connections when the system may have no descriptor or no memory for another.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// The first pause after a connection was not accepted, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often it is said that connections are not accepted.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// A listening socket.
pub trait Listens: Send + 'static {
    /// A connection to it.
    type Stream: Send + 'static;

    /// The next connection. Cancel-safe.
    fn accept_one(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listens for UnixListener {
    type Stream = UnixStream;

    async fn accept_one(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

impl Listens for TcpListener {
    type Stream = TcpStream;

    async fn accept_one(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

/// A listening socket of one server.
///
/// A connection that cannot be accepted stays where it is, and the socket stays readable: asking again at once would
/// burn a processor and fill the log. So after each failure there is a pause that doubles, and one line a minute.
#[derive(Debug)]
pub struct Acceptor<L = UnixListener> {
    listener: L,
    /// Whose connections they are, for the log.
    server: &'static str,
    failures: Failures,
}

impl<L: Listens> Acceptor<L> {
    /// Accepts what connects to this socket; `server` names it in the log.
    pub fn new(listener: L, server: &'static str) -> Self {
        Self { listener, server, failures: Failures::default() }
    }

    /// The next connection. Nothing is lost when the future is dropped.
    pub async fn accept(&mut self) -> L::Stream {
        loop {
            match self.listener.accept_one().await {
                Ok(stream) => {
                    self.failures.over();
                    return stream;
                }
                // The client has gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let Failure { pause, count } = self.failures.another(Instant::now());
                    if let Some(count) = count {
                        let server = self.server;
                        tracing::error!(server, %error, count, "connections are not accepted");
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// When to say something that anybody can cause as often as he likes: once a minute.
#[derive(Debug, Default)]
pub struct Seldom {
    unsaid: u64,
    said: Option<Instant>,
}

impl Seldom {
    /// It has happened again. How often it has since it was said last, if it is to be said now.
    pub fn again(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        if self.said.is_some_and(|said| now.duration_since(said) < SAID_EVERY) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// How long to wait before the next attempt.
    pub pause: Duration,
    /// How many there were since it was said last, if it is to be said now.
    pub count: Option<u64>,
}

/// The failures of one server to accept a connection.
#[derive(Debug, Default)]
pub struct Failures {
    pause: Option<Duration>,
    lines: Seldom,
}

impl Failures {
    /// One more.
    pub fn another(&mut self, now: Instant) -> Failure {
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| LONGEST_PAUSE.min(pause * 2));
        self.pause = Some(pause);
        Failure { pause, count: self.lines.again(now) }
    }

    /// One was accepted.
    pub fn over(&mut self) {
        self.pause = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_said_once_a_minute() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let (mut now, mut lines, mut tries) = (start, 0, 0);
        while now < start + Duration::from_secs(119) {
            let Failure { pause, count } = failures.another(now);
            (now, lines, tries) = (now + pause, lines + usize::from(count.is_some()), tries + 1);
        }
        assert_eq!(lines, 2);
        assert!((60..70).contains(&tries), "{tries}");
        failures.over();
        let Failure { pause, count } = failures.another(now + SAID_EVERY);
        assert_eq!(pause, FIRST_PAUSE);
        assert!(count.is_some_and(|count| count > 20), "{count:?}");
    }

    #[test]
    fn a_server_that_flaps_is_as_quiet() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let lines = (0..1000).filter(|_| {
            failures.over();
            failures.another(now).count.is_some()
        });
        assert_eq!(lines.count(), 1);
    }

    #[tokio::test]
    async fn connections_come_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let mut acceptor = Acceptor::new(UnixListener::bind(&path).unwrap(), "test");
        for _ in 0..2 {
            let client = UnixStream::connect(&path).await.unwrap();
            let served = acceptor.accept().await;
            drop(client);
            served.readable().await.unwrap();
        }
    }
}
