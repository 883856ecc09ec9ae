//! The few lines of HTTP/1.1 over a unix socket that asking a daemon one thing takes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends one request on a connection of its own and reads the answer to its end.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str, limit: Duration) -> Result<Answer> {
    let failed = || Error::system(format!("cannot ask {} for {path}", socket.display()));
    let mut stream = UnixStream::connect(socket).map_err(failed())?;
    stream.set_read_timeout(Some(limit)).map_err(failed())?;
    stream.set_write_timeout(Some(limit)).map_err(failed())?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(failed())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(failed())?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    let status =
        status.ok_or_else(|| Error::Unexpected(format!("no HTTP answer from {}", socket.display())))?;
    Ok(Answer { status, body: body.to_owned() })
}
