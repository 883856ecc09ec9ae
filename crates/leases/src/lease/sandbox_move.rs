//! From the host into the sandbox: noticing that Docker has moved a link and set it up.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use landline_kernel::{Group, Monitor, Netns};
use landline_links::mark::Mark;
use landline_links::{LinkTable, Sandbox, SandboxError, blocking};

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
#[derive(Debug, Clone)]
pub struct SandboxMove {
    /// The host's links.
    pub present: LinkTable,
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
pub async fn wait_for_move(motion: SandboxMove) -> MoveOutcome {
    if let Some(index) = motion.index {
        motion.present.clone().gone(index).await;
    }
    match tokio::time::timeout(SET_UP, set_up(&motion)).await {
        Ok(Ok(arrival)) => arrival,
        Ok(Err(error)) => {
            tracing::warn!(error = %landline_types::chain(&error), "cannot see whether a link was set up");
            MoveOutcome::Late
        }
        Err(_) => MoveOutcome::Late,
    }
}

async fn set_up(motion: &SandboxMove) -> Result<MoveOutcome, SandboxError> {
    let mut events: Option<Monitor> = None;
    loop {
        let (look, listen) = (motion.clone(), events.is_none());
        let Some(seen) = blocking(move || observe(&look, listen)).await? else {
            return Ok(MoveOutcome::Gone);
        };
        if seen.ready {
            return Ok(MoveOutcome::Ready);
        }
        // The events begin before the look that found it not ready, so nothing falls in between.
        if let Some(monitor) = seen.events {
            events = Some(monitor);
        }
        if let Some(monitor) = &mut events {
            monitor.next().await;
        }
    }
}

struct Seen {
    ready: bool,
    events: Option<Monitor>,
}

/// Looks at the link in the sandbox; with `listen` it subscribes to the sandbox's events first.
fn observe(motion: &SandboxMove, listen: bool) -> Result<Option<Seen>, SandboxError> {
    let open = |netns: &Netns| {
        let opened = listen.then(|| Monitor::open_in(netns, &[Group::Links, Group::Addresses])).transpose();
        opened.map_err(|source| SandboxError::Open { path: motion.sandbox.clone(), source })
    };
    let Some(sandbox) = Sandbox::enter(&motion.sandbox, &motion.mark)? else { return Ok(None) };
    let events = open(&sandbox.netns)?;
    // What was seen while entering may be older than the events.
    let Some(mut sandbox) = Sandbox::enter(&motion.sandbox, &motion.mark)? else { return Ok(None) };
    sandbox.quiet_v6(motion.own_v6);
    let addressed = match motion.address {
        Some(address) => sandbox.has_address(address)?,
        None => true,
    };
    Ok(Some(Seen { ready: sandbox.link.up && addressed, events }))
}
