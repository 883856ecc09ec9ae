//! Routes and neighbours of shims, and neighbours in containers: what is wanted is put there, what is ours and not
//! wanted is removed, and what is anybody else's is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use landline_kernel::{Link, Neighbour, NeighbourState, NetlinkError, Route};
use landline_links::mark::PROTOCOL;
use landline_links::{Namespace, Namespaces};
use landline_types::Mac;

use super::plan::{Inside, Shim};

/// What stands in the way, by destination.
pub(super) type Problems = BTreeMap<IpNet, String>;

/// Brings the routes through a shim in line. `ours`: the indexes of all shims; `keep`: remove nothing.
pub(super) fn routes(
    netlink: &mut dyn Namespace,
    shim: &Shim,
    index: u32,
    ours: &BTreeSet<u32>,
    keep: bool,
) -> Result<Problems, NetlinkError> {
    let all = netlink.routes()?;
    let is_ours = |route: &Route| {
        let through_shim = route.oif.is_some_and(|oif| ours.contains(&oif));
        route.protocol == PROTOCOL && through_shim && route.table == Route::MAIN_TABLE
    };
    let mine = |route: &&Route| is_ours(route) && route.oif == Some(index);
    if !keep {
        for route in all.iter().filter(mine).filter(|route| !shim.routes.contains_key(&route.destination)) {
            netlink.delete_route(route)?;
        }
    }
    // What cannot be used yet, or any more, as a source.
    let usable: BTreeSet<IpAddr> = netlink
        .addresses()?
        .iter()
        .filter(|a| !a.is_tentative() && !a.is_duplicate())
        .map(|a| a.net.addr())
        .collect();
    let mut problems = Problems::new();
    for (destination, source) in &shim.routes {
        if all.iter().filter(mine).any(|r| r.destination == *destination && r.source == Some(*source)) {
            continue;
        }
        if !usable.contains(source) {
            problems.insert(
                *destination,
                format!("{source} cannot be used: another machine has it, or may have"),
            );
            continue;
        }
        let route = Route::on_link(*destination, index).source(*source).protocol(PROTOCOL);
        let metric =
            |route: &Route| route.priority.unwrap_or(if destination.addr().is_ipv4() { 0 } else { 1024 });
        let other = all.iter().find(|r| {
            r.destination == *destination && r.table == Route::MAIN_TABLE && metric(r) == metric(&route)
        });
        match other {
            Some(other) if !is_ours(other) => {
                problems.insert(
                    *destination,
                    format!("there is a route to {destination} already that is not Landline's"),
                );
                continue;
            }
            // IPv6 would take it for a second next hop.
            Some(other) => {
                netlink.delete_route(other)?;
            }
            None => {}
        }
        netlink.replace_route(&route)?;
    }
    Ok(problems)
}

/// Brings the neighbours on a link in line.
pub(super) fn neighbours(
    netlink: &mut dyn Namespace,
    index: u32,
    wanted: &BTreeMap<IpAddr, Mac>,
    keep: bool,
) -> Result<(), NetlinkError> {
    let present: Vec<Neighbour> = netlink.neighbours()?.into_iter().filter(|n| n.index == index).collect();
    if !keep {
        let ours = present.iter().filter(|n| n.protocol == PROTOCOL);
        for neighbour in ours.filter(|n| !wanted.contains_key(&n.address)) {
            netlink.delete_neighbour(neighbour)?;
        }
    }
    for (address, mac) in wanted {
        let there = present.iter().find(|n| n.address == *address);
        let permanent = there.is_some_and(|n| n.state == NeighbourState::Permanent);
        let ours = there.is_some_and(|n| n.protocol == PROTOCOL);
        if permanent && (!ours || there.is_some_and(|n| n.mac == Some(*mac))) {
            continue;
        }
        netlink.replace_neighbour(&Neighbour::permanent(index, *address, *mac).protocol(PROTOCOL))?;
    }
    Ok(())
}

/// Why a container was not told about the host.
#[derive(Debug, thiserror::Error)]
pub(super) enum InsideError {
    #[error("its network namespace cannot be entered")]
    Enter(#[source] io::Error),
    #[error("its neighbours cannot be set")]
    Netlink(#[from] NetlinkError),
}

/// Tells a container where the host's addresses are; false if it has no such interface (yet).
pub(super) fn tell(namespaces: &dyn Namespaces, inside: &Inside, mac: Mac) -> Result<bool, InsideError> {
    let Some(mut netlink) = enter(namespaces, &inside.sandbox)? else { return Ok(false) };
    let carries = netlink.addresses()?.into_iter().find(|a| inside.own.contains(&a.net.addr()));
    let Some(carries) = carries else { return Ok(false) };
    let wanted = inside.hosts.iter().map(|host| (*host, mac)).collect();
    neighbours(&mut *netlink, carries.index, &wanted, false)?;
    Ok(true)
}

/// Takes back what a container was told on interfaces other than those of these addresses.
pub(super) fn untell(
    namespaces: &dyn Namespaces,
    sandbox: &Path,
    but: &BTreeSet<IpAddr>,
) -> Result<(), InsideError> {
    let Some(mut netlink) = enter(namespaces, sandbox)? else { return Ok(()) };
    let addresses = netlink.addresses()?;
    let stays = |index: u32| addresses.iter().any(|a| a.index == index && but.contains(&a.net.addr()));
    for link in netlink.links()?.iter().map(|link: &Link| link.index).filter(|index| !stays(*index)) {
        neighbours(&mut *netlink, link, &BTreeMap::new(), false)?;
    }
    Ok(())
}

/// `None`: the namespace is gone.
fn enter(namespaces: &dyn Namespaces, sandbox: &Path) -> Result<Option<Box<dyn Namespace>>, InsideError> {
    namespaces.sandbox(sandbox).map_err(InsideError::Enter)
}
