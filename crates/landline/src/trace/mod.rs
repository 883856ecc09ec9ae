//! `landline trace`: what an endpoint's clients said and heard on the LAN.

mod describe;
mod hex;
mod pcap;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use landline_types::Shown;
use serde::{Deserialize, Serialize};

use crate::cli::TraceOptions;
use crate::control::{Answer, Context, Request, call};
use crate::inspect::why_nothing;
use crate::output::{CommandError, page, say};
use crate::wait::is_attached_to;
use pcap::Pcap;

/// A message of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Its number; the messages of all endpoints are counted together.
    number: u64,
    /// When it was sent or received, in microseconds since 1970.
    at_us: u64,
    /// Whether the endpoint sent it.
    sent: bool,
    /// The endpoint's network.
    network: Option<String>,
    /// What it says.
    says: String,
    /// The Ethernet frame.
    #[serde(with = "hex")]
    frame: Vec<u8>,
}

/// Why a trace was not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Prints the last messages, and with `--follow` those to come.
pub(crate) async fn run(options: &TraceOptions) -> Result<(), TraceError> {
    let socket = &options.control.control_socket;
    let write = |path: &PathBuf| {
        let path = path.clone();
        move |source| TraceError::Write { path, source }
    };
    let mut file = match &options.pcap {
        Some(path) => Some((Pcap::create(path).map_err(write(path))?, path)),
        None => None,
    };
    let (mut after, mut follow) = (0, false);
    loop {
        let request = Request::Trace { target: options.target.clone(), after, follow };
        let messages = match call(socket, &request).await.map_err(CommandError::Call)? {
            Answer::Traced(Some(messages)) => messages,
            Answer::Traced(None) => return Err(why_nothing(socket, &options.target).await.into()),
            _ => return Err(CommandError::Unexpected.into()),
        };
        for message in &messages {
            after = after.max(message.number);
            if let Some((file, path)) = &mut file {
                file.add(message).map_err(write(path))?;
                continue;
            }
            let text = if options.json { json(message)? } else { line(message) };
            match page(format!("{text}\n").as_bytes()) {
                Ok(()) => {}
                // Nobody reads on.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(CommandError::Print(error).into()),
            }
        }
        if !options.follow {
            if let (Some((_, path)), count) = (&file, messages.len()) {
                say(format_args!("wrote {count} messages to {}", path.display()));
            }
            return Ok(());
        }
        follow = true;
    }
}

fn json(message: &Message) -> Result<String, CommandError> {
    let text = serde_json::to_string(message).map_err(CommandError::Json)?;
    Ok(Shown(text).to_string())
}

fn line(message: &Message) -> String {
    let at =
        landline_kernel::local_time(UNIX_EPOCH + Duration::from_micros(message.at_us)).unwrap_or_default();
    // The time of day to the millisecond: what is kept is minutes or days old.
    let at: String = at.chars().take(23).collect();
    let (arrow, network) =
        (if message.sent { "->" } else { "<-" }, message.network.as_deref().unwrap_or("-"));
    format!("{} {} {arrow} {}", at.replace('T', " "), Shown(network), Shown(&message.says))
}

/// The daemon's side; with `follow` it answers once there is a message after that number. `None`: there is no such endpoint.
pub(crate) async fn trace(context: &Context, target: &str, after: u64, follow: bool) -> Option<Vec<Message>> {
    let mut latest = context.parts.shared.services.traces.latest();
    loop {
        latest.mark_unchanged();
        let messages = look(context, target, after).await?;
        if !messages.is_empty() || !follow {
            return Some(messages);
        }
        if latest.changed().await.is_err() {
            return Some(messages);
        }
    }
}

async fn look(context: &Context, target: &str, after: u64) -> Option<Vec<Message>> {
    let engine = &context.parts.engine;
    let views = engine.views_of(target, is_attached_to(context, target)).await;
    if views.is_empty() {
        return None;
    }
    let mut messages: Vec<Message> = Vec::new();
    for view in views {
        let (Ok(endpoint), Ok(network)) = (view.endpoint.parse(), view.network_id.parse()) else { continue };
        let Some(parent) = engine.networks().get(&network).map(|network| network.options.parent.clone())
        else {
            continue;
        };
        let traced = context.parts.shared.services.traces.of(&endpoint, &parent, after);
        messages.extend(traced.into_iter().map(|traced| Message {
            number: traced.number,
            at_us: u64::try_from(traced.at.as_micros()).unwrap_or(u64::MAX),
            sent: traced.sent,
            network: view.network.clone(),
            says: describe::frame(&traced.frame),
            frame: traced.frame,
        }));
    }
    messages.sort_by_key(|message| message.number);
    Some(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        let message = Message {
            at_us: 1_500_000,
            sent: true,
            network: Some("lan".into()),
            says: "DHCP REQUEST host-name=x\ny".into(),
            ..Message::default()
        };
        let text = line(&message);
        assert!(text.ends_with(" lan -> DHCP REQUEST host-name=x\\ny"), "{text}");
        assert_eq!(text.find(" lan"), Some(23), "{text}");
        assert!(line(&Message::default()).contains(" - <- "));
    }
}
