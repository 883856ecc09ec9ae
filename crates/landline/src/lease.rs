//! `landline lease`.

use crate::cli::LeaseCommand;
use crate::control::{Answer, Request, call};
use crate::output::CommandError;

/// Has leases renewed or given back.
pub(crate) async fn run(command: &LeaseCommand) -> Result<(), CommandError> {
    let (LeaseCommand::Renew { control, container, network }
    | LeaseCommand::Release { control, container, network }) = command;
    let (called, network) = (container.clone(), network.clone());
    let request = match command {
        LeaseCommand::Renew { .. } => Request::Renew { container: called, network },
        LeaseCommand::Release { .. } => Request::Release { container: called, network },
    };
    match call(&control.control_socket, &request).await? {
        Answer::Renewing(0) => Err(CommandError::NoSuch(container.clone())),
        Answer::Renewing(_) => Ok(()),
        _ => Err(CommandError::Unexpected),
    }
}
