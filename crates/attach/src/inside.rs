//! What is done with an attachment's interface in its sandbox: name, addresses, routes, and what they replace.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use landline_kernel::sysctl::{self, Family};
use landline_kernel::{Address, Link, LinkChange, Netlink, NetlinkError, Netns, Route, RouteKind};
use landline_links::mark::PROTOCOL;
use landline_options::AttachSpec;
use landline_types::IfName;

use super::record::SavedRoute;

/// The metric of IPv6 routes that have none of their own.
const IP6_RT_PRIO_USER: u32 = 1024;

/// The names of the interfaces in a namespace.
pub(super) fn names(netns: &Netns) -> Result<Vec<IfName>, InsideError> {
    Ok(Netlink::open_in(netns)?.links()?.into_iter().map(|link| link.name).collect())
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
    netlink: &mut Netlink,
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

/// Sets routes again, each unless there is one like it or its interface is gone.
pub(super) fn restore(netlink: &mut Netlink, routes: &[SavedRoute]) -> Result<(), NetlinkError> {
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

/// What becomes of the default routes that static addresses come with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Defaults<'a> {
    /// They take the place of those that are there.
    Take,
    /// Those that this did not ask for already do; the others were set then, and are whatever they have become.
    TakeNew(&'a AttachSpec),
    /// They are set where there are none.
    IfFree,
}

/// Puts the static addresses on the link, and the default routes they come with. What is there already stays.
pub(super) fn dress(
    netns: &Netns,
    netlink: &mut Netlink,
    index: u32,
    spec: &AttachSpec,
    defaults: Defaults<'_>,
) -> Result<(), NetlinkError> {
    // Two interfaces of one container may be on one LAN, and neither is to answer for the other's address: it would be
    // taken for another machine.
    netlink.set_link(index, &LinkChange::new().arp_ignore(1))?;
    let has_v6 = |spec: &AttachSpec| spec.addresses.iter().any(|address| address.net.addr().is_ipv6());
    let mut off = false;
    if has_v6(spec)
        && let Some(link) = netlink.link_by_index(index)?
    {
        if matches!(defaults, Defaults::TakeNew(old) if has_v6(old)) {
            off = is_off_v6(netns, &link.name);
        } else {
            allow_v6(netns, &link.name);
        }
    }
    let present = netlink.addresses()?;
    for address in &spec.addresses {
        let net = address.net;
        if off && net.addr().is_ipv6() {
            tracing::warn!(address = %net, "left out: IPv6 was switched off in the container (disable_ipv6)");
            continue;
        }
        let there = present.iter().any(|a| a.index == index && a.net == net);
        if !there {
            let mut new = Address::new(index, net).protocol(PROTOCOL);
            match net {
                IpNet::V4(v4) if v4.prefix_len() < 31 => new = new.broadcast(v4.broadcast()),
                IpNet::V6(_) if spec.force => new = new.no_dad(),
                _ => {}
            }
            netlink.replace_address(&new)?;
        }
        let asked_before = matches!(defaults, Defaults::TakeNew(old) if old.addresses.contains(address));
        if let Some(gateway) = address.gateway
            && !asked_before
        {
            default_route(netlink, index, net, gateway, matches!(defaults, Defaults::IfFree))?;
        }
    }
    Ok(())
}

/// Whether IPv6 is off on the link. Once it has had such addresses, somebody inside did that.
fn is_off_v6(netns: &Netns, link: &IfName) -> bool {
    let setting = netns.run(|| sysctl::get(Family::V6, link, "disable_ipv6"));
    matches!(setting, Ok(Ok(off)) if off != "0")
}

/// Docker switches IPv6 off where it gives no such address.
fn allow_v6(netns: &Netns, link: &IfName) {
    let set = netns.run(|| sysctl::set(Family::V6, link, "disable_ipv6", "0"));
    if let Err(error) = set.and_then(|done| done) {
        // A kernel without IPv6 says so when it is given the address.
        tracing::debug!(%error, %link, "IPv6 is not switched on");
    }
}

fn default_route(
    netlink: &mut Netlink,
    index: u32,
    net: IpNet,
    gateway: IpAddr,
    if_free: bool,
) -> Result<(), NetlinkError> {
    let default = match gateway {
        IpAddr::V4(_) => IpNet::V4(Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(Ipv6Net::default()),
    };
    let local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if !net.contains(&gateway) && !local {
        netlink.replace_route(&Route::on_link(IpNet::from(gateway), index).protocol(PROTOCOL))?;
    }
    let route = Route::via(default, gateway).oif(index).protocol(PROTOCOL);
    if !if_free {
        return netlink.replace_route(&route);
    }
    let others = netlink.routes()?;
    if others.iter().any(|r| r.is_default() && r.destination == default && r.table == Route::MAIN_TABLE) {
        return Ok(());
    }
    match netlink.add_route(&route) {
        // Somebody was quicker.
        Err(error) if error.exists() => Ok(()),
        added => added,
    }
}

/// Whether the kernel gives such an address by itself.
pub(super) fn is_automatic(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(v6) if v6.addr().is_unicast_link_local())
}

/// The link with this alias in the namespace a path names.
pub(super) fn find(path: &Path, alias: &str) -> Result<Option<(Netns, Netlink, Link)>, InsideError> {
    let netns = Netns::open(path)?;
    let mut netlink = Netlink::open_in(&netns)?;
    let link = netlink.links()?.into_iter().find(|link| link.alias.as_deref() == Some(alias));
    Ok(link.map(|link| (netns, netlink, link)))
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

#[cfg(test)]
mod tests {
    use landline_kernel::{NewLink, NewLinkKind, PeerLink};

    use super::*;

    #[test]
    fn ipv6_is_switched_on_with_the_first_address_and_not_when_it_was_switched_off_since() {
        let netns = Netns::create().unwrap();
        let mut netlink = Netlink::open_in(&netns).unwrap();
        let name: IfName = "eth0".parse().unwrap();
        let peer = PeerLink { up: true, addr_gen_none: true, ..PeerLink::new("eth0p".parse().unwrap()) };
        let mut new = NewLink::new(name.clone(), NewLinkKind::Veth { peer });
        (new.up, new.addr_gen_none) = (true, true);
        netlink.add_link(&new).unwrap();
        let index = netlink.link_by_name(&name).unwrap().unwrap().index;
        let switch =
            |value| netns.run(|| sysctl::set(Family::V6, &name, "disable_ipv6", value)).unwrap().unwrap();
        let mut dressed = |spec: &AttachSpec, defaults: Defaults<'_>| {
            dress(&netns, &mut netlink, index, spec, defaults).unwrap();
            let all = netlink.addresses().unwrap().into_iter().filter(|a| a.index == index);
            let mut nets: Vec<String> = all.map(|address| address.net.to_string()).collect();
            nets.sort();
            (is_off_v6(&netns, &name), nets)
        };
        let spec = |text: &str| AttachSpec { force: true, ..text.parse().unwrap() };
        let (four, six) = ("192.0.2.77/24", "2001:db8:1::77/64");
        let only_v4 = spec("br0 192.0.2.77/24");
        let both = spec("br0 192.0.2.77/24 2001:db8:1::77/64@2001:db8:1::2");

        // As Docker leaves it.
        switch("1");
        assert_eq!(dressed(&only_v4, Defaults::Take), (true, vec![four.to_owned()]));
        let on = (false, vec![four.to_owned(), six.to_owned()]);
        assert_eq!(dressed(&both, Defaults::TakeNew(&only_v4)), on);
        switch("1");
        let more = spec("br0 192.0.2.77/24 192.0.2.78/24 2001:db8:1::77/64@2001:db8:1::2");
        let off = (true, vec![four.to_owned(), "192.0.2.78/24".to_owned()]);
        assert_eq!(dressed(&more, Defaults::TakeNew(&both)), off);
        switch("0");
        assert_eq!(
            dressed(&more, Defaults::TakeNew(&more)).1.len(),
            3,
            "whoever switched it off wants it again"
        );
    }
}
