//! A command's side of the control socket: one request, and its answer.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::{Answer, MAX_LINE, Request};

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(
        "cannot reach the daemon at {path}; is it running (systemctl status landline), and are you root?"
    )]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the daemon stopped before it had answered")]
    Broken(#[source] io::Error),
    #[error("the daemon's answer makes no sense; is it of another version?")]
    Answer(#[source] serde_json::Error),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Refused(String),
}

/// Sends one request and reads its answer.
pub(crate) async fn call(socket: &Path, request: &Request) -> Result<Answer, CallError> {
    let connect = |source| CallError::Connect { path: socket.into(), source };
    let mut stream = UnixStream::connect(socket).await.map_err(connect)?;
    let mut line = serde_json::to_vec(request).map_err(CallError::Answer)?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(CallError::Broken)?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream.take(MAX_LINE));
    if reader.read_until(b'\n', &mut answer).await.map_err(CallError::Broken)? == 0 {
        return Err(CallError::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    match serde_json::from_slice(&answer).map_err(CallError::Answer)? {
        Answer::NotFound(text) => Err(CallError::NotFound(text)),
        Answer::Error(text) => Err(CallError::Refused(text)),
        answer => Ok(answer),
    }
}
