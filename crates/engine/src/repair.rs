//! Putting right what others have changed while containers run.
//!
//! A bridge that is deleted and made anew (network managers do that) loses its ports; a port can be taken out by
//! hand; the macvlan children of a NIC go with it. All of it shows as link events, or at the next start: bridges of our own
//! are made again, the host's ends are put back, and so are links that are gone from living sandboxes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;

use landline_kernel::Link;
use landline_spec::{EndpointId, Mode, NetworkOptions};
use landline_types::IfName;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::blocking;
use crate::engine::Engine;
use crate::host::{Host, HostError, mark_of};
use crate::lease::{Orders, Seen};
use crate::links::check_vlan;
use crate::mark::End;
use crate::plan::Step;

/// Follows link events, and endpoints whose sandbox was not found, until the engine is gone.
pub(crate) async fn run(
    engine: Weak<Engine>,
    mut links: UnboundedReceiver<Seen>,
    mut lost: UnboundedReceiver<EndpointId>,
) {
    let mut parents = Parents::default();
    // What happened while nobody followed the events.
    if let Some(engine) = engine.upgrade() {
        engine.repair_all(&mut parents).await;
    }
    loop {
        tokio::select! {
            Some(first) = links.recv() => {
                let Some(engine) = engine.upgrade() else { return };
                let more = std::iter::from_fn(|| links.try_recv().ok());
                let (mut present, mut gone, mut overrun) = (Vec::new(), BTreeSet::new(), false);
                for seen in std::iter::once(first).chain(more) {
                    match seen {
                        Seen::Link(link) => present.push(*link),
                        Seen::Gone(name) => drop(gone.insert(name)),
                        Seen::Lost => overrun = true,
                    }
                }
                if overrun || engine.made_one_of(&gone) {
                    engine.reopen_privates().await;
                    engine.reopen_switches().await;
                }
                if overrun {
                    engine.repair_all(&mut parents).await;
                } else {
                    engine.repair(&mut parents, &present).await;
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

/// Which links the parents of networks were when they were last seen up.
#[derive(Default)]
struct Parents(BTreeMap<IfName, u32>);

impl Parents {
    /// The parents that are up and were not, or were other links, before these events.
    fn back(&mut self, engine: &Engine, events: &[Link]) -> BTreeSet<IfName> {
        let used: BTreeSet<IfName> = engine.networks().values().map(|n| n.options.parent.clone()).collect();
        let up = events.iter().filter(|link| link.up && used.contains(&link.name));
        up.filter(|link| self.0.insert(link.name.clone(), link.index) != Some(link.index))
            .map(|link| link.name.clone())
            .collect()
    }
}

impl Engine {
    /// Repairs whatever is broken.
    async fn repair_all(&self, parents: &mut Parents) {
        let host = self.host.clone();
        match blocking(move || host.links()).await {
            Ok(present) => self.repair(parents, &present).await,
            Err(error) => tracing::warn!(error = %crate::chain(&error), "the host's links cannot be listed"),
        }
    }

    /// Repairs what may be broken when these links are as they are now.
    async fn repair(&self, parents: &mut Parents, links: &[Link]) {
        self.nics_are_up(links).await;
        self.cards_back().await;
        let back = parents.back(self, links);
        if !back.is_empty() || links.iter().any(|link| self.is_stray(link)) {
            self.put_ports_back().await;
        }
        for parent in back {
            self.make_again(&parent).await;
        }
    }

    /// Whether one of these links is a network's that made its bridge itself.
    fn made_one_of(&self, links: &BTreeSet<IfName>) -> bool {
        let networks = self.networks();
        let mut own = networks.values().filter(|n| matches!(n.options.mode, Mode::Nat | Mode::Vde));
        own.any(|network| links.contains(&network.options.parent))
    }

    /// Whether the link is a host's end of ours that is no port.
    fn is_stray(&self, link: &Link) -> bool {
        let ours = |mark: crate::mark::Mark| mark.end == End::Host && self.knows(&mark.endpoint);
        link.controller.is_none() && mark_of(link).is_some_and(ours)
    }

    /// Puts every host's end that is no port back into its bridge, if the bridge is there.
    async fn put_ports_back(&self) {
        let bridged = self
            .endpoints()
            .into_iter()
            .filter(|e| matches!(e.cell.options().mode, Mode::Bridge | Mode::Vde | Mode::Nat));
        let wanted: Vec<_> = bridged.map(|e| (e.cell.id().clone(), e.cell.options().clone())).collect();
        let host = self.host.clone();
        match blocking(move || put_back(&*host, &wanted)).await {
            Ok(repaired) => {
                for endpoint in repaired.iter().filter_map(|id| self.slot_if_known(id)?.current()) {
                    // It may be another LAN now.
                    endpoint.tasks().iter().for_each(Orders::reconnected);
                }
            }
            Err(error) => tracing::warn!(error = %crate::chain(&error), "links could not be put back"),
        }
    }

    /// Makes the links on this parent that are gone from living sandboxes again.
    async fn make_again(&self, parent: &IfName) {
        for endpoint in self.endpoints() {
            if endpoint.cell.options().parent == *parent
                && let Err(error) = self.make_link_again(&endpoint).await
            {
                let endpoint = endpoint.cell.id().short();
                tracing::warn!(endpoint, error = %crate::chain(&error), "a link could not be made again");
            }
        }
    }
}

fn put_back(
    host: &dyn Host,
    wanted: &[(EndpointId, NetworkOptions)],
) -> Result<BTreeSet<EndpointId>, HostError> {
    let links = host.links()?;
    let mut repaired = BTreeSet::new();
    for (id, options) in wanted {
        let bridge = links
            .iter()
            .find(|l| l.name == options.parent && matches!(l.kind, landline_kernel::LinkKind::Bridge { .. }));
        let end = links.iter().find(|l| mark_of(l).is_some_and(|m| m.endpoint == *id && m.end == End::Host));
        let (Some(bridge), Some(end)) = (bridge, end) else { continue };
        if end.controller == Some(bridge.index) {
            continue;
        }
        if let Err(error) = check_vlan(options, bridge) {
            tracing::warn!(link = %end.name, %error, "a link is not put back");
            continue;
        }
        tracing::info!(link = %end.name, bridge = %bridge.name, "putting a link back into its bridge");
        host.apply(&Step::Enslave { link: end.name.clone(), bridge: bridge.name.clone() })?;
        if let Some(vlan) = options.vlan {
            host.apply(&Step::PortVlan { port: end.name.clone(), id: vlan.get() })?;
        }
        host.apply(&Step::Up { link: end.name.clone() })?;
        repaired.insert(id.clone());
    }
    Ok(repaired)
}
