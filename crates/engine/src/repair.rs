//! Putting right what others have changed while containers run.
//!
//! A bridge that is deleted and recreated (network managers do that) loses its ports; a port can be taken out or set down
//! by hand; the macvlan children of a NIC go with it. All of it shows as link events, or at the next start: bridges of our
//! own are made again, the host's ends are put back and set up, and so are links that are gone from living sandboxes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use landline_kernel::Link;
use landline_leases::{Happened, Inventory, Orders};
use landline_links::mark::{End, Mark};
use landline_links::{
    Host, HostEnd, HostError, LinkEvents, ParentIs, Pending, Step, VlanBy, blocking, check_vlan, facts_of,
    leads_over, mark_of,
};
use landline_model::EventKind;
use landline_options::{EndpointId, NetworkOptions};
use landline_types::IfName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::carrier::Carriers;
use crate::engine::{Endpoint, Engine};
use crate::reconcile::count;

/// Follows link events, and endpoints whose sandbox was not found, until `cancel`.
pub(crate) async fn run(
    engine: Arc<Engine>,
    links: Arc<Pending<LinkEvents>>,
    mut inventory: watch::Receiver<Inventory>,
    cancel: CancellationToken,
) {
    let (mut parents, mut carriers, mut looked_for) =
        (Parents::default(), Carriers::default(), LookedFor::default());
    // What happened while nobody followed the events.
    engine.repair_all(&mut parents, &mut carriers).await;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            LinkEvents { present, gone, overrun } = links.take() => {
                let present: Vec<Link> = present.into_values().collect();
                if overrun || engine.made_one_of(&gone) {
                    engine.reopen_own_bridges().await;
                }
                if overrun {
                    engine.repair_all(&mut parents, &mut carriers).await;
                } else {
                    engine.repair(&mut parents, &present).await;
                    engine.ask_over(&carriers.back(&present, false)).await;
                }
            }
            Ok(()) = inventory.changed() => {
                let lost = looked_for.lost(&inventory.borrow_and_update());
                for id in lost {
                    engine.close_if_dead(&id).await;
                }
            }
        }
    }
}

/// How often each endpoint's sandbox had been lost when it was last looked for.
#[derive(Default)]
struct LookedFor(BTreeMap<EndpointId, u64>);

