//! The tree of what is connected to what.

use std::collections::BTreeSet;

use landline_dhcp::v4::StateName;
use landline_engine::{AddressState, EndpointView};
use landline_host_access::AccessState;
use landline_nat::NatState;

use super::{GraphKind, GraphLink, GraphNetwork, GraphView};
use crate::health::Level;
use crate::ls::span;

/// A node, and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    /// What it is.
    pub(super) kind: GraphKind,
    /// Its name.
    pub(super) title: String,
    /// What else there is to say, line by line.
    pub(super) lines: Vec<String>,
    /// How it is.
    pub(super) level: Level,
    /// What is below it.
    pub(super) children: Vec<Tree>,
}

impl Tree {
    fn new(kind: GraphKind, title: impl Into<String>, lines: Vec<String>) -> Self {
        Self { kind, title: title.into(), lines, level: Level::Ok, children: Vec::new() }
    }
}

/// The picture of everything. Texts in the view are escaped already.
pub(super) fn tree(view: &GraphView) -> Tree {
    let known: BTreeSet<&str> = view.links.iter().map(|link| &*link.name).collect();
    let is_known = |name: &str| known.contains(name);
    let mut host = Tree::new(GraphKind::Host, &*view.host, Vec::new());
    let mut drawn = BTreeSet::new();
    let roots = view.links.iter().filter(|link| link.on.as_deref().is_none_or(|on| !is_known(on)));
    host.children.extend(roots.map(|root| link(root, view, &mut drawn)));
    // Links that are on each other, which is not to be.
    let rest: Vec<&GraphLink> = view.links.iter().filter(|link| !drawn.contains(&*link.name)).collect();
    for rest in rest {
        if !drawn.contains(&*rest.name) {
            let tree = link(rest, view, &mut drawn);
            host.children.push(tree);
        }
    }
    let without = view.networks.iter().filter(|network| !is_known(&network.parent));
    host.children.extend(without.flat_map(|network| of_network(network, view)));
    host.children.extend(view.nat.iter().filter(|nat| !is_known(nat.interface.as_str())).map(nat));
    host
}

fn link<'a>(own: &'a GraphLink, view: &'a GraphView, drawn: &mut BTreeSet<&'a str>) -> Tree {
    drawn.insert(&own.name);
    let addresses = own.addresses.iter().map(ToString::to_string).collect();
    let mut tree = Tree::new(own.kind, &*own.name, addresses);
    if !own.up {
        tree.level = Level::Fail;
        tree.lines.push("down".into());
    } else if !own.running {
        tree.level = Level::Warn;
        tree.lines.push("no carrier".into());
    }
    for above in &view.links {
        if above.on.as_deref() == Some(&*own.name) && !drawn.contains(&*above.name) {
            tree.children.push(link(above, view, drawn));
        }
    }
    let networks = view.networks.iter().filter(|network| network.parent == own.name);
    tree.children.extend(networks.flat_map(|network| of_network(network, view)));
    tree.children.extend(view.nat.iter().filter(|nat| nat.interface.as_str() == own.name).map(nat));
    let shims = view
        .host_access
        .iter()
        .filter(|access| access.parent.as_ref().is_some_and(|parent| parent.as_str() == own.name));
    tree.children.extend(shims.map(|access| {
        let mut lines = vec![format!("to {}", access.network)];
        lines.extend(access.addresses.iter().map(ToString::to_string));
        let title = access.interface.as_ref().map_or_else(|| access.network.clone(), ToString::to_string);
        let mut shim = Tree::new(GraphKind::Shim, title, lines);
        if let AccessState::Trouble(why) = &access.state {
            shim.level = Level::Warn;
            shim.lines.push(why.clone());
        }
        shim
    }));
    tree
}

/// A network with its containers; of an attachment only the container.
fn of_network(network: &GraphNetwork, view: &GraphView) -> Vec<Tree> {
    let endpoints = view.endpoints.iter().filter(|endpoint| endpoint.network_id == network.id);
    let containers: Vec<Tree> = endpoints.map(container).collect();
    let Some(name) = &network.name else { return containers };
    let mut lines = vec![network.mode.clone()];
    lines.extend(network.vlan.map(|vlan| format!("VLAN {vlan}")));
    vec![Tree { children: containers, ..Tree::new(GraphKind::Network, &**name, lines) }]
}

fn container(endpoint: &EndpointView) -> Tree {
    let name = match &endpoint.container {
        Some(name) => name.clone(),
        None => endpoint.endpoint.chars().take(12).collect(),
    };
    let mut lines = vec![format!("{} {}", endpoint.interface, endpoint.mac)];
    let left = |left: Option<u64>| left.map(|left| format!(" for {}", span(left))).unwrap_or_default();
    lines.extend(endpoint.address.map(|address| format!("{address}{}", left(endpoint.lease_left_s))));
    if let Some(ipv6) = &endpoint.ipv6 {
        lines.extend(ipv6.addresses.iter().map(ToString::to_string));
    }
    let mut tree = Tree::new(GraphKind::Container, name, lines);
    let level = match endpoint.state {
        AddressState::Dhcp(StateName::Checking) => Level::Ok,
        _ if endpoint.lacks_address() => Level::Fail,
        AddressState::LinkOnly | AddressState::Static => Level::Ok,
        AddressState::Dhcp(state) => match state {
            StateName::Stopped | StateName::Checking | StateName::Bound | StateName::Renewing => Level::Ok,
            StateName::Init
            | StateName::Selecting
            | StateName::Requesting
            | StateName::Rebooting
            | StateName::Rebinding => Level::Warn,
        },
    };
    if level != Level::Ok {
        tree.level = level;
        tree.lines.push(endpoint.state.to_string());
    }
    if let Some(held) = &endpoint.held {
        tree.level = tree.level.max(Level::Warn);
        tree.lines.push(held.clone());
    }
    if let Some(elsewhere) = &endpoint.elsewhere {
        tree.level = tree.level.max(Level::Warn);
        tree.lines.push(format!("its hardware address is also behind {elsewhere}"));
    }
    tree
}

fn nat(nat: &landline_nat::NatView) -> Tree {
    let name = nat.container.clone().unwrap_or_else(|| "unknown container".into());
    let address = nat.address.map_or_else(|| "no address".into(), |address| address.to_string());
    let inside = nat.inside.map(|inside| format!(" to {inside}")).unwrap_or_default();
    let mut tree = Tree::new(GraphKind::Nat, name, vec![format!("{address}{inside}"), nat.ports.join(", ")]);
    tree.lines.retain(|line| !line.is_empty());
    match &nat.state {
        NatState::Ready => {}
        state @ (NatState::Waiting | NatState::Asking) => tree.lines.push(state.to_string()),
        NatState::Trouble(why) => {
            tree.level = Level::Warn;
            tree.lines.push(why.clone());
        }
    }
    tree
}
