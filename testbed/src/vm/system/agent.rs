//! The line to the program in a VM that runs what it is sent (`agent.sh`): a virtio-serial port here, a socket there.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::process::{Output, readable_within};

/// What a script may take longer to be ended, on a machine that is emulated.
const GRACE: Duration = Duration::from_mins(1);

/// The line to one boot of a machine.
#[derive(Debug)]
pub(super) struct Agent {
    line: BufReader<UnixStream>,
}

impl Agent {
    /// Waits until the emulator has the line, and the machine is up as far as to say so.
    pub(super) fn ready(listener: &UnixListener, limit: Duration) -> Result<Self> {
        let deadline = Instant::now() + limit;
        let connected = readable_within(listener.as_fd(), limit)
            .map_err(Error::system("cannot wait for the emulator"))?;
        if !connected {
            return Err(late("the emulator", limit));
        }
        let (stream, _) = listener.accept().map_err(Error::system("cannot accept the emulator's line"))?;
        let mut agent = Self { line: BufReader::new(stream) };
        let word = agent.read_line(deadline, limit)?;
        if word == "ready" { Ok(agent) } else { Err(Error::Unexpected(format!("the VM said {word:?}"))) }
    }

    /// Runs a script with bash (`-euo pipefail`), for at most `limit`. Both its streams are in `stdout`.
    pub(super) fn run(&mut self, script: &str, limit: Duration) -> Result<Output> {
        let deadline = Instant::now() + limit + GRACE;
        let request = format!("{} {}\n{script}", limit.as_secs().max(1), script.len());
        self.line.get_mut().write_all(request.as_bytes()).map_err(Error::system("cannot write to the VM"))?;
        let answer = self.read_line(deadline, limit)?;
        let strange = || Error::Unexpected(format!("the VM said {answer:?}"));
        let (status, bytes) = answer.split_once(' ').ok_or_else(strange)?;
        let (status, bytes): (i32, usize) =
            status.parse().ok().zip(bytes.parse().ok()).ok_or_else(strange)?;
        let mut stdout = Vec::new();
        while stdout.len() < bytes {
            let left = bytes - stdout.len();
            self.read_more(&mut stdout, deadline, limit, |buffered| buffered.len().min(left))?;
        }
        Ok(Output {
            status: ExitStatus::from_raw(status << 8),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::new(),
        })
    }

    fn read_line(&mut self, deadline: Instant, limit: Duration) -> Result<String> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            self.read_more(&mut line, deadline, limit, |buffered| {
                buffered.iter().position(|byte| *byte == b'\n').map_or(buffered.len(), |at| at + 1)
            })?;
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Waits until there is something to read, and takes as much of it as `length` says.
    fn read_more(
        &mut self,
        to: &mut Vec<u8>,
        deadline: Instant,
        limit: Duration,
        length: impl Fn(&[u8]) -> usize,
    ) -> Result<()> {
        self.wait(deadline, limit)?;
        let buffered = self.line.fill_buf().map_err(Error::system("cannot read from the VM"))?;
        if buffered.is_empty() {
            return Err(Error::Unexpected("the VM ended".to_owned()));
        }
        let length = length(buffered);
        to.extend_from_slice(&buffered[..length]);
        self.line.consume(length);
        Ok(())
    }

    fn wait(&self, deadline: Instant, limit: Duration) -> Result<()> {
        if !self.line.buffer().is_empty() {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match readable_within(self.line.get_ref().as_fd(), left) {
            Ok(true) => Ok(()),
            Ok(false) => Err(late("the VM", limit)),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Error::system("cannot wait for the VM")(error)),
        }
    }
}

/// Where the emulator finds the line.
pub(super) fn listen(path: &Path) -> Result<UnixListener> {
    // One that is left from the boot before.
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).map_err(Error::file("cannot listen at", path))
}

fn late(who: &str, limit: Duration) -> Error {
    Error::Timeout { what: format!("answer of {who}"), after: limit, detail: String::new() }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_a_script_wrote_is_read_whole() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut agent = Agent { line: BufReader::new(ours) };
        let text = "a line\n".repeat(3000);
        let reply = format!("3 {}\n{text}", text.len());
        let guest = std::thread::spawn(move || {
            let mut request = [0; "10 4\ntrue".len()];
            theirs.read_exact(&mut request).unwrap();
            assert_eq!(&request, b"10 4\ntrue");
            theirs.write_all(reply.as_bytes()).unwrap();
        });
        let output = agent.run("true", Duration::from_secs(10)).unwrap();
        guest.join().unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(3), text));
        let error = agent.run("true", Duration::from_secs(10)).unwrap_err().to_string();
        assert!(error.contains("the VM"), "{error}");
    }
}
