//! The log's lines with every text in them escaped, whoever wrote it: a line of the log is one event, and does nothing to the
//! terminal it is read on.

use std::fmt::Write as _;
use std::io;

use landline_types::Shown;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::debug_fn;

/// How the fields of an event are written: the message as it is, the others with their names.
pub(crate) fn fields() -> impl for<'w> FormatFields<'w> {
    debug_fn(|line, field, value| match field.name() {
        "message" => write!(line, "{}", Shown(format_args!("{value:?}"))),
        name => write!(line, "{}={}", name.trim_start_matches("r#"), Shown(format_args!("{value:?}"))),
    })
    .delimited(" ")
}

/// Standard error for documents of JSON: that format escapes less than a terminal needs.
pub(crate) fn documents() -> impl io::Write {
    Documents(io::stderr())
}

#[derive(Debug)]
struct Documents<W>(W);

impl<W: io::Write> io::Write for Documents<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut escaped = String::new();
        for part in text.split_inclusive('\n') {
            let (line, end) = part.strip_suffix('\n').map_or((part, ""), |line| (line, "\n"));
            let _ = write!(escaped, "{}{end}", Shown(line));
        }
        self.0.write_all(escaped.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A place to write to, for tests of what is written.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(test)]
impl Kept {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[cfg(test)]
impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say_it() {
        let evil = "x\n2026 INFO forged\u{1b}[31m\u{9b}2J\u{202e}";
        let error = io::Error::other(evil);
        tracing::warn!(path = evil, %evil, name = ?evil, error = &error as &dyn std::error::Error, "hello {evil}");
        tracing::warn!("{evil}");
    }

    fn is_plain(text: &str, lines: usize) {
        assert_eq!(text.lines().count(), lines, "{text}");
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
        assert!(text.contains("forged\\u001b[31m\\u009b2J\\u202e"), "{text}");
    }

    #[test]
    fn nothing_forges_a_line() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).fmt_fields(fields());
        tracing::subscriber::with_default(log.with_writer(move || writer.clone()).finish(), say_it);
        is_plain(&kept.text(), 2);
        assert!(kept.text().contains(" hello x\\n2026 INFO"), "{}", kept.text());
        assert!(kept.text().contains(" evil=x\\n2026 INFO"), "{}", kept.text());
    }

    #[test]
    fn nor_a_document() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().json();
        let log = log.with_writer(move || Documents(writer.clone())).finish();
        tracing::subscriber::with_default(log, say_it);
        is_plain(&kept.text(), 2);
        for line in kept.text().lines() {
            let document: serde_json::Value = serde_json::from_str(line).unwrap();
            let message = document["fields"]["message"].as_str().unwrap();
            assert!(message.ends_with("x\n2026 INFO forged\u{1b}[31m\u{9b}2J\u{202e}"), "{message:?}");
        }
    }
}
