//! `landline events`: what happened.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use landline_leases::Happened;
use landline_model::{EventKind, EventRecord};
use landline_types::Shown;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::cli::EventsOptions;
use crate::control::{Answer, CallError, Context, Request, call};
use crate::listing::{Filter, check_filters, is_selected};
use crate::output::{CommandError, page};

/// Some of what happened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Events {
    /// The latest revision of the history; what happens later has a greater one.
    pub(crate) revision: u64,
    /// The events, the latest last.
    pub(crate) events: Vec<EventRecord>,
}

/// Prints what happened, and with `--follow` what happens.
pub(crate) async fn run(options: &EventsOptions) -> Result<(), CommandError> {
    check(&options.filter)?;
    let socket = &options.control.control_socket;
    let since = options.since.map(|since| now_ms().saturating_sub(millis(since)));
    let (mut after, mut follow) = (None, false);
    loop {
        let answer = match call(socket, &Request::Events { after, follow }).await {
            Ok(Answer::Events(answer)) => answer,
            Ok(_) => return Err(CommandError::Unexpected),
            Err(CallError::Broken(_) | CallError::Connect { .. }) if follow => {
                return Err(CommandError::FollowEnded);
            }
            Err(error) => return Err(error.into()),
        };
        after = Some(answer.revision);
        for event in answer.events.iter().filter(|event| since.is_none_or(|since| event.at_ms >= since)) {
            let row = serde_json::to_value(event).map_err(CommandError::Json)?;
            if !is_selected(&row, &options.filter) {
                continue;
            }
            let text = if options.json { Shown(row).to_string() } else { line(event) };
            match page(format!("{text}\n").as_bytes()) {
                Ok(()) => {}
                // Nobody reads on.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(CommandError::Print(error)),
            }
        }
        if !options.follow {
            return Ok(());
        }
        follow = true;
    }
}

