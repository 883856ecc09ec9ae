//! `landline bugreport`: the information for a bug report, in one text.

mod redact;

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use crate::cli::{BugreportOptions, ListOptions};
use crate::control::{Answer, Request, call};
use crate::output::{CommandError, say, shown};
use crate::{attach, doctor, host_access, identity, inspect, ls, nat, network, status};
use redact::{redact, without_secrets};

/// How long the daemon may take for one section, and the journal. A daemon that does not answer is what a report may be about.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many lines of the log are in a report.
const LOG_LINES: &str = "300";
/// How many endpoints are described in full.
const MOST: usize = 100;

/// Prints the report.
pub(crate) async fn run(options: &BugreportOptions) -> Result<(), CommandError> {
    let socket = &options.control.control_socket;
    let mut report = String::new();
    let mut add = |title: &str, text: &str| {
        let text = if text.trim().is_empty() { "nothing" } else { text.trim_end() };
        let _ = write!(report, "== {title} ==\n{text}\n\n");
    };
    add("versions", &versions());
    for (title, request) in [
        ("status", Request::Status),
        ("doctor", Request::Doctor { fix: false }),
        ("interfaces", Request::Ls),
        ("networks", Request::Networks),
        ("attachments", Request::Attachments),
        ("NAT addresses", Request::Nat),
        ("host access", Request::HostAccess),
        ("identities", Request::Identities),
    ] {
        add(title, &answered(socket, &request).await);
    }
    if let Ok(Ok(Answer::Ls(listing))) = tokio::time::timeout(PATIENCE, call(socket, &Request::Ls)).await {
        for endpoint in listing.endpoints.iter().take(MOST) {
            let request = Request::Inspect { target: endpoint.endpoint.clone() };
            add("inspect", &answered(socket, &request).await);
        }
    }
    add("configuration", &configuration(&options.config.config));
    add("log", &journal().await.unwrap_or_else(|error| format!("the journal cannot be read: {error}")));
    if options.redact {
        report = redact(&report);
    }
    say(format_args!("{}", report.trim_end()));
    Ok(())
}

/// What the daemon answers, as the command would print it.
async fn answered(socket: &Path, request: &Request) -> String {
    let answer = match tokio::time::timeout(PATIENCE, call(socket, request)).await {
        Ok(Ok(answer)) => shown(&answer).map_err(CommandError::Json),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => return format!("not available: the daemon did not answer within {PATIENCE:?}"),
    };
    match answer {
        Ok(answer) => text(&answer),
        Err(error) => format!("not available: {}", landline_types::chain(&error)),
    }
}

fn text(answer: &Answer) -> String {
    let options = ListOptions { no_trunc: true, ..ListOptions::default() };
    match answer {
        Answer::Status(status) => status::text(status),
        Answer::Doctor(report) => doctor::text(report),
        Answer::Ls(listing) => ls::render(listing, &options),
        Answer::Networks(networks) => network::render(networks, &options),
        Answer::Attachments(views) => attach::render(views),
        Answer::Nat(views) => nat::render(views),
        Answer::HostAccess(views) => host_access::render(views),
        Answer::Identities(identities) => identity::render(identities),
        Answer::Inspected(found) => found.iter().map(inspect::render).collect::<Vec<_>>().join("\n\n"),
        _ => String::new(),
    }
}

fn versions() -> String {
    let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let system = line("/etc/os-release");
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    format!(
        "landline {}\nkernel {} {}\nsystem {}",
        env!("CARGO_PKG_VERSION"),
        line("/proc/sys/kernel/osrelease").trim(),
        std::env::consts::ARCH,
        system.unwrap_or("unknown").trim_matches('"')
    )
}

fn configuration(path: &Path) -> String {
    match std::fs::read_to_string(path) {
        Ok(text) => format!("{}:\n{}", path.display(), without_secrets(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!("there is no {}", path.display()),
        Err(error) => format!("{} cannot be read: {error}", path.display()),
    }
}

/// The daemon's last lines. No socket gives them to others: journald's files are read by its own program.
async fn journal() -> io::Result<String> {
    let mut journal = Command::new("journalctl");
    journal
        .args(["--unit=landline", "--no-pager", "--output=short-iso", "--lines", LOG_LINES])
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, journal.output()).await;
    let output = output.map_err(|_| io::Error::other("journalctl took too long"))??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(io::Error::other(text(&output.stderr)))
    }
}
