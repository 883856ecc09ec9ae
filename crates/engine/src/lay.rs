//! Carrying out a link's plan until the link carries packets.

use std::sync::Arc;

use landline_types::IfName;

use crate::blocking;
use crate::host::{Host, HostError};
use crate::lease::Present;
use crate::plan::{Plan, Step};

/// Applies the plan, all of it or nothing, and returns the index of `link` once everything the plan has set up
/// carries packets. For a veth that means both ends: a bridge forwards nothing from a port whose end it has not
/// seen running, however ready the other end is.
pub(crate) async fn lay(
    host: &Arc<dyn Host>,
    present: &Present,
    plan: &Plan,
    link: IfName,
) -> Result<u32, HostError> {
    let (host, steps) = (host.clone(), plan.clone());
    let laid = blocking(move || {
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
    });
    let (index, ups) = laid.await?;
    present.clone().running(&ups).await;
    Ok(index)
}
