//! `landline network`, and the networks that Docker no longer has.

mod create;
mod detail;
mod lost;
mod missing;
mod propose;

use landline_engine::NetworkView;
use serde::{Deserialize, Serialize};

use crate::cli::{ControlOptions, ListOptions, LsOptions, NetworkCommand};
use crate::control::{Answer, Request, call};
use crate::listing::{Rows, list};
use crate::ls::span;
use crate::output::{CommandError, dash, say, table};
pub(crate) use detail::{NetworkDetail, detail};
pub(crate) use lost::Lost;

/// A network, and whether Docker has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRow {
    #[serde(flatten)]
    pub(crate) network: NetworkView,
    /// Whether Docker has it; `None`: the Docker API is unreachable.
    pub(crate) in_docker: Option<bool>,
    /// Seconds until a network that Docker does not have is removed.
    pub(crate) removed_in_s: Option<u64>,
}

/// Why a command about networks did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkCommandError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Create(#[from] create::CreateError),
}

/// Creates, lists, removes or forgets networks.
pub(crate) async fn run(command: &NetworkCommand) -> Result<(), NetworkCommandError> {
    match command {
        NetworkCommand::Create(options) => Ok(create::create(options).await?),
        NetworkCommand::Rm(options) => Ok(create::remove(options).await?),
        NetworkCommand::Inspect(options) => Ok(detail::inspect(options).await?),
        NetworkCommand::Ls(options) => Ok(ls(options).await?),
        NetworkCommand::Forget { control, network } => Ok(forget(control, network).await?),
    }
}

async fn ls(options: &LsOptions) -> Result<(), CommandError> {
    let answer = call(&options.control.control_socket, &Request::Networks).await?;
    let Answer::Networks(networks) = answer else { return Err(CommandError::Unexpected) };
    list(&networks, Rows::named(&["name", "id"]), &options.list, |networks| render(networks, &options.list))
}

pub(crate) fn render(networks: &[NetworkRow], options: &ListOptions) -> String {
    let rows = networks.iter().map(|network| row(network, options));
    table(["NETWORK", "ID", "MODE", "PARENT", "IN DOCKER"], rows)
}

async fn forget(control: &ControlOptions, network: &str) -> Result<(), CommandError> {
    let request = Request::ForgetNetwork { network: network.to_owned() };
    match call(&control.control_socket, &request).await? {
        Answer::Done => {
            say(format_args!("forgot network {network}"));
            Ok(())
        }
        _ => Err(CommandError::Unexpected),
    }
}

/// Whether Docker has it, in words.
fn in_docker(row: &NetworkRow) -> String {
    match (row.in_docker, row.removed_in_s) {
        (None, _) => "unknown: the Docker API is unreachable".into(),
        (Some(true), _) => "yes".into(),
        (Some(false), None) => "not yet".into(),
        (Some(false), Some(left)) => format!("no, removed in {}", span(left)),
    }
}

fn row(row: &NetworkRow, options: &ListOptions) -> [String; 5] {
    let network = &row.network;
    [
        network.name.clone().unwrap_or_else(dash),
        options.id(&network.id),
        network.mode.clone(),
        network.parent.to_string(),
        in_docker(row),
    ]
}
