//! `landline identity`.

use landline_engine::IdentityView;

use crate::cli::IdentityCommand;
use crate::control::{Answer, Request, call};
use crate::output::{CommandError, dash, show, table};

/// Lists or forgets.
pub(crate) async fn run(command: &IdentityCommand) -> Result<(), CommandError> {
    match command {
        IdentityCommand::Ls(options) => {
            let answer = call(&options.control.control_socket, &Request::Identities).await?;
            let Answer::Identities(identities) = answer else { return Err(CommandError::Unexpected) };
            show(&identities, options.json, |identities| {
                let header = ["IDENTITY", "NETWORK", "CONTAINER", "KEY", "MAC", "LAST ADDRESS", "USE"];
                table(header, identities.iter().map(row))
            })
        }
        IdentityCommand::Forget { control, id } => {
            match call(&control.control_socket, &Request::Forget { id: id.clone() }).await? {
                Answer::Done => Ok(()),
                _ => Err(CommandError::Unexpected),
            }
        }
    }
}

fn row(identity: &IdentityView) -> [String; 7] {
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
        use_.into(),
    ]
}
