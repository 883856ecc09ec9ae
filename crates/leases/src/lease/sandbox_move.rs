//! From the host into the sandbox: noticing that Docker has moved a link and set it up.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use landline_links::mark::Mark;
use landline_links::{LinkTable, SandboxError, Sandboxes, blocking};

/// How long Docker may take from moving a link to having it up and addressed. It is a matter of milliseconds, of many seconds
/// on a machine that is overwhelmed, and an address it finds there already fails its start. After this the lease is
/// supervised as it is.
const SET_UP: Duration = Duration::from_mins(1);

/// How a move ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveOutcome {
    /// The link is in the sandbox, up, with its address.
    Ready,
    /// The link is in the sandbox but was not set up in time.
    Late,
    /// The link is neither here nor there.
    Gone,
}

/// What is being waited for.
#[derive(Clone)]
pub struct SandboxMove {
    /// The host's links.
    pub link_table: LinkTable,
    /// Where sandboxes are.
    pub sandboxes: Arc<dyn Sandboxes>,
    /// The link's index on the host; `None` if it has left already.
    pub index: Option<u32>,
    /// Where the link is to arrive.
    pub sandbox: PathBuf,
    /// The link's mark.
    pub mark: Mark,
    /// The address Docker will put on it, if any.
    pub address: Option<IpAddr>,
    /// Whether all IPv6 addresses on it are to be Landline's.
    pub own_v6: bool,
}

/// Waits until the link is gone from the host and ready in its sandbox. While it waits inside the sandbox it
/// holds the namespace; dropping the future lets go.
pub async fn wait_for_move(link_move: SandboxMove) -> MoveOutcome {
    if let Some(index) = link_move.index {
        link_move.link_table.clone().gone(index).await;
    }
    match tokio::time::timeout(SET_UP, set_up(&link_move)).await {
        Ok(Ok(arrival)) => arrival,
        Ok(Err(error)) => {
            tracing::warn!(error = %landline_types::chain(&error), "cannot see whether a link was set up");
            MoveOutcome::Late
        }
        Err(_) => MoveOutcome::Late,
    }
}

async fn set_up(link_move: &SandboxMove) -> Result<MoveOutcome, SandboxError> {
    let (sandboxes, path) = (link_move.sandboxes.clone(), link_move.sandbox.clone());
    // The events begin before the first look, so nothing falls in between.
    let Some(mut changes) = blocking(move || sandboxes.follow(&path)).await? else {
        return Ok(MoveOutcome::Gone);
    };
    loop {
        let look = link_move.clone();
        match blocking(move || is_ready(&look)).await? {
            None => return Ok(MoveOutcome::Gone),
            Some(true) => return Ok(MoveOutcome::Ready),
            Some(false) => changes.next().await,
        }
    }
}

/// Looks at the link in the sandbox. `None`: it is not there.
fn is_ready(link_move: &SandboxMove) -> Result<Option<bool>, SandboxError> {
    let Some(mut inside) = link_move.sandboxes.enter(&link_move.sandbox, &link_move.mark)? else {
        return Ok(None);
    };
    inside.quiet_v6(link_move.own_v6);
    let addressed = match link_move.address {
        Some(address) => inside.addresses()?.iter().any(|net| net.addr() == address),
        None => true,
    };
    Ok(Some(inside.link().up && addressed))
}
