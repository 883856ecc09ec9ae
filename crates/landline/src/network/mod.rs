//! `landline network`, and the networks that Docker no longer has.

mod lost;
mod missing;

use landline_engine::NetworkView;
use serde::{Deserialize, Serialize};

use crate::cli::NetworkCommand;
use crate::control::{Answer, Request, call};
use crate::ls::span;
use crate::output::{CommandError, dash, say, show, table};
pub(crate) use lost::Lost;

/// A network, and whether Docker has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NetworkRow {
    #[serde(flatten)]
    pub(crate) network: NetworkView,
    /// Whether Docker has it; `None`: the Docker API is unreachable.
    pub(crate) in_docker: Option<bool>,
    /// Seconds until a network that Docker does not have is removed.
    pub(crate) removed_in_s: Option<u64>,
}

/// Lists networks or forgets one.
pub(crate) async fn run(command: &NetworkCommand) -> Result<(), CommandError> {
    match command {
        NetworkCommand::Ls(options) => {
            let answer = call(&options.control.control_socket, &Request::Networks).await?;
            let Answer::Networks(networks) = answer else { return Err(CommandError::Unexpected) };
            show(&networks, options.json, |networks| {
                table(["NETWORK", "ID", "MODE", "PARENT", "IN DOCKER"], networks.iter().map(row))
            })
        }
        NetworkCommand::Forget { control, network } => {
            let request = Request::ForgetNetwork { network: network.clone() };
            match call(&control.control_socket, &request).await? {
                Answer::Done => {
                    say(format_args!("forgot network {network}"));
                    Ok(())
                }
                _ => Err(CommandError::Unexpected),
            }
        }
    }
}

fn row(row: &NetworkRow) -> [String; 5] {
    let NetworkRow { network, in_docker, removed_in_s } = row;
    let in_docker = match (in_docker, removed_in_s) {
        (None, _) => "unknown: the Docker API is unreachable".into(),
        (Some(true), _) => "yes".into(),
        (Some(false), None) => "not yet".into(),
        (Some(false), Some(left)) => format!("no, removed in {}", span(*left)),
    };
    [
        network.name.clone().unwrap_or_else(dash),
        network.id.chars().take(12).collect(),
        network.mode.clone(),
        network.parent.to_string(),
        in_docker,
    ]
}
