//! What is done with an attachment's interface in its sandbox: name, addresses, routes, and what they replace.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use landline_kernel::{Link, NetlinkError, Route, RouteKind};
use landline_links::mark::PROTOCOL;
use landline_links::{Namespace, Namespaces, OpenNamespace};
use landline_options::AttachSpec;
use landline_types::IfName;

use super::record::{Inside, SavedRoute};

/// The metric of IPv6 routes that have none of their own.
const IP6_RT_PRIO_USER: u32 = 1024;

/// The names of the interfaces in a namespace.
pub(super) fn names(netns: &dyn OpenNamespace) -> Result<Vec<IfName>, InsideError> {
    Ok(netns.requests()?.links()?.into_iter().map(|link| link.name).collect())
}

/// What failed inside.
#[derive(Debug, thiserror::Error)]
pub(super) enum InsideError {
    #[error("cannot enter the namespace")]
    Enter(#[from] std::io::Error),
    #[error("the kernel refused")]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Host(#[from] landline_links::HostError),
    #[error("the interface is not there any more")]
    Lost,
    #[error("there is no interface {0} in it")]
    NoSuchLink(IfName),
}

/// The first free of `eth0`, `eth1`, ….
pub(super) fn free_name(taken: &[IfName]) -> IfName {
    let names = (0u32..).filter_map(|n| format!("eth{n}").parse::<IfName>().ok());
    // Whoever is inside may have made any number.
    let free = names.take(taken.len() + 1).find(|name| !taken.contains(name));
    free.unwrap_or_else(|| unreachable!("among one more than are taken there is a free one"))
}

/// Which of the two families this gives a default route.
pub(super) fn gateways(spec: &AttachSpec) -> (bool, bool) {
    let any =
        |v4: bool| spec.addresses.iter().any(|a| a.gateway.is_some_and(|gateway| gateway.is_ipv4() == v4));
    (any(true), any(false))
}

/// The default routes that others of the same metric would take the place of, over other interfaces than this.
pub(super) fn defaults(
    netlink: &mut dyn Namespace,
    own: u32,
    v4: bool,
    v6: bool,
) -> Result<Vec<SavedRoute>, NetlinkError> {
    let links = netlink.links()?;
    let routes = netlink.routes()?.into_iter();
    let replaced = routes.filter(|route| {
        let metric = route.priority.unwrap_or(0);
        let same = match route.destination {
            IpNet::V4(_) => v4 && metric == 0,
            IpNet::V6(_) => v6 && metric == IP6_RT_PRIO_USER,
        };
        same && route.is_default() && route.table == Route::MAIN_TABLE && route.oif != Some(own)
    });
    Ok(replaced.map(|route| saved(&route, &links)).collect())
}

/// Whether there is an IPv4 default route, of whatever metric.
pub(super) fn has_default_v4(netlink: &mut dyn Namespace) -> Result<bool, NetlinkError> {
    let is_one = |r: &Route| r.is_default() && r.destination.addr().is_ipv4() && r.table == Route::MAIN_TABLE;
    Ok(netlink.routes()?.iter().any(is_one))
}

pub(super) fn saved(route: &Route, links: &[Link]) -> SavedRoute {
    let dev = links.iter().find(|link| Some(link.index) == route.oif).map(|link| link.name.clone());
    SavedRoute {
        destination: route.destination,
        gateway: route.gateway,
        dev,
        metric: route.priority,
        source: route.source,
        onlink: route.onlink,
        protocol: route.protocol,
        scope: route.scope,
        table: Some(route.table),
    }
}

/// Those of the replaced default routes whose place is still taken by one through the attachment's `link`, with Landline's
/// mark. Where somebody has replaced or removed that, a VPN or its kill switch, what was before is not to come back.
pub(super) fn held(
    netlink: &mut dyn Namespace,
    link: u32,
    replaced: Vec<SavedRoute>,
) -> Result<Vec<SavedRoute>, NetlinkError> {
    let routes = netlink.routes()?;
    Ok(replaced.into_iter().filter(|replaced| is_held(replaced, &routes, link)).collect())
}

fn is_held(replaced: &SavedRoute, routes: &[Route], link: u32) -> bool {
    routes.iter().any(|route| {
        route.is_default()
            && route.destination == replaced.destination
            && route.table == Route::MAIN_TABLE
            && route.oif == Some(link)
            && route.protocol == PROTOCOL
    })
}

/// Sets replaced default routes again. One that somebody has set since then stays the only one.
pub(super) fn put_back(netlink: &mut dyn Namespace, replaced: Vec<SavedRoute>) -> Result<(), NetlinkError> {
    let there = netlink.routes()?;
    let is_free = |route: &SavedRoute| {
        !there.iter().any(|known| {
            known.is_default() && known.destination == route.destination && known.table == Route::MAIN_TABLE
        })
    };
    let free: Vec<SavedRoute> = replaced.into_iter().filter(|route| is_free(route)).collect();
    restore(netlink, &free)
}

/// Sets routes again, each unless there is one like it or its interface is gone.
pub(super) fn restore(netlink: &mut dyn Namespace, routes: &[SavedRoute]) -> Result<(), NetlinkError> {
    let links = netlink.links()?;
    for saved in routes {
        let index =
            saved.dev.as_ref().map(|name| links.iter().find(|link| link.name == *name).map(|l| l.index));
        let oif = match index {
            Some(None) => continue,
            index => index.flatten(),
        };
        let any = match saved.destination {
            IpNet::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpNet::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        let route = Route {
            oif,
            gateway: saved.gateway,
            priority: saved.metric,
            source: saved.source,
            onlink: saved.onlink,
            protocol: saved.protocol,
            scope: saved.scope,
            table: saved.table.unwrap_or(Route::MAIN_TABLE),
            kind: RouteKind::Unicast,
            ..Route::via(saved.destination, any)
        };
        match netlink.add_route(&route) {
            Err(error) if error.exists() => {}
            done => done?,
        }
    }
    Ok(())
}

/// Whether the kernel gives such an address by itself.
pub(super) fn is_automatic(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(v6) if v6.addr().is_unicast_link_local())
}

/// The namespace that an attachment is in. `None`: it is gone, whatever its path names now.
pub(super) fn open(
    namespaces: &dyn Namespaces,
    there: &Inside,
) -> Result<Option<Arc<dyn OpenNamespace>>, InsideError> {
    let Ok(netns) = namespaces.open(&there.sandbox) else { return Ok(None) };
    Ok((netns.name()? == there.namespace).then_some(netns))
}

/// A link in a namespace, and the way to it.
pub(super) struct Found {
    pub(super) netns: Arc<dyn OpenNamespace>,
    pub(super) netlink: Box<dyn Namespace>,
    pub(super) link: Link,
}

/// The link with this alias in the namespace that an attachment is in.
pub(super) fn find(
    namespaces: &dyn Namespaces,
    there: &Inside,
    alias: &str,
) -> Result<Option<Found>, InsideError> {
    let Some(netns) = open(namespaces, there)? else { return Ok(None) };
    let mut netlink = netns.requests()?;
    let link = link_with(&mut *netlink, alias)?;
    Ok(link.map(|link| Found { netns, netlink, link }))
}

/// The link with this alias.
pub(super) fn link_with(netlink: &mut dyn Namespace, alias: &str) -> Result<Option<Link>, NetlinkError> {
    Ok(netlink.links()?.into_iter().find(|link| link.alias.as_deref() == Some(alias)))
}

/// Static IPv4 addresses, as far as they are to be looked for on the LAN.
pub(super) fn v4(spec: &AttachSpec) -> Vec<Ipv4Net> {
    spec.addresses
        .iter()
        .filter_map(|address| match address.net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        })
        .collect()
}

/// What is announced once the interface is set up.
pub(super) fn announced(spec: &AttachSpec) -> Vec<IpAddr> {
    v4(spec).iter().map(|net| net.addr().into()).collect()
}

#[cfg(test)]
mod tests;
