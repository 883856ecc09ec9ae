//! IPv6 in a sandbox: what a state of the client means for the link.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use landline_dhcp::v6::State6;
use landline_kernel::sysctl::{self, Family};
use landline_kernel::{Address, Route};
use landline_model::{Ipv6Record, Route6};
use landline_types::chain;

use super::{Sandbox, SandboxError};
use crate::mark::PROTOCOL;

/// `IFA_PROTO` of link-local addresses the kernel made (`IFAPROT_KERNEL_LL`).
const KERNEL_LINK_LOCAL: u8 = 3;

/// The kernel's metric for routes without one; the routers of one link take this many from there on.
const METRIC: u32 = 1024;
const METRICS: u32 = 16;

/// What is to be brought about.
#[derive(Debug, Clone, Copy)]
pub struct Task6<'a> {
    /// What the link is to carry.
    pub state: &'a State6,
    /// No routes other than to routers and to what is on the link.
    pub skip_routes: bool,
    /// An attachment has marked addresses and routes of its own on the link, so the mark does not tell whose they are.
    pub shared: bool,
}

impl Sandbox {
    /// Brings the link in line with the state, as far as the kernel takes it, and writes what was done into `now`. Only what
    /// is marked as ours is removed (with `task.shared` not even that), and what is in `now`, which Docker or we put there.
    /// Where somebody inside has switched IPv6 off since it was first set up, nothing is put there. The first error is
    /// returned; it keeps nothing else from being done. `true`: another link of the container has default routes of
    /// Landline's as well, so it matters which of them Docker chooses.
    pub fn configure_v6(&mut self, task: Task6<'_>, now: &mut Ipv6Record) -> Result<bool, SandboxError> {
        let state = task.state;
        let mut failed = None;
        let wanted = addresses(state);
        if !wanted.is_empty() {
            self.quiet_v6(true);
            if !now.switched_on {
                // Docker switches IPv6 off on links that it gave no address.
                now.switched_on = self.set_v6("disable_ipv6", "0");
            }
            self.limit_v6(state.mtu);
        }
        if now.switched_on && self.get_v6("disable_ipv6").is_some_and(|off| off != "0") {
            // Somebody inside did that. The kernel has removed all there was, and nothing comes back by itself.
            now.defaults.foreign = true;
            now.applied = wanted.into_iter().map(|(net, _)| net).collect();
            return Ok(false);
        }
        let present = self.addresses_v6()?;
        let is_there = |net: &Ipv6Net| present.iter().any(|a| a.net == IpNet::V6(*net));
        // A link without any of its addresses is a new one, or one that somebody has cleared.
        let fresh = !now.applied.iter().any(is_there);
        for (net, deprecated) in &wanted {
            let there = present.iter().any(|a| a.net == IpNet::V6(*net) && a.is_deprecated() == *deprecated);
            if there {
                continue;
            }
            match self.set_address(*net, *deprecated) {
                Ok(()) if !now.applied.contains(net) => now.applied.push(*net),
                Ok(()) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        for address in &present {
            let IpNet::V6(net) = address.net else { continue };
            let ours = address.protocol == PROTOCOL && !task.shared || now.applied.contains(&net);
            // The kernel made one of its own before it was told not to.
            let kernels = address.protocol == KERNEL_LINK_LOCAL && state.link_local.is_some();
            if (ours || kernels) && wanted.iter().all(|(wanted, _)| *wanted != net) {
                match self.netlink.delete_address(address) {
                    Ok(_) => now.applied.retain(|applied| *applied != net),
                    Err(error) => failed = failed.or(Some(self.failed(error))),
                }
            }
        }
        let others = self.set_routes(task, fresh, now)?;
        if let Some(error) = failed {
            return Err(error);
        }
        now.applied = wanted.into_iter().map(|(net, _)| net).collect();
        Ok(others)
    }

    /// Puts a fixed address on a new link, and the default route through `gateway` unless the sandbox has one.
    pub fn fix_v6(&mut self, net: Ipv6Net, gateway: Option<Ipv6Addr>) -> Result<(), SandboxError> {
        self.set_v6("disable_ipv6", "0");
        self.set_address(net, false)?;
        let routes = self.netlink.routes().map_err(|e| self.failed(e))?;
        let default = IpNet::V6(Ipv6Net::default());
        if let Some(gateway) = gateway
            && routes.iter().all(|route| route.destination != default)
        {
            let route = Route::via(default, gateway.into()).oif(self.link.index).protocol(PROTOCOL);
            self.netlink.add_route(&route).map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    /// The IPv6 addresses on the link.
    pub fn addresses_v6(&mut self) -> Result<Vec<Address>, SandboxError> {
        let all = self.netlink.addresses().map_err(|e| self.failed(e))?;
        let index = self.link.index;
        Ok(all.into_iter().filter(|a| a.index == index && a.net.addr().is_ipv6()).collect())
    }

    fn set_address(&mut self, net: Ipv6Net, deprecated: bool) -> Result<(), SandboxError> {
        let address = Address::new(self.link.index, net.into()).protocol(PROTOCOL).no_dad();
        let address = if deprecated { address.deprecated() } else { address };
        self.netlink.replace_address(&address).map_err(|e| self.failed(e))
    }

    /// Packets of IPv6 may be shorter than the link would carry: routers say what the way to them does.
    fn limit_v6(&self, mtu: Option<u16>) {
        let carried = self.link.mtu;
        let mtu = mtu.map_or(carried, |mtu| u32::from(mtu).min(carried)).to_string();
        if self.get_v6("mtu").as_ref() != Some(&mtu) {
            self.set_v6("mtu", &mtu);
        }
    }

    fn set_routes(
        &mut self,
        task: Task6<'_>,
        fresh: bool,
        now: &mut Ipv6Record,
    ) -> Result<bool, SandboxError> {
        let state = task.state;
        let Ipv6Record { defaults, routes: recorded, .. } = now;
        let all: Vec<Route> = self.netlink.routes().map_err(|e| self.failed(e))?;
        let index = self.link.index;
        let v4 = |route: &&Route| route.is_default() && route.destination == IpNet::V4(Ipv4Net::default());
        let chosen = all.iter().filter(v4).min_by_key(|route| route.priority).and_then(|route| route.oif);
        let marked = |route: &Route| route.oif == Some(index) && route.protocol == PROTOCOL;
        let own = |route: &Route| {
            let known = || recorded.iter().any(|known| Some(*known) == recorded_as(route));
            // An attachment's default routes have the kernel's metric for routes without one.
            let of_state = || if route.is_default() { route.priority > Some(METRIC) } else { known() };
            marked(route) && (!task.shared || of_state())
        };
        // The attachment's own are of no concern here.
        let counts = |route: &Route| route.destination.addr().is_ipv6() && (own(route) || !marked(route));
        let all: Vec<Route> = all.into_iter().filter(counts).collect();
        let others = all.iter().any(|r| r.is_default() && r.protocol == PROTOCOL && r.oif != Some(index));
        let routers: Vec<Ipv6Addr> =
            all.iter().filter(|route| own(route) && route.is_default()).filter_map(router).collect();
        defaults.foreign |= !fresh && is_taken(defaults.set.as_deref(), &routers);
        let metric = first_metric(index, &all, chosen);
        let mut wanted = routes(index, state, task.skip_routes, metric);
        if defaults.foreign {
            // None is set any more. Those that are left stay for as long as their routers do.
            wanted.retain(|route| !route.is_default());
            let still = |route: &&Route| {
                let there = router(route);
                route.is_default() && own(route) && state.routers.iter().any(|r| Some(r.address) == there)
            };
            wanted.extend(all.iter().filter(still).cloned());
        }
        let mut kept = Vec::new();
        for route in all.iter().filter(|route| own(route)) {
            if !wanted.contains(route)
                && let Err(error) = self.netlink.delete_route(route)
            {
                tracing::warn!(error = %chain(&error), "an IPv6 route of the container could not be removed");
                kept.extend(recorded_as(route));
            }
        }
        let mut set = Vec::new();
        for route in wanted {
            let there = all.contains(&route);
            if !there && let Err(error) = self.netlink.add_route(&route) {
                // Somebody else in the container may have set the same.
                if !error.exists() {
                    tracing::warn!(error = %chain(&error), "an IPv6 route of the container could not be set");
                }
                continue;
            }
            kept.extend(recorded_as(&route));
            set.extend(router(&route).filter(|_| route.is_default()));
        }
        *recorded = if task.shared { kept } else { Vec::new() };
        // Before there was a router nothing was set that could be taken away.
        if defaults.set.is_some() || !set.is_empty() {
            defaults.set = Some(set);
        }
        Ok(others)
    }

    /// An IPv6 setting of the link, if it can be read.
    fn get_v6(&self, key: &'static str) -> Option<String> {
        let name = self.link.name.clone();
        self.netns.run(move || sysctl::get(Family::V6, &name, key)).ok()?.ok()
    }

    /// Writes an IPv6 setting of the link. `false`: it was not written.
    pub fn set_v6(&self, key: &'static str, value: &str) -> bool {
        let (name, text) = (self.link.name.clone(), value.to_owned());
        let set = self.netns.run(move || sysctl::set(Family::V6, &name, key, &text));
        let set = set.and_then(|inner| inner);
        match &set {
            Ok(()) => {}
            // Renamed under our hands, or no IPv6 there: arriving ends with the final name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::debug!(%error, link = %self.link.name, key, value, "IPv6 setting not written");
            }
        }
        set.is_ok()
    }
}

/// The addresses of a state, and whether each is deprecated.
pub fn addresses(state: &State6) -> Vec<(Ipv6Net, bool)> {
    let link_local = state.link_local.and_then(|address| Ipv6Net::new(address, 64).ok());
    let others = state.addresses.iter().map(|address| (address.net, address.deprecated));
    link_local.map(|net| (net, false)).into_iter().chain(others).collect()
}

/// What is stored of a route that was set. Default routes can be told without.
fn recorded_as(route: &Route) -> Option<Route6> {
    let IpNet::V6(destination) = route.destination else { return None };
    if route.is_default() {
        return None;
    }
    Some((destination, router(route), route.priority?))
}

fn router(route: &Route) -> Option<Ipv6Addr> {
    match route.gateway? {
        IpAddr::V6(router) => Some(router),
        IpAddr::V4(_) => None,
    }
}

/// Whether one of the default routes that were set last is not there any more, so that another must have taken it.
fn is_taken(set: Option<&[Ipv6Addr]>, there: &[Ipv6Addr]) -> bool {
    set.is_some_and(|set| set.iter().any(|router| !there.contains(router)))
}

/// Where the metrics of a link's default routes begin. Two default routes with one metric would be one with two ways, and
/// packets would leave by either, whatever address they are from; so the container's links take turns. Docker's own have
/// the kernel's metric for routes without one: they win, and neither refuses the other. The link that Docker has chosen for
/// the IPv4 default route (`chosen`) goes before the container's others, and they go behind it.
fn first_metric(index: u32, all: &[Route], chosen: Option<u32>) -> u32 {
    let blocks = |counts: &dyn Fn(&Route) -> bool| -> BTreeSet<u32> {
        let found = all.iter().filter(|route| route.is_default() && counts(route));
        found.filter_map(|r| r.priority).filter(|metric| *metric >= METRIC).map(|m| m / METRICS).collect()
    };
    let ours = |link: u32| blocks(&|route| route.oif == Some(link) && route.protocol == PROTOCOL);
    let taken = blocks(&|route| route.oif != Some(index));
    let others = blocks(&|route| route.oif != Some(index) && route.protocol == PROTOCOL);
    let first = METRIC / METRICS + 1;
    let best = chosen.filter(|link| *link != index).and_then(|link| ours(link).first().copied());
    let behind = best.map_or(first, |best| best.max(first));
    let fits = |block: &u32| !taken.contains(block) && best.is_none_or(|best| *block > best);
    let kept = ours(index).into_iter().find(fits);
    // A route that is the best already stays as it is: somebody may have set a better one since.
    let is_best = kept.is_some_and(|kept| others.iter().all(|other| *other > kept));
    let front = Some(first).filter(|block| chosen == Some(index) && !is_best && !taken.contains(block));
    // Among one more than are taken there is a free one.
    let free = (behind + 1..).take(taken.len() + 1).find(|block| !taken.contains(block));
    front.or(kept).or(free).unwrap_or(first) * METRICS
}

fn routes(index: u32, state: &State6, skip_routes: bool, metric: u32) -> Vec<Route> {
    let ours = |route: Route, priority: u32| route.oif(index).protocol(PROTOCOL).priority(priority);
    let mut routes = Vec::new();
    for on_link in &state.on_link {
        // The kernel has a route to the network of each address.
        let covered = state.addresses.iter().any(|address| address.net.trunc() == on_link.prefix);
        if !covered {
            routes.push(ours(Route::on_link(on_link.prefix.into(), index), METRIC));
        }
    }
    if !skip_routes {
        let mut told: Vec<_> = state.routes.iter().collect();
        told.sort_by_key(|route| std::cmp::Reverse(route.preference));
        for (at, route) in told.iter().enumerate() {
            let better = told[..at].iter().filter(|other| other.destination == route.destination);
            let metric = (METRIC..).zip(better).last().map_or(METRIC, |(metric, _)| metric + 1);
            routes.push(ours(Route::via(route.destination.into(), route.gateway.into()), metric));
        }
    }
    let everywhere = IpNet::V6(Ipv6Net::new(Ipv6Addr::UNSPECIFIED, 0).unwrap_or_default());
    // The best first; they are few.
    for (router, rank) in state.routers.iter().zip(0..METRICS) {
        routes.push(ours(Route::via(everywhere, router.address.into()), metric + rank));
    }
    routes
}
