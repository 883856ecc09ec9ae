//! `landline lease`.

use std::path::Path;

use crate::cli::LeaseCommand;
use crate::control::{Answer, Request, call};
use crate::inspect::why_nothing;
use crate::output::{CommandError, say};

/// Has leases renewed or given back.
pub(crate) async fn run(command: &LeaseCommand) -> Result<(), CommandError> {
    let (LeaseCommand::Renew { control, container, network }
    | LeaseCommand::Release { control, container, network }) = command;
    let (called, on) = (container.clone(), network.clone());
    let request = match command {
        LeaseCommand::Renew { .. } => Request::Renew { container: called, network: on },
        LeaseCommand::Release { .. } => Request::Release { container: called, network: on },
    };
    match call(&control.control_socket, &request).await? {
        Answer::Renewing(0) => Err(nothing(&control.control_socket, container, network.as_deref()).await),
        Answer::Renewing(leases) => {
            let s = if leases == 1 { "" } else { "s" };
            match command {
                LeaseCommand::Renew { .. } => {
                    say(format_args!(
                        "renewing {leases} lease{s} of {container}; landline ls shows the result"
                    ));
                }
                LeaseCommand::Release { .. } => {
                    say(format_args!("releasing {leases} lease{s} of {container}"));
                }
            }
            Ok(())
        }
        _ => Err(CommandError::Unexpected),
    }
}

/// Why there is no lease of what is called so, on that network if one was named.
async fn nothing(socket: &Path, container: &str, network: Option<&str>) -> CommandError {
    let inspect = Request::Inspect { target: container.to_owned() };
    match (network, call(socket, &inspect).await) {
        (Some(network), Ok(Answer::Inspected(found))) if !found.is_empty() => {
            CommandError::Elsewhere { container: container.to_owned(), network: network.to_owned() }
        }
        _ => why_nothing(socket, container).await,
    }
}
