//! The daemon's side: what there is to draw.

use std::collections::BTreeSet;

use landline_kernel::{Link, LinkKind};
use landline_links::mark::is_implicit;
use landline_links::{blocking, facts_of, mark_of};
use landline_model::NetworkRecord;

use super::{GraphKind, GraphLink, GraphNetwork, GraphView, is_link_local};
use crate::control::Context;

/// Looks at everything.
pub(crate) async fn look(context: &Context) -> GraphView {
    let parts = &context.parts;
    let mut endpoints = parts.engine.endpoint_views().await;
    parts.attach.name_containers(&mut endpoints);
    let networks: Vec<GraphNetwork> = parts.engine.networks().values().map(network).collect();
    let host_access = parts.host_access.views();
    let (host, mut wanted) = (parts.shared.host.clone(), BTreeSet::new());
    wanted.extend(networks.iter().map(|network| network.parent.clone()));
    let nat = parts.nat.list(&parts.engine);
    wanted.extend(nat.iter().map(|view| view.interface.to_string()));
    wanted.extend(host_access.iter().filter_map(|view| view.parent.as_ref()).map(ToString::to_string));
    let links = blocking(move || {
        let all = host.links().unwrap_or_default();
        let mut found = Vec::new();
        let mut due: Vec<String> = wanted.iter().cloned().collect();
        while let Some(name) = due.pop() {
            let Some(link) = all.iter().find(|link| link.name.as_str() == name && !link.loopback) else {
                continue;
            };
            let on = on(link, &all).map(|on| on.name.to_string());
            // Each link once, so that links that are on each other come to an end.
            due.extend(on.clone().filter(|on| wanted.insert(on.clone())));
            let mut addresses = host.addresses(link.index).unwrap_or_default();
            addresses.retain(|net| !is_link_local(net.addr()));
            found.push(GraphLink {
                name,
                kind: kind(link),
                up: link.up,
                running: link.running,
                on,
                addresses,
            });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    });
    GraphView {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        links: links.await,
        networks,
        endpoints,
        nat,
        host_access,
    }
}

fn network(record: &NetworkRecord) -> GraphNetwork {
    let nic = record.nic.clone().filter(|_| facts_of(record.options.mode).is_translated());
    let name = || record.name.clone().unwrap_or_else(|| record.id.short().to_owned());
    GraphNetwork {
        id: record.id.to_string(),
        name: (!is_implicit(&record.id)).then(name),
        mode: record.options.mode.to_string(),
        parent: nic.unwrap_or_else(|| record.options.parent.clone()).to_string(),
        vlan: record.options.vlan.map(landline_options::Vlan::get),
    }
}

fn kind(link: &Link) -> GraphKind {
    match link.kind {
        LinkKind::Bridge { .. } => GraphKind::Bridge,
        LinkKind::Vlan { .. } => GraphKind::Vlan,
        LinkKind::OpenVswitch => GraphKind::Switch,
        _ => GraphKind::Nic,
    }
}

/// The link by which the packets of this one get onto the LAN.
fn on<'a>(link: &Link, all: &'a [Link]) -> Option<&'a Link> {
    if let (Some(parent), None) = (link.parent, link.parent_netns)
        && !matches!(link.kind, LinkKind::Veth)
    {
        return all.iter().find(|other| other.index == parent);
    }
    if !matches!(link.kind, LinkKind::Bridge { .. }) {
        return None;
    }
    let ports = all.iter().filter(|port| port.controller == Some(link.index) && mark_of(port).is_none());
    // A card rather than a guest.
    ports.min_by_key(|port| match port.kind {
        LinkKind::Physical | LinkKind::Bond => 0,
        LinkKind::Vlan { .. } => 1,
        _ => 2,
    })
}
