//! `landline lease`.

use crate::cli::LeaseCommand;
use crate::control::{Answer, Request, call};
use crate::output::CommandError;

/// Has leases renewed.
pub(crate) async fn run(command: &LeaseCommand) -> Result<(), CommandError> {
    let LeaseCommand::Renew { control, container, network } = command;
    let request = Request::Renew { container: container.clone(), network: network.clone() };
    match call(&control.control_socket, &request).await? {
        Answer::Renewing(0) => Err(CommandError::NoSuch(container.clone())),
        Answer::Renewing(_) => Ok(()),
        _ => Err(CommandError::Unexpected),
    }
}
