//! A host that is a list of links and fails when it is told to.

use std::sync::{Arc, Mutex};

use landline_kernel::{Link, LinkKind, Netns, Route};
use landline_types::IfName;
use tokio::sync::Notify;

use super::{Host, HostError, is_half_made};
use crate::link_table::LinkTable;
use crate::namespaces::fake::{FakeNamespaces, Lists};
use crate::plan::{LinkEnd, LinkType, Step};

#[derive(Default)]
struct State {
    taken: usize,
    fail_at: Option<usize>,
    blind: bool,
    keeps_links: bool,
}

/// The fake. Its links are those of the host in its namespaces.
pub struct FakeHost {
    state: Mutex<State>,
    namespaces: FakeNamespaces,
}

impl FakeHost {
    /// One with the bridge `br0` and the NIC `eth0`.
    pub fn with_bridge_and_nic() -> Self {
        let links = vec![
            link(1, "br0", LinkKind::Bridge { vlan_filtering: false }),
            link(2, "eth0", LinkKind::Physical),
        ];
        Self::with(links)
    }

    /// One with these links.
    pub fn with(links: Vec<Link>) -> Self {
        let namespaces = FakeNamespaces::default();
        namespaces.host(|host| host.links = links);
        Self::of(namespaces)
    }

    /// The host of these namespaces.
    pub fn of(namespaces: FakeNamespaces) -> Self {
        Self { state: Mutex::default(), namespaces }
    }

    /// Its namespace, and those of containers.
    pub fn namespaces(&self) -> FakeNamespaces {
        self.namespaces.clone()
    }

    /// The table of its links.
    pub fn table(&self) -> LinkTable {
        self.namespaces.table()
    }

    /// Somebody changes something about its links.
    pub fn change(&self, change: impl FnOnce(&mut Vec<Link>)) {
        self.namespaces.host(|host| change(&mut host.links));
    }

    /// The next plan fails at this step, counted from 0.
    pub fn fail_at(&self, step: Option<usize>) {
        let mut state = self.state.lock().unwrap();
        state.taken = 0;
        state.fail_at = step;
    }

    /// How many steps were taken since [`Self::fail_at`] was last called.
    pub fn taken(&self) -> usize {
        self.state.lock().unwrap().taken
    }

    /// Whether it fails to say what links there are.
    pub fn be_blind(&self, blind: bool) {
        self.state.lock().unwrap().blind = blind;
    }

    /// Whether it fails to remove links and to take steps back.
    pub fn keep_links(&self, keeps: bool) {
        self.state.lock().unwrap().keeps_links = keeps;
    }

    /// The names of its links.
    pub fn names(&self) -> Vec<String> {
        self.namespaces.host(|host| host.links.iter().map(|l| l.name.to_string()).collect())
    }

    /// Removes such links, unless it keeps all. A veth's other end goes with it.
    fn remove(&self, is_it: impl Fn(&Link) -> bool) -> Result<bool, HostError> {
        if self.state.lock().unwrap().keeps_links {
            return Err(HostError::Injected);
        }
        let gone: Vec<Link> = self.namespaces.host(|host| {
            let gone: Vec<Link> = host.links.iter().filter(|link| is_it(link)).cloned().collect();
            for link in &gone {
                host.remove_link(link.index);
            }
            gone
        });
        for link in &gone {
            self.namespaces.cut(link);
        }
        Ok(!gone.is_empty())
    }
}

/// A link that is up.
pub fn link(index: u32, name: &str, kind: LinkKind) -> Link {
    Link {
        index,
        name: name.parse().unwrap(),
        mac: None,
        ethernet: true,
        mtu: 1500,
        up: true,
        running: true,
        lower_up: true,
        loopback: false,
        flags: 0,
        kind,
        controller: None,
        port_state: None,
        forward_delay: None,
        parent: None,
        parent_netns: None,
        alias: None,
        promiscuity: 0,
        wireless: false,
    }
}

fn marked(index: u32, end: &LinkEnd, kind: LinkKind) -> Link {
    let down = Link { up: false, running: false, lower_up: false, ..link(index, end.name.as_str(), kind) };
    Link { alias: Some(end.alias.clone()), mac: end.mac, mtu: end.mtu, ..down }
}

/// The other end of the pair that a step makes.
fn peer(step: &Step) -> Option<&LinkEnd> {
    match step {
        Step::AddLink { kind: LinkType::Veth { peer }, .. } => Some(peer),
        _ => None,
    }
}

