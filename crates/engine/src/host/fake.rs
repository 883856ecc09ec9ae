//! A host that is a list of links and fails when it is told to.

use super::*;

#[derive(Default)]
struct State {
    links: Vec<Link>,
    taken: usize,
    fail_at: Option<usize>,
}

pub(crate) struct FakeHost(Mutex<State>);

impl FakeHost {
    pub(crate) fn with_bridge_and_nic() -> Self {
        let links = vec![
            link(1, "br0", LinkKind::Bridge { vlan_filtering: false }),
            link(2, "eth0", LinkKind::Physical),
        ];
        Self(Mutex::new(State { links, ..State::default() }))
    }

    /// The next plan fails at this step, counted from 0.
    pub(crate) fn fail_at(&self, step: Option<usize>) {
        let mut state = self.0.lock().unwrap();
        state.taken = 0;
        state.fail_at = step;
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().links.iter().map(|l| l.name.to_string()).collect()
    }
}

/// A link that is up.
pub(crate) fn link(index: u32, name: &str, kind: LinkKind) -> Link {
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
    Link { alias: Some(end.alias.clone()), ..link(index, end.name.as_str(), kind) }
}

impl Host for FakeHost {
    fn links(&self) -> Result<Vec<Link>, HostError> {
        Ok(self.0.lock().unwrap().links.clone())
    }

    fn link(&self, name: &IfName) -> Result<Option<Link>, HostError> {
        Ok(self.links()?.into_iter().find(|l| l.name == *name))
    }

    fn routes(&self) -> Result<Vec<Route>, HostError> {
        Ok(Vec::new())
    }

    fn addresses(&self, _index: u32) -> Result<Vec<ipnet::IpNet>, HostError> {
        Ok(Vec::new())
    }

    fn has_set_address(&self, _bridge: &IfName) -> Option<bool> {
        None
    }

    fn apply(&self, step: &Step) -> Result<(), HostError> {
        let mut state = self.0.lock().unwrap();
        state.taken += 1;
        if state.fail_at == Some(state.taken - 1) {
            return Err(HostError::Injected);
        }
        let next = state.links.iter().map(|l| l.index).max().unwrap_or(0) + 1;
        match step {
            Step::AddVeth { host, container } => {
                state.links.push(marked(next, host, LinkKind::Veth));
                state.links.push(marked(next + 1, container, LinkKind::Veth));
            }
            Step::AddMacvlan { container, .. } => {
                state.links.push(marked(next, container, LinkKind::Macvlan { mode: None }));
            }
            Step::AddIpvlan { container, .. } => {
                state.links.push(marked(next, container, LinkKind::Ipvlan { mode: None }));
            }
            Step::AddBridge { bridge } => {
                state.links.push(marked(next, bridge, LinkKind::Bridge { vlan_filtering: false }));
            }
            Step::AddVlan { parent, id, vlan } => {
                let parent = state.links.iter().find(|l| l.name == *parent).map(|l| l.index);
                let made = marked(next, vlan, LinkKind::Vlan { id: *id });
                state.links.push(Link { parent, ..made });
            }
            Step::AddTap { tap } => state.links.push(marked(next, tap, LinkKind::Tun)),
            Step::MakeBridge { name } => {
                let kind = LinkKind::Bridge { vlan_filtering: false };
                state.links.push(link(next, name.as_str(), kind));
            }
            Step::MakeOvsBridge { name, .. } => {
                state.links.push(link(next, name.as_str(), LinkKind::OpenVswitch));
            }
            Step::AddDummy { container } => state.links.push(marked(next, container, LinkKind::Veth)),
            Step::Enslave { link, .. }
            | Step::SetAddress { link, .. }
            | Step::Readdress { link, .. }
            | Step::AddOvsPort { link, .. }
            | Step::Up { link }
            | Step::AddAddress { link, .. }
            | Step::PortVlan { port: link, .. }
            | Step::ForwardGroups { port: link }
            | Step::StartSwitch { uplink: link, .. }
            | Step::PlugIn { tap: link, .. }
            | Step::SetAlias { link, .. } => {
                if !state.links.iter().any(|l| l.name == *link) {
                    return Err(HostError::NoLink(link.clone()));
                }
            }
        }
        Ok(())
    }

    fn undo(&self, step: &Step) -> Result<(), HostError> {
        let mut state = self.0.lock().unwrap();
        let gone: Vec<&IfName> = match step {
            Step::AddVeth { host, container } => vec![&host.name, &container.name],
            Step::AddMacvlan { container, .. }
            | Step::AddIpvlan { container, .. }
            | Step::AddDummy { container } => vec![&container.name],
            Step::MakeBridge { name } => vec![name],
            Step::AddBridge { bridge: link }
            | Step::AddVlan { vlan: link, .. }
            | Step::AddTap { tap: link } => vec![&link.name],
            _ => vec![],
        };
        state.links.retain(|l| !gone.contains(&&l.name));
        Ok(())
    }

    fn plug_again(
        &self,
        _endpoint: &EndpointId,
        _link: &IfName,
        _sandbox: Option<&Path>,
        _dir: &Path,
    ) -> Result<(), HostError> {
        Ok(())
    }

    fn end_switch(&self, _dir: &Path) {}

    fn switches_ended(&self) -> Arc<Notify> {
        Arc::default()
    }

    fn hand_over(&self, index: u32, _netns: &Netns) -> Result<(), HostError> {
        self.0.lock().unwrap().links.retain(|link| link.index != index);
        Ok(())
    }

    fn remove_marked(&self, index: u32, alias: &str) -> Result<bool, HostError> {
        let mut state = self.0.lock().unwrap();
        let before = state.links.len();
        state.links.retain(|l| !(l.index == index && l.alias.as_deref() == Some(alias)));
        Ok(state.links.len() != before)
    }

    fn remove_half_made(&self, index: u32) -> Result<bool, HostError> {
        let mut state = self.0.lock().unwrap();
        let before = state.links.len();
        state.links.retain(|l| !(l.index == index && is_half_made(l)));
        Ok(state.links.len() != before)
    }
}
