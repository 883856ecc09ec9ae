//! Carrying out a link's plan until the link carries packets.

use std::sync::Arc;
use std::time::Duration;

use landline_types::IfName;
use tokio::time::Instant;

use crate::blocking;
use crate::host::{Host, HostError};
use crate::link_table::LinkTable;
use crate::plan::{Plan, Step};

/// How long the kernel may take over the end of a sandbox. Until then a link in it keeps its hardware address from
/// any other on the same NIC.
const LINGER: Duration = Duration::from_secs(3);

/// The first pause before the next attempt; it doubles. No event tells of links in other namespaces.
const PAUSE: Duration = Duration::from_millis(10);

/// Applies the plan, all of it or nothing, and returns the index of `link` once everything the plan has set up
/// carries packets. For a veth that means both ends: a bridge forwards nothing from a port whose end it has not
/// seen running, however ready the other end is.
pub async fn apply_and_wait_for_carrier(
    host: &Arc<dyn Host>,
    link_table: &LinkTable,
    plan: &Plan,
    link: IfName,
) -> Result<u32, HostError> {
    let deadline = Instant::now() + LINGER;
    let mut pause = PAUSE;
    let (index, ups) = loop {
        match apply(host, plan, link.clone()).await {
            Err(HostError::Netlink(error)) if error.addr_in_use() && Instant::now() + pause < deadline => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            laid => break laid?,
        }
    };
    link_table.clone().running(&ups).await;
    Ok(index)
}

/// Applies the plan, all of it or nothing: the index of `link` and those of all that was set up.
async fn apply(host: &Arc<dyn Host>, plan: &Plan, link: IfName) -> Result<(u32, Vec<u32>), HostError> {
    let (host, steps) = (host.clone(), plan.clone());
    blocking(move || {
        steps.apply(&*host)?;
        let index = |name: &IfName| match host.link(name)? {
            Some(found) => Ok(found.index),
            None => Err(HostError::NoLink(name.clone())),
        };
        let ups = steps.steps.iter().filter_map(|step| match step {
            Step::Up { link } => Some(index(link)),
            _ => None,
        });
        let all = ups.collect::<Result<Vec<u32>, HostError>>();
        all.and_then(|ups| Ok((index(&link)?, ups))).inspect_err(|_| steps.undo(&*host))
    })
    .await
}
