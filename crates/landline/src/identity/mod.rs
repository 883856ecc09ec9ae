//! `landline identity`.

mod moving;
mod reservation;
mod site;

use std::io::{self, Read as _};
use std::process::ExitCode;

use landline_engine::{IdentityView, Reservation};
use landline_leases::clock::wall;
use landline_model::KnownBy;
use landline_options::IdentitySource;

use crate::cli::IdentityCommand;
use crate::control::{Answer, Request, call};
use crate::listing::{Rows, list};
use crate::ls::span;
use crate::output::{CommandError, dash, say, show, table};
pub(crate) use reservation::{Format, FormatError};
pub(crate) use site::{Site, SiteError};

/// The longest key that is read, in octets.
const MAX_KEY: u64 = 128;

/// Lists or forgets.
pub(crate) async fn run(command: &IdentityCommand) -> Result<ExitCode, CommandError> {
    let done = match command {
        IdentityCommand::Export { control } => moving::export(control).await,
        IdentityCommand::Import { control, file, json } => {
            return moving::import(control, file, *json).await;
        }
        IdentityCommand::Ls(options) => {
            let answer = call(&options.control.control_socket, &Request::Identities).await?;
            let Answer::Identities(identities) = answer else { return Err(CommandError::Unexpected) };
            list(&identities, Rows::named(&["id"]), &options.list, |identities| render(identities))
        }
        IdentityCommand::Of { control, name, network, format, ip } => {
            let request = Request::IdentityOf { name: name.clone(), network: network.clone() };
            let Answer::IdentityOf(reservation) = call(&control.control_socket, &request).await? else {
                return Err(CommandError::Unexpected);
            };
            // What is wrong with the format is known before anything is printed.
            let line = reservation::write(&reservation, *format, *ip)?;
            show::<Reservation>(&reservation, *format == Format::Json, |_| line)
        }
        IdentityCommand::Key { control, set: None } => {
            match call(&control.control_socket, &Request::SiteKey).await? {
                Answer::SiteKey(key) => show(&key, false, Clone::clone),
                _ => Err(CommandError::Unexpected),
            }
        }
        IdentityCommand::Key { control, set: Some(key) } => {
            let key = if key == "-" { from_input().map_err(CommandError::Read)? } else { key.clone() };
            match call(&control.control_socket, &Request::SetSiteKey { key }).await? {
                Answer::Done => {
                    say(format_args!("the site key was replaced"));
                    Ok(())
                }
                _ => Err(CommandError::Unexpected),
            }
        }
        IdentityCommand::Forget { control, id } => {
            match call(&control.control_socket, &Request::Forget { id: id.clone() }).await? {
                Answer::Done => {
                    say(format_args!("forgot identity {id}"));
                    Ok(())
                }
                _ => Err(CommandError::Unexpected),
            }
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

pub(crate) fn render(identities: &[IdentityView]) -> String {
    let header = ["IDENTITY", "NETWORK", "CONTAINER", "KEY", "MAC", "LAST ADDRESS", "AGE", "KNOWN BY", "USE"];
    let now = wall();
    table(header, identities.iter().map(|identity| row(identity, now)))
}

fn from_input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().take(MAX_KEY).read_to_string(&mut text)?;
    Ok(text)
}

fn row(identity: &IdentityView, now: u64) -> [String; 9] {
    let known_by = identity.known_by.map(KnownBy::as_str);
    let derived = (identity.source == IdentitySource::Derived).then_some("derived");
    let known_by: Vec<&str> = known_by.into_iter().chain(derived).collect();
    let use_ = match (identity.in_use, identity.temporary, identity.destroyed) {
        (true, true, _) => "now, for this run only",
        (true, false, _) => "now",
        (false, _, true) => "container removed",
        (false, _, false) => "waits for its container",
    };
    [
        identity.id.to_string(),
        identity.network.clone().unwrap_or_else(dash),
        identity.container.clone().unwrap_or_else(dash),
        identity.key.clone().unwrap_or_else(dash),
        identity.mac.to_string(),
        identity.address.map_or_else(dash, |a| a.to_string()),
        identity.made.map_or_else(dash, |made| span(now.saturating_sub(made))),
        if known_by.is_empty() { dash() } else { known_by.join(", ") },
        use_.into(),
    ]
}
