//! One connection to the management socket.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;

use super::console::{Command, LINE_MAX, Refusal};
use super::report::{Cursor, Part};

/// What is said to whoever connects, and by `showinfo`.
pub(crate) const BANNER: &str = "VDE switch\nspeaks the protocol and the commands of vde_switch 2\n\n";

const PROMPT: &str = "\nvde$ ";

/// A session, until it is dropped. What it holds is bounded by what one read takes in and one part of an answer: nothing more is
/// read, and nothing more worked out, before the answers so far are written.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stream: OwnedFd,
    /// When something was last heard of it.
    pub(crate) heard: Instant,
    input: Vec<u8>,
    output: Vec<u8>,
    /// The question that is being answered, and where the answer goes on.
    unanswered: Option<(Command, Cursor)>,
    /// There will be no more questions.
    asked: bool,
    /// The last words are said.
    closing: bool,
}

/// What there is to do for a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// To carry out a line.
    Line(String),
    /// To go on with an answer.
    More(Command, Cursor),
    /// To wait until it can be written to.
    Write,
    /// To wait until it says something.
    Read,
    /// It is over.
    End,
}

impl Session {
    pub(crate) fn new(stream: OwnedFd, now: Instant) -> Self {
        let output = format!("{BANNER}{}", &PROMPT[1..]).into_bytes();
        Self { stream, heard: now, input: Vec::new(), output, unanswered: None, asked: false, closing: false }
    }

    /// What is to be done next. Writes what can be written first, and reads when all lines so far are carried out.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        match self.flush() {
            None => return Due::End,
            Some(true) => return Due::Write,
            Some(false) => {}
        }
        if let Some((question, from)) = self.unanswered.take() {
            return Due::More(question, from);
        }
        if self.closing {
            return Due::End;
        }
        if let Some(line) = self.line() {
            return Due::Line(line);
        }
        if self.asked || self.input.len() > LINE_MAX {
            return Due::End;
        }
        let mut buffer = [0; 1024];
        match rustix::io::read(&self.stream, &mut buffer) {
            Ok(0) => self.asked = true,
            Ok(length) => {
                self.heard = now;
                self.input.extend(&buffer[..length]);
            }
            Err(Errno::AGAIN | Errno::INTR) => return Due::Read,
            Err(_) => return Due::End,
        }
        self.line().map_or(Due::Read, Due::Line)
    }

    /// The next line that has come.
    fn line(&mut self) -> Option<String> {
        let end = self.input.iter().position(|b| *b == b'\n')?;
        let line: Vec<u8> = self.input.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// The answer to a question, or its first part.
    pub(crate) fn answer(&mut self, question: Command, result: Result<Part, Refusal>) {
        match result {
            Ok(part) if part.text.is_empty() && part.rest.is_none() => self.finish((1000, "Success")),
            Ok(part) => {
                self.output.extend(b"0000 DATA END WITH '.'\n");
                self.go_on(question, part);
            }
            Err(refusal) => self.finish(refusal.code()),
        }
    }

    /// The next part of an answer.
    pub(crate) fn go_on(&mut self, question: Command, part: Part) {
        self.output.append(&mut part.text.into_bytes());
        self.unanswered = part.rest.map(|rest| (question, rest));
        if self.unanswered.is_none() {
            self.output.extend(b".\n");
            self.finish((1000, "Success"));
        }
    }

    fn finish(&mut self, (code, words): (u16, &str)) {
        self.output.extend(format!("{code} {words}\n{PROMPT}").bytes());
    }

    /// How it went, where there is nothing to tell.
    pub(crate) fn done(&mut self, result: Result<(), Refusal>) {
        self.finish(result.map_or_else(Refusal::code, |()| (1000, "Success")));
    }

    pub(crate) fn prompt(&mut self) {
        self.output.extend(PROMPT.bytes());
    }

    /// Ends once everything is written.
    pub(crate) fn bye(&mut self) {
        self.output.extend(b"9999 END OF SESSION");
        self.closing = true;
    }

    /// Writes what can be written. `None`: nobody takes it any more; `Some(true)`: there is more to write.
    pub(crate) fn flush(&mut self) -> Option<bool> {
        let mut done = 0;
        let more = loop {
            let left = &self.output[done..];
            if left.is_empty() {
                break Some(false);
            }
            match rustix::io::write(&self.stream, left) {
                Ok(written) => done += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break Some(true),
                Err(_) => break None,
            }
        };
        self.output.drain(..done);
        more
    }
}
