//! One connection to the management socket.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::console::{LINE_MAX, Refusal};

/// What is said to whoever connects, and by `showinfo`.
pub(crate) const BANNER: &str = "VDE switch\nspeaks the protocol and the commands of vde_switch 2\n\n";

const PROMPT: &str = "\nvde$ ";

/// How much may wait for somebody who does not read, in bytes.
const UNREAD_MAX: usize = 1 << 20;

/// A session, until it is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stream: OwnedFd,
    input: Vec<u8>,
    output: Vec<u8>,
    /// The last words are said.
    closing: bool,
}

impl Session {
    pub(crate) fn new(stream: OwnedFd) -> Self {
        let output = format!("{BANNER}{}", &PROMPT[1..]).into_bytes();
        Self { stream, input: Vec::new(), output, closing: false }
    }

    /// The lines that have come; `None`: the session is over.
    pub(crate) fn lines(&mut self) -> Option<Vec<String>> {
        let mut buffer = [0; 1024];
        match rustix::io::read(&self.stream, &mut buffer) {
            Ok(0) => return None,
            Ok(length) => self.input.extend(&buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return None,
        }
        let mut lines = Vec::new();
        while let Some(end) = self.input.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).into_owned());
        }
        (self.input.len() <= LINE_MAX).then_some(lines)
    }

    /// An answer: text, or an empty one, and how it went.
    pub(crate) fn answer(&mut self, result: Result<String, Refusal>) {
        let (text, (code, words)) = match result {
            Ok(text) => (text, (1000, "Success")),
            Err(refusal) => (String::new(), refusal.code()),
        };
        if !text.is_empty() {
            self.output.extend(format!("0000 DATA END WITH '.'\n{text}.\n").bytes());
        }
        self.output.extend(format!("{code} {words}\n{PROMPT}").bytes());
    }

    pub(crate) fn prompt(&mut self) {
        self.output.extend(PROMPT.bytes());
    }

    /// Ends once everything is written.
    pub(crate) fn bye(&mut self) {
        self.output.extend(b"9999 END OF SESSION");
        self.closing = true;
    }

    /// Writes what can be written. `None`: the session is over; `Some(true)`: there is more to write.
    pub(crate) fn flush(&mut self) -> Option<bool> {
        while !self.output.is_empty() {
            match rustix::io::write(&self.stream, &self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return (self.output.len() <= UNREAD_MAX).then_some(true),
                Err(_) => return None,
            }
        }
        (!self.closing).then_some(false)
    }
}