impl LookedFor {
    /// The endpoints whose sandbox was lost since then.
    fn lost(&mut self, inventory: &Inventory) -> Vec<EndpointId> {
        self.0.retain(|id, _| inventory.endpoints.contains_key(id));
        let lost = inventory.endpoints.iter().filter(|(_, present)| present.lost > 0);
        lost.filter(|(id, present)| self.0.insert((*id).clone(), present.lost) != Some(present.lost))
            .map(|(id, _)| id.clone())
            .collect()
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
    async fn repair_all(&self, parents: &mut Parents, carriers: &mut Carriers) {
        let host = self.host.clone();
        match blocking(move || host.links()).await {
            Ok(present) => {
                self.repair(parents, &present).await;
                self.ask_over(&carriers.back(&present, true)).await;
            }
            Err(error) => {
                tracing::warn!(error = %landline_types::chain(&error), "the host's links cannot be listed");
            }
        }
    }

    /// Repairs what may be broken when these links are as they are now.
    async fn repair(&self, parents: &mut Parents, links: &[Link]) {
        self.nics_are_up(links).await;
        let back = parents.back(self, links);
        if !back.is_empty() || links.iter().any(|link| self.is_stray(link)) {
            self.put_ports_back().await;
        }
        if !back.is_empty() || links.iter().any(is_foreign_port) {
            self.parents.keep_bridge_macs().await;
        }
        for parent in back {
            self.make_again(&parent).await;
        }
    }

    /// Has those endpoints ask again whose packets get onto the LAN by these links, which carry packets again.
    async fn ask_over(&self, back: &[&Link]) {
        if back.is_empty() {
            return;
        }
        let host = self.host.clone();
        let Ok(links) = blocking(move || host.links()).await else { return };
        for endpoint in self.endpoints() {
            let (mark, options) = (Mark::new(endpoint.state.id(), End::Host), endpoint.state.options());
            if back.iter().any(|link| leads_over(link, &mark, options, &links)) {
                tracing::debug!(endpoint = %endpoint.state.id().short(), "the link is up: asking again");
                endpoint.tasks().iter().for_each(Orders::link_up);
            }
        }
    }

    /// Whether one of these links is a network's that made its bridge itself.
    fn made_one_of(&self, links: &BTreeSet<IfName>) -> bool {
        let networks = self.networks();
        let mut own = networks.values().filter(|n| facts_of(n.options.mode).parent == ParentIs::OwnBridge);
        own.any(|network| links.contains(&network.options.parent))
    }

    /// Whether the link is a host's end of ours that is no port, or is down.
    fn is_stray(&self, link: &Link) -> bool {
        let ours = |mark: Mark| mark.end == End::Host && self.knows(&mark.endpoint);
        (link.controller.is_none() || !link.up) && mark_of(link).is_some_and(ours)
    }

    /// Puts every host's end that is no port back into its bridge, if the bridge is there, and sets up those that are
    /// down.
    async fn put_ports_back(&self) {
        let ended = |e: &Arc<Endpoint>| facts_of(e.state.options().mode).host_end != HostEnd::None;
        let ended = self.endpoints().into_iter().filter(ended);
        let wanted: Vec<_> = ended.map(|e| (e.state.id().clone(), e.state.options().clone())).collect();
        let host = self.host.clone();
        match blocking(move || put_back(&*host, &wanted)).await {
            Ok(repaired) => {
                let count = u64::try_from(repaired.len()).unwrap_or_default();
                self.services.meters.reconciled.repaired.fetch_add(count, Ordering::Relaxed);
                for endpoint in repaired.iter().filter_map(|id| self.slot_if_known(id)?.current()) {
                    self.repaired(&endpoint, "its link was put back on the bridge or switch, or set up");
                    endpoint.reconnected();
                }
            }
            Err(error) => {
                tracing::warn!(error = %landline_types::chain(&error), "links could not be put back");
            }
        }
    }

    /// Something of an endpoint was put right.
    pub(crate) fn repaired(&self, endpoint: &Endpoint, how: &str) {
        let happened = Happened::new(EventKind::Repaired).to(endpoint.state.id(), endpoint.state.network());
        self.services.history.note(happened.because(how));
    }

    /// Makes the links on this parent that are gone from living sandboxes again.
    async fn make_again(&self, parent: &IfName) {
        for endpoint in self.endpoints() {
            if endpoint.state.options().parent == *parent
                && let Err(error) = self.make_link_again(&endpoint).await
            {
                let endpoint = endpoint.state.id().short();
                count(&self.services.meters.reconciled.failed);
                tracing::warn!(endpoint, error = %landline_types::chain(&error), "a link could not be made again");
            }
        }
    }
}

/// Whether the link is a port that is not ours.
fn is_foreign_port(link: &Link) -> bool {
    link.controller.is_some() && mark_of(link).is_none()
}

/// What keeps a host's end from carrying packets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fallen {
    /// It is not in its bridge.
    Out(IfName),
    /// It is down.
    Down,
}

/// Whether an endpoint's end on the host is as it should be, as far as can be mended here. Open vSwitch's ports are put
/// back by what follows its database.
fn fallen(end: &Link, options: &NetworkOptions, links: &[Link]) -> Option<Fallen> {
    let facts = facts_of(options.mode);
    if facts.host_routes() {
        return (!end.up).then_some(Fallen::Down);
    }
    let bridge = links
        .iter()
        .find(|l| l.name == options.parent && matches!(l.kind, landline_kernel::LinkKind::Bridge { .. }));
    match bridge {
        Some(bridge) if end.controller != Some(bridge.index) => Some(Fallen::Out(bridge.name.clone())),
        Some(_) if !end.up => Some(Fallen::Down),
        None if facts.host_end == HostEnd::SwitchPort && !end.up => Some(Fallen::Down),
        _ => None,
    }
}

/// What puts it back. A port is in its VLAN before it is up.
fn steps_back(end: &IfName, options: &NetworkOptions, fallen: Fallen) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Fallen::Out(bridge) = fallen {
        steps.push(Step::SetController { link: end.clone(), bridge });
    }
    if let Some(vlan) = options.vlan.filter(|_| facts_of(options.mode).vlan == VlanBy::Filter) {
        steps.push(Step::PortVlan { port: end.clone(), id: vlan.get() });
    }
    steps.push(Step::Up { link: end.clone() });
    steps
}