/// Whether events have the fields that the filters name.
fn check(filters: &[Filter]) -> Result<(), CommandError> {
    let event = EventRecord {
        number: String::new(),
        kind: EventKind::Unknown,
        first_ms: 0,
        at_ms: 0,
        count: 0,
        endpoint: None,
        container: None,
        network_id: None,
        network: None,
        address: None,
        detail: None,
    };
    check_filters(filters, &serde_json::to_value(event).map_err(CommandError::Json)?)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// An event as a line.
fn line(event: &EventRecord) -> String {
    let at = landline_kernel::local_time(UNIX_EPOCH + Duration::from_millis(event.at_ms)).unwrap_or_default();
    let at: String = at.chars().take(19).collect();
    let endpoint = event.endpoint.as_ref().map(landline_options::EndpointId::short);
    let container = event.container.as_deref().or(endpoint).unwrap_or("-");
    let mut text = format!(
        "{} {:<15} {:<10} {:<15}",
        at.replace('T', " "),
        event.kind.as_str(),
        Shown(event.network.as_deref().unwrap_or("-")).to_string(),
        Shown(container).to_string()
    );
    if let Some(address) = event.address {
        let _ = write!(text, " {address}");
    }
    if let Some(detail) = &event.detail {
        let _ = write!(text, " {}", Shown(detail));
    }
    if event.count > 1 {
        let _ = write!(text, " ({} times)", event.count);
    }
    text
}

/// The daemon's side; with `follow` it answers once something has happened after that revision.
pub(crate) async fn events(context: &Context, after: Option<u64>, follow: bool) -> Events {
    let engine = &context.parts.engine;
    let mut latest = context.parts.shared.services.history.latest();
    loop {
        latest.mark_unchanged();
        let found = engine.events(after);
        // Nothing that came between the two looks is left out by the next request.
        let revision = found.iter().map(|noted| noted.revision).chain(after).max().unwrap_or_default();
        let events: Vec<EventRecord> = found.into_iter().map(|noted| noted.event).collect();
        if !events.is_empty() || !follow || latest.changed().await.is_err() {
            return Events { revision, events };
        }
    }
}

/// Notes when Docker's API goes and comes back, until `cancel`.
pub(crate) async fn follow_docker(context: Arc<Context>, cancel: CancellationToken) {
    let mut view = context.docker.clone();
    let mut docker = Docker::default();
    loop {
        let connected = view.borrow_and_update().connected;
        if let Some(kind) = docker.see(connected) {
            context.parts.shared.services.history.note(Happened::new(kind));
        }
        match cancel.run_until_cancelled(view.changed()).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// What was seen of Docker since the daemon started.
#[derive(Debug, Clone, Copy, Default)]
enum Docker {
    /// It has not answered yet, which is no event.
    #[default]
    Unseen,
    There,
    Gone,
}

impl Docker {
    /// Whether it answers now; what happened by that.
    fn see(&mut self, connected: bool) -> Option<EventKind> {
        let (next, kind) = match (*self, connected) {
            (Self::Unseen, true) => (Self::There, None),
            (Self::There, false) => (Self::Gone, Some(EventKind::DockerGone)),
            (Self::Gone, true) => (Self::There, Some(EventKind::DockerBack)),
            (same, _) => (same, None),
        };
        *self = next;
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_docker_answers_after_a_start_is_no_event() {
        let mut docker = Docker::default();
        let seen = [false, true, true, false, false, true].map(|connected| docker.see(connected));
        let (gone, back) = (Some(EventKind::DockerGone), Some(EventKind::DockerBack));
        assert_eq!(seen, [None, None, None, gone, None, back]);
    }

    #[test]
    fn a_filter_for_a_field_that_no_event_has_is_refused() {
        let checked = |filter: &str| check(&[filter.parse().unwrap()]).map_err(|error| error.to_string());
        for fine in ["container=web", "kind=lease-*", "NetworkId=n1", "detail="] {
            assert_eq!(checked(fine), Ok(()), "{fine}");
        }
        let refused = checked("contaner=web").unwrap_err();
        assert!(refused.contains("\"contaner\"") && refused.contains("container, "), "{refused}");
    }

    #[tokio::test]
    async fn who_follows_is_told_that_the_daemon_has_stopped() {
        use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let daemon = tokio::net::UnixListener::bind(&path).unwrap();
        let socket = path.to_str().unwrap();
        let crate::cli::Command::Events(options) = <crate::cli::Cli as clap::Parser>::parse_from([
            "landline",
            "events",
            "-f",
            "--control-socket",
            socket,
        ])
        .command
        else {
            panic!("another command");
        };
        let follows = tokio::spawn(async move { run(&options).await.map_err(|error| error.to_string()) });
        for answers in [true, false] {
            let mut stream = tokio::io::BufStream::new(daemon.accept().await.unwrap().0);
            stream.read_until(b'\n', &mut Vec::new()).await.unwrap();
            if answers {
                let answer = serde_json::to_string(&Answer::Events(Events::default())).unwrap();
                stream.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
        let ended = follows.await.unwrap().unwrap_err();
        assert!(ended.starts_with("the daemon stopped"), "{ended}");
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let event: EventRecord = serde_json::from_value(serde_json::json!({
            "number": "0", "kind": "conflict", "first_ms": 0, "at_ms": 1_500_000, "count": 3,
            "container": "we\nb", "network": "lan", "address": "192.0.2.7", "detail": "x\u{1b}[2J has it",
        }))
        .unwrap();
        let text = line(&event);
        assert!(text.contains(" conflict        lan        we\\nb"), "{text}");
        assert!(text.ends_with(" 192.0.2.7 x\\u001b[2J has it (3 times)"), "{text}");
        let nobody =
            EventRecord { container: None, network: None, address: None, detail: None, count: 1, ..event };
        assert!(line(&nobody).trim_end().ends_with("-          -"), "{}", line(&nobody));
    }

    #[test]
    fn events_of_newer_versions_are_read() {
        let event: EventRecord = serde_json::from_value(serde_json::json!({
            "number": "0", "kind": "eclipse", "first_ms": 0, "at_ms": 0, "count": 1, "more": true,
        }))
        .unwrap();
        assert_eq!(event.kind, EventKind::Unknown);
    }
}
