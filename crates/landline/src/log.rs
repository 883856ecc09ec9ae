//! What is written to standard error, and how.

use std::io;
use std::os::fd::AsFd as _;

use landline_types::Shown;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::plain;

/// What a log level is given as, if it is none.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a log level; use error, warn, info, debug or trace")]
pub(crate) struct LevelError(String);

/// Logs to standard error, at this level or the one `LOG_LEVEL` names. The journal adds the time and takes the level as
/// its priority; for everything else both are in the line.
pub(crate) fn start(level: Option<&str>, json: bool) -> Result<(), LevelError> {
    let filter = filter(level)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Whoever read it may be gone: complaints about that to the same place would be the end.
    let log = log.log_internal_errors(false);
    if json {
        log.json().with_writer(plain::documents).init();
    } else if stderr_is_the_journal() {
        log.event_format(Journal::default()).fmt_fields(plain::fields()).init();
    } else {
        log.with_ansi(false).fmt_fields(plain::fields()).init();
    }
    Ok(())
}

/// Logs to standard error with the time of day of `TZ`, at the level `LOG_LEVEL` names, or all of it.
pub(crate) fn start_local(debug: bool) -> Result<(), LevelError> {
    let filter = filter(debug.then_some("debug"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let log = log.log_internal_errors(false).with_ansi(false).with_timer(LocalTime);
    log.fmt_fields(plain::fields()).init();
    Ok(())
}

/// Says why the program ends.
pub(crate) fn last_words(why: &str) {
    let priority = if stderr_is_the_journal() { "<3>" } else { "" };
    eprintln!("{priority}landline: {}", Shown(why));
}

/// Has panics told like everything else, escaped and on one line: what they speak of may be another's text.
pub(crate) fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let why = panic.payload_as_str().unwrap_or("no message");
        if tracing::dispatcher::has_been_set() {
            let thread = std::thread::current();
            tracing::error!(at, why, thread = thread.name(), "a fault in Landline itself");
        } else {
            last_words(&format!("a fault in Landline itself, at {at}: {why}"));
        }
    }));
}

fn filter(level: Option<&str>) -> Result<EnvFilter, LevelError> {
    let from_env = || std::env::var("LOG_LEVEL").ok();
    let level = level.filter(|l| !l.is_empty()).map(str::to_owned).or_else(from_env);
    let level = level.filter(|l| !l.is_empty()).unwrap_or_else(|| "info".into());
    let wrong = || LevelError(level.chars().take(64).collect());
    // What is no level would be taken for the name of a module, and nothing else logged.
    let is_level = |word: &str| word.parse::<Level>().is_ok() || word.eq_ignore_ascii_case("off");
    if !level.split(',').all(|part| part.contains('=') || is_level(part.trim())) {
        return Err(wrong());
    }
    EnvFilter::try_new(&level).map_err(|_| wrong())
}

/// Log lines begin with the time where `TZ` says.
struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, line: &mut Writer<'_>) -> std::fmt::Result {
        let now = landline_kernel::local_time(std::time::SystemTime::now()).map_err(|_| std::fmt::Error)?;
        line.write_str(&now)
    }
}

/// Whether standard error is the stream that `JOURNAL_STREAM` names by device and inode (systemd.exec(5)): a program
/// that was started with it may have been given another one meanwhile.
fn stderr_is_the_journal() -> bool {
    let Ok(stat) = rustix::fs::fstat(io::stderr().as_fd()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|named| names(&named, stat.st_dev, stat.st_ino))
}

fn names(stream: &str, device: u64, inode: u64) -> bool {
    let (on, number) = stream.split_once(':').unwrap_or_default();
    on.parse() == Ok(device) && number.parse() == Ok(inode)
}

/// Lines for the journal: the priority in front (sd-daemon(3)), no time, no level.
struct Journal(Format<Full, ()>);

impl Default for Journal {
    fn default() -> Self {
        Self(Format::default().without_time().with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        let priority = priority(*event.metadata().level());
        // A line without a priority would have the stream's own.
        text.lines().try_for_each(|part| writeln!(line, "<{priority}>{part}"))
    }
}

/// The priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain::Kept;

    #[test]
    fn a_stream_is_known_by_device_and_inode() {
        assert!(names("9:1234", 9, 1234));
        for other in ["9:1235", "8:1234", "", ":", "9", "9:1234:", "a:b"] {
            assert!(!names(other, 9, 1234), "{other}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for level in ["info", "DEBUG", "off", "landline_engine=debug", "warn,landline_engine=trace"] {
            assert!(filter(Some(level)).is_ok(), "{level}");
        }
        for level in ["foo", "information", "info,foo", "3,"] {
            assert!(filter(Some(level)).is_err(), "{level}");
        }
    }

    #[test]
    fn a_panic_is_one_line_and_escaped() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().fmt_fields(plain::fields()).with_ansi(false).without_time();
        tracing::subscriber::with_default(log.with_writer(move || writer.clone()).finish(), || {
            tell_panics();
            let ended = std::panic::catch_unwind(|| panic!("no room for {}", "\u{1b}[31mweb\nERROR"));
            drop(std::panic::take_hook());
            ended.unwrap_err();
        });
        let text = kept.text();
        assert!(text.starts_with("ERROR") && text.contains("a fault in Landline itself"), "{text}");
        assert!(text.contains("no room for") && text.contains("log.rs"), "{text}");
        assert!(text.lines().count() == 1 && !text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn journal_lines_have_a_priority_and_no_time() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().with_max_level(Level::TRACE).event_format(Journal::default());
        tracing::subscriber::with_default(log.with_writer(move || writer.clone()).finish(), || {
            tracing::error!(target: "t", "bad");
            tracing::warn!(target: "t", bridge = "br0", "two\nlines");
            tracing::info!(target: "t", "good");
            tracing::debug!(target: "t", "fine");
        });
        assert_eq!(kept.text(), "<3>t: bad\n<4>t: two\n<4>lines bridge=\"br0\"\n<6>t: good\n<7>t: fine\n");
    }
}