fn put_back(
    host: &dyn Host,
    wanted: &[(EndpointId, NetworkOptions)],
) -> Result<BTreeSet<EndpointId>, HostError> {
    let links = host.links()?;
    let mut repaired = BTreeSet::new();
    for (id, options) in wanted {
        let end = links.iter().find(|l| mark_of(l).is_some_and(|m| m.endpoint == *id && m.end == End::Host));
        let Some((end, what)) = end.and_then(|end| Some((end, fallen(end, options, &links)?))) else {
            continue;
        };
        let parent = links.iter().find(|link| link.name == options.parent);
        if let Some(Err(error)) = parent.map(|parent| check_vlan(options, parent)) {
            tracing::warn!(link = %end.name, %error, "a link is not put back");
            continue;
        }
        match &what {
            Fallen::Out(bridge) => {
                tracing::info!(link = %end.name, %bridge, "putting a link back into its bridge");
            }
            Fallen::Down => tracing::info!(link = %end.name, "setting a link up again"),
        }
        match steps_back(&end.name, options, what).iter().try_for_each(|step| host.apply(step)) {
            Ok(()) => {
                repaired.insert(id.clone());
            }
            // The others are put back all the same.
            Err(error) => {
                let error = landline_types::chain(&error);
                tracing::warn!(link = %end.name, %error, "a link could not be put back");
            }
        }
    }
    Ok(repaired)
}

#[cfg(test)]
mod tests {
    use landline_kernel::LinkKind;
    use landline_links::fake::{FakeHost, link};

    use super::*;
    use landline_options::Mode;

    #[test]
    fn one_port_that_cannot_be_put_back_stops_no_other() {
        let [first, second] = ["a", "b"].map(|id| id.repeat(64).parse::<EndpointId>().unwrap());
        let port = |index, id: &EndpointId| {
            let mark = Mark::new(id, End::Host);
            let alias = Some(mark.to_string());
            let port = link(index, mark.link_name().as_str(), LinkKind::Veth);
            Link { alias, controller: Some(3), up: false, ..port }
        };
        let bridge = link(3, "br0", LinkKind::Bridge { vlan_filtering: false });
        let host = FakeHost::with(vec![bridge, port(4, &first), port(5, &second)]);
        host.fail_at(Some(0));
        let options = NetworkOptions::new("br0".parse().unwrap());
        let wanted = [&first, &second].map(|id| (id.clone(), options.clone()));
        assert_eq!(put_back(&host, &wanted).unwrap(), BTreeSet::from([second]));
    }

    #[test]
    fn a_port_is_in_its_bridge_and_up() {
        let bridge = link(3, "br0", LinkKind::Bridge { vlan_filtering: true });
        let options = NetworkOptions {
            vlan: Some(12.try_into().unwrap()),
            ..NetworkOptions::new("br0".parse().unwrap())
        };
        let port = Link { controller: Some(3), ..link(4, "llh0", LinkKind::Veth) };
        let is = |port: &Link| fallen(port, &options, std::slice::from_ref(&bridge));
        assert_eq!(is(&port), None);
        let down = Link { up: false, ..port.clone() };
        assert_eq!(is(&down), Some(Fallen::Down));
        let out = Link { controller: None, ..down.clone() };
        assert_eq!(is(&out), Some(Fallen::Out(bridge.name.clone())));
        assert_eq!(fallen(&out, &options, &[]), None, "there is no bridge to put it in");

        let vlan = Step::PortVlan { port: port.name.clone(), id: 12 };
        let up = Step::Up { link: port.name.clone() };
        assert_eq!(steps_back(&port.name, &options, Fallen::Down), [vlan.clone(), up.clone()]);
        let steps = steps_back(&port.name, &options, Fallen::Out(bridge.name.clone()));
        assert_eq!(steps[1..], [vlan, up], "never up in another VLAN");
    }

    #[test]
    fn the_end_of_a_link_that_the_host_routes_to_is_up_and_in_no_bridge() {
        let options = NetworkOptions { mode: Mode::Routed, ..NetworkOptions::new("br0".parse().unwrap()) };
        let bridge = [link(3, "br0", LinkKind::Bridge { vlan_filtering: false })];
        let end = link(4, "llh0", LinkKind::Veth);
        assert_eq!(fallen(&end, &options, &bridge), None, "it is no port of its parent");
        assert_eq!(fallen(&Link { up: false, ..end }, &options, &bridge), Some(Fallen::Down));
    }

    #[test]
    fn a_port_of_open_vswitch_is_up() {
        let options = NetworkOptions { mode: Mode::Ovs, ..NetworkOptions::new("ovs0".parse().unwrap()) };
        let port = Link { controller: Some(3), ..link(4, "llh0", LinkKind::Veth) };
        assert_eq!(fallen(&port, &options, &[]), None);
        assert_eq!(fallen(&Link { up: false, ..port.clone() }, &options, &[]), Some(Fallen::Down));
    }
}
