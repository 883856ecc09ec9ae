//! Moving what one link has to another, one thing after the other, none of them missing at any time.

use landline_kernel::{Link, Neighbour, NeighbourState, Netlink, NetlinkError, Route, RouteKind, WholeRoute};

/// Sets every address of `from` on `onto` as well, in the same order.
pub(super) fn addresses(netlink: &mut Netlink, from: &Link, onto: &Link) -> Result<(), NetlinkError> {
    for whole in netlink.whole_addresses(from.index)? {
        // The kernel makes others for privacy.
        if !whole.is_temporary() && !whole.address.is_duplicate() {
            netlink.carry_address(&whole, &from.name, (onto.index, &onto.name))?;
        }
    }
    Ok(())
}

/// Has every route through `from` go through `onto`. Routes that came with the addresses are there already, unless
/// somebody keeps them apart from their addresses.
pub(super) fn routes(netlink: &mut Netlink, from: &Link, onto: &Link) -> Result<(), NetlinkError> {
    let (with_addresses, others): (Vec<_>, Vec<_>) =
        movable(netlink, from)?.into_iter().partition(|whole| whole.route.protocol == Route::BY_KERNEL);
    let there = netlink.whole_routes(onto.index)?;
    let is_there = |wanted: &WholeRoute| {
        let (a, metric) = (&wanted.route, wanted.route.priority);
        there.iter().any(|b| {
            let b = &b.route;
            (a.destination, a.table, metric, a.gateway) == (b.destination, b.table, b.priority, b.gateway)
        })
    };
    // Networks before the routers in them.
    for whole in with_addresses.iter().filter(|whole| !is_there(whole)).chain(&others) {
        netlink.carry_route(whole, onto.index)?;
    }
    Ok(())
}

/// Sets the neighbours somebody entered by hand, and those that are known, so that nobody has to be asked for his
/// hardware address at a moment when the answer might come in elsewhere.
pub(super) fn neighbours(netlink: &mut Netlink, from: &Link, onto: &Link) -> Result<(), NetlinkError> {
    let all = netlink.neighbours()?.into_iter().chain(netlink.proxy_neighbours()?);
    for neighbour in all.filter(|n| n.index == from.index).collect::<Vec<_>>() {
        use NeighbourState::{Delay, Permanent, Probe, Reachable, Stale};
        let state = match neighbour.state {
            state if neighbour.proxy || state == Permanent => state,
            Reachable | Stale | Delay | Probe => Stale,
            _ => continue,
        };
        netlink.replace_neighbour(&Neighbour { index: onto.index, state, ..neighbour })?;
    }
    Ok(())
}

/// Takes from a link what is on another one now.
pub(super) fn clear(netlink: &mut Netlink, link: &Link) -> Result<(), NetlinkError> {
    let all = netlink.neighbours()?.into_iter().chain(netlink.proxy_neighbours()?);
    for neighbour in all.filter(|n| n.index == link.index).collect::<Vec<_>>() {
        // Those that were learned as well: what some manager still sends from the NIC (a DHCPRELEASE when it is told to leave
        // it alone) finds nobody any more.
        if neighbour.state != NeighbourState::NoArp {
            netlink.delete_neighbour(&neighbour)?;
        }
    }
    // The last first: should this stop half-way, they can be set again in the order they had; and an IPv4 address takes
    // those of its network that came later along.
    for whole in netlink.whole_addresses(link.index)?.iter().rev() {
        netlink.delete_address(&whole.address)?;
    }
    for whole in movable(netlink, link)? {
        netlink.delete_route(&whole.route)?;
    }
    Ok(())
}

/// The routes through a link that are not the kernel's own business.
fn movable(netlink: &mut Netlink, link: &Link) -> Result<Vec<WholeRoute>, NetlinkError> {
    let own = |whole: &WholeRoute| {
        let route = &whole.route;
        route.table == Route::LOCAL_TABLE
            || route.multipath
            || matches!(
                route.kind,
                RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast | RouteKind::Multicast
            )
    };
    Ok(netlink.whole_routes(link.index)?.into_iter().filter(|whole| !own(whole)).collect())
}