/// Takes a step with these links.
fn apply(links: &mut Vec<Link>, step: &Step) -> Result<(), HostError> {
    let next = links.iter().map(|l| l.index).max().unwrap_or(0) + 1;
    match step {
        Step::AddLink { link, kind } => {
            let parent = |name: &IfName| links.iter().find(|l| l.name == *name).map(|l| l.index);
            let (kind, parent) = match kind {
                LinkType::Veth { .. } => (LinkKind::Veth, None),
                LinkType::Macvlan { parent: nic, .. } => (LinkKind::Macvlan { mode: None }, parent(nic)),
                LinkType::Ipvlan { parent: nic } => (LinkKind::Ipvlan { mode: None }, parent(nic)),
                LinkType::Vlan { parent: nic, id } => (LinkKind::Vlan { id: *id }, parent(nic)),
                LinkType::Bridge | LinkType::PlainBridge => {
                    (LinkKind::Bridge { vlan_filtering: false }, None)
                }
                LinkType::Tap => (LinkKind::Tun, None),
                LinkType::Dummy => (LinkKind::Dummy, None),
            };
            links.push(Link { parent, ..marked(next, link, kind) });
            if let Some(peer) = peer(step) {
                links.push(marked(next + 1, peer, LinkKind::Veth));
            }
        }
        Step::SetController { link, bridge } => {
            let bridge = links.iter().find(|l| l.name == *bridge).map(|l| l.index);
            let found = links.iter_mut().find(|l| l.name == *link);
            found.ok_or_else(|| HostError::NoLink(link.clone()))?.controller = bridge;
        }
        Step::Up { link } => {
            let found = links.iter_mut().find(|l| l.name == *link);
            let found = found.ok_or_else(|| HostError::NoLink(link.clone()))?;
            (found.up, found.running, found.lower_up) = (true, true, true);
        }
        Step::SetAlias { link, alias } => {
            let found = links.iter_mut().find(|l| l.name == *link);
            let found = found.ok_or_else(|| HostError::NoLink(link.clone()))?;
            found.alias = Some(alias.clone()).filter(|alias| !alias.is_empty());
        }
        Step::Readdress { link, mac } => {
            let found = links.iter_mut().find(|l| l.name == *link);
            let found = found.ok_or_else(|| HostError::NoLink(link.clone()))?;
            (found.up, found.running, found.lower_up, found.mac) = (false, false, false, Some(*mac));
        }
        Step::SetAddress { link, .. }
        | Step::AddAddress { link, .. }
        | Step::PortVlan { port: link, .. }
        | Step::ForwardGroups { port: link } => {
            if !links.iter().any(|l| l.name == *link) {
                return Err(HostError::NoLink(link.clone()));
            }
        }
        // Nothing that is among the links.
        Step::Driver(_) => {}
    }
    Ok(())
}

impl Host for FakeHost {
    fn links(&self) -> Result<Vec<Link>, HostError> {
        if self.state.lock().unwrap().blind {
            return Err(HostError::Injected);
        }
        Ok(self.namespaces.host(|host| host.links.clone()))
    }

    fn link(&self, name: &IfName) -> Result<Option<Link>, HostError> {
        Ok(self.links()?.into_iter().find(|l| l.name == *name))
    }

    fn routes(&self) -> Result<Vec<Route>, HostError> {
        Ok(Vec::new())
    }

    fn addresses(&self, index: u32) -> Result<Vec<ipnet::IpNet>, HostError> {
        let own = |host: &mut Lists| {
            host.addresses.iter().filter(|own| own.index == index).map(|own| own.net).collect()
        };
        Ok(self.namespaces.host(own))
    }

    fn has_set_address(&self, _bridge: &IfName) -> Option<bool> {
        None
    }

    fn apply(&self, step: &Step) -> Result<(), HostError> {
        let mut state = self.state.lock().unwrap();
        state.taken += 1;
        if state.fail_at == Some(state.taken - 1) {
            return Err(HostError::Injected);
        }
        drop(state);
        self.namespaces.host(|host| apply(&mut host.links, step))
    }

    fn undo(&self, step: &Step) -> Result<(), HostError> {
        let gone: Vec<&IfName> = match step {
            Step::AddLink { link, .. } => peer(step).into_iter().chain([link]).map(|end| &end.name).collect(),
            _ => vec![],
        };
        self.remove(|link| gone.contains(&&link.name))?;
        if let Step::SetAlias { link, .. } = step {
            self.change(|links| {
                links.iter_mut().filter(|l| l.name == *link).for_each(|l| l.alias = None);
            });
        }
        Ok(())
    }

    fn connections_lost(&self) -> Arc<Notify> {
        Arc::default()
    }

    fn hand_over(&self, index: u32, _netns: &Netns) -> Result<(), HostError> {
        self.namespaces.host(|host| host.remove_link(index));
        Ok(())
    }

    fn remove_marked(&self, index: u32, alias: &str) -> Result<bool, HostError> {
        self.remove(|link| link.index == index && link.alias.as_deref() == Some(alias))
    }

    fn remove_half_made(&self, index: u32) -> Result<bool, HostError> {
        self.remove(|link| link.index == index && is_half_made(link))
    }
}
