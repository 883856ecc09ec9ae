//! `landline host-access`.

mod router;
mod seen;

use std::sync::Arc;

use landline_host_access::{AccessState, AccessView, HostAccess};
use landline_options::{AccessRequest, ConfigFile};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::{EnableOptions, HostAccessCommand};
use crate::control::{Answer, Request, call};
use crate::listing::{Rows, list};
use crate::output::{CommandError, dash, say, show, table};
pub(crate) use seen::seen;

/// Why a command did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostAccessError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Router(#[from] router::RouterError),
}

/// Asks the daemon, or looks after one network without it.
pub(crate) async fn run(command: HostAccessCommand) -> Result<(), HostAccessError> {
    match command {
        HostAccessCommand::Enable(options) => Ok(enable(options).await?),
        HostAccessCommand::Disable { control, network } => {
            let done = format!("the host no longer has access to {network}");
            let request = Request::HostAccessDisable { network };
            match call(&control.control_socket, &request).await.map_err(CommandError::Call)? {
                Answer::Done => {
                    say(format_args!("{done}"));
                    Ok(())
                }
                _ => Err(CommandError::Unexpected.into()),
            }
        }
        HostAccessCommand::Ls(options) => {
            let answer = call(&options.control.control_socket, &Request::HostAccess).await;
            let Answer::HostAccess(views) = answer.map_err(CommandError::Call)? else {
                return Err(CommandError::Unexpected.into());
            };
            Ok(list(&views, Rows::named(&["network"]), &options.list, |views| render(views))?)
        }
        HostAccessCommand::Run(options) => Ok(router::run(options).await?),
    }
}

/// Tells host access which networks the configuration names, whenever it is read, until `cancel`.
pub(crate) async fn declare(
    access: Arc<HostAccess>,
    mut config: watch::Receiver<Arc<ConfigFile>>,
    cancel: CancellationToken,
) {
    loop {
        let networks = config.borrow_and_update().host_access.clone();
        access.declare(networks);
        match cancel.run_until_cancelled(config.changed()).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return,
        }
    }
}

pub(crate) fn render(views: &[AccessView]) -> String {
    let header = ["NETWORK", "DRIVER", "PARENT", "INTERFACE", "ADDRESS", "ROUTES", "CONTAINERS", "STATE"];
    table(header, views.iter().map(row))
}

async fn enable(options: EnableOptions) -> Result<(), CommandError> {
    let request = AccessRequest {
        network: options.network,
        addresses: options.addresses,
        routes: options.routes,
        interface: options.interface,
        loosen: options.loosen_rp_filter,
    };
    let socket = options.control.control_socket;
    let Answer::HostAccess(views) = call(&socket, &Request::HostAccessEnable { request }).await? else {
        return Err(CommandError::Unexpected);
    };
    for view in &views {
        let interface = view.interface.as_ref().map_or_else(dash, ToString::to_string);
        show(view, false, |view| {
            format!("the host reaches the containers of {} through {interface}", view.network)
        })?;
        for note in &view.notes {
            show(note, false, Clone::clone)?;
        }
    }
    Ok(())
}

fn row(view: &AccessView) -> [String; 8] {
    let name = |name: Option<&landline_types::IfName>| name.map_or_else(dash, ToString::to_string);
    let list = |texts: Vec<String>| if texts.is_empty() { dash() } else { texts.join(" ") };
    // One thing that is wrong is enough for a table; JSON has all.
    let broken = view.containers.iter().find(|container| container.state != AccessState::Ready);
    let state = match broken {
        Some(container) if view.state == AccessState::Ready => {
            format!("{}: {}", container.container.clone().unwrap_or_else(dash), container.state)
        }
        _ => view.state.to_string(),
    };
    [
        view.network.clone(),
        view.driver.clone().unwrap_or_else(dash),
        name(view.parent.as_ref()),
        name(view.interface.as_ref()),
        list(view.addresses.iter().map(ToString::to_string).collect()),
        list(view.routes.iter().map(ToString::to_string).collect()),
        view.containers.len().to_string(),
        state,
    ]
}
