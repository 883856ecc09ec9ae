//! Putting right what others have changed while containers run.
//!
//! A bridge that is deleted and made anew (network managers do that) loses its ports; a port can be taken out by
//! hand. Both show as link events; the host's ends of the endpoints concerned are put back.

use std::collections::BTreeSet;
use std::sync::Weak;

use landline_kernel::{Link, LinkKind};
use landline_spec::{EndpointId, Mode};
use landline_types::IfName;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::blocking;
use crate::engine::Engine;
use crate::host::{Host, HostError, mark_of};
use crate::mark::End;
use crate::plan::Step;

/// Follows link events, and endpoints whose sandbox was not found, until the engine is gone.
pub(crate) async fn run(
    engine: Weak<Engine>,
    mut links: UnboundedReceiver<Link>,
    mut lost: UnboundedReceiver<EndpointId>,
) {
    loop {
        tokio::select! {
            Some(link) = links.recv() => {
                let Some(engine) = engine.upgrade() else { return };
                if engine.concerns(&link) {
                    // What came in the meantime is seen by the one look that follows.
                    while links.try_recv().is_ok() {}
                    engine.repair().await;
                }
            }
            Some(id) = lost.recv() => {
                let Some(engine) = engine.upgrade() else { return };
                engine.close_if_dead(&id).await;
            }
            else => return,
        }
    }
}

impl Engine {
    /// Whether the link is a host's end that is no port, or the bridge of a network.
    fn concerns(&self, link: &Link) -> bool {
        let stray = link.controller.is_none()
            && mark_of(link)
                .is_some_and(|mark| mark.end == End::Host && self.slot_if_known(&mark.endpoint).is_some());
        let bridge = matches!(link.kind, LinkKind::Bridge { .. })
            && self.networks().values().any(|n| n.options.parent == link.name);
        stray || bridge
    }

    /// Puts every host's end that is no port back into its bridge, if the bridge is there.
    async fn repair(&self) {
        let mut wanted = Vec::new();
        for endpoint in self.endpoints() {
            let options = endpoint.cell.options();
            if options.mode == Mode::Bridge {
                wanted.push((endpoint.cell.id().clone(), options.parent.clone()));
            }
        }
        let host = self.host.clone();
        match blocking(move || put_back(&*host, &wanted)).await {
            Ok(repaired) => {
                for endpoint in repaired.iter().filter_map(|id| self.slot_if_known(id)?.current()) {
                    if let Some(supervised) = &*endpoint.supervised() {
                        // It may be another LAN now.
                        supervised.reconnected();
                    }
                }
            }
            Err(error) => tracing::warn!(error = %crate::chain(&error), "links could not be put back"),
        }
    }
}

fn put_back(host: &dyn Host, wanted: &[(EndpointId, IfName)]) -> Result<BTreeSet<EndpointId>, HostError> {
    let links = host.links()?;
    let mut repaired = BTreeSet::new();
    for (id, bridge) in wanted {
        let bridge = links.iter().find(|l| l.name == *bridge && matches!(l.kind, LinkKind::Bridge { .. }));
        let end = links.iter().find(|l| mark_of(l).is_some_and(|m| m.endpoint == *id && m.end == End::Host));
        let (Some(bridge), Some(end)) = (bridge, end) else { continue };
        if end.controller == Some(bridge.index) {
            continue;
        }
        tracing::info!(link = %end.name, bridge = %bridge.name, "putting a link back into its bridge");
        host.apply(&Step::Enslave { link: end.name.clone(), bridge: bridge.name.clone() })?;
        host.apply(&Step::Up { link: end.name.clone() })?;
        repaired.insert(id.clone());
    }
    Ok(repaired)
}
