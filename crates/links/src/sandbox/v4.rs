//! What a lease, or a fixed address, means for the IPv4 side of the link in a sandbox.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use landline_kernel::{Address, LinkChange, NetlinkError, Route, RouteKind};
use landline_model::{Applied, DroppedRoute, Holding, WhyDropped};
use landline_types::chain;

use super::{Sandbox, SandboxError};
use crate::mark::PROTOCOL;
use crate::routes::default::{Moment, SeenDefault, SetBy, Step, decide, own};
use crate::routes::{NextHop, Route4, Routing};

/// The metric of a default route that Docker does not know of. Docker's own have none, so they win, and neither refuses
/// the other.
const UNTOLD: u32 = 1024;

/// What Docker sets its routes with, as `ip route` does (`RTPROT_BOOT`).
const BY_DOCKER: u8 = 3;

/// What the sandbox's link should carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The address with its prefix.
    pub address: Ipv4Net,
    /// The routes.
    pub routing: Routing,
    /// The MTU; `None`: as it is.
    pub mtu: Option<u32>,
}

/// What is to be brought about, and when that is.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// `None`: no address of ours.
    pub wanted: Option<&'a Wanted>,
    /// Docker may still be setting up what it was told.
    pub setting_up: bool,
    /// An attachment has marked addresses and routes of its own on the link, so the mark does not tell whose they are.
    pub shared: bool,
}

impl Sandbox {
    /// Makes the link carry what is wanted, as far as the kernel takes it. What was done is written into `now` as it is
    /// done, so it holds even where an error ends it. Only what is marked as Landline's on this link is removed, and what
    /// `now` says Docker put there. A route that cannot be set is in `now.dropped` and stops nothing. `true`: something
    /// waits for Docker; look again once it is done.
    pub fn configure(&mut self, task: Task<'_>, now: &mut Applied) -> Result<bool, SandboxError> {
        let present = self.addresses_v4()?;
        let wanted = task.wanted;
        let has = |net: Ipv4Net| present.iter().any(|address| address.net == IpNet::V4(net));
        let fresh = wanted.is_some_and(|wanted| !has(wanted.address));
        let stale: Vec<&Address> = present
            .iter()
            .filter(|address| {
                let recorded = now.address.is_some_and(|net| address.net == IpNet::V4(net));
                let ours = recorded || address.protocol == PROTOCOL && !task.shared;
                ours && wanted.is_none_or(|wanted| address.net != IpNet::V4(wanted.address))
            })
            .collect();
        if wanted.is_none() || fresh || !stale.is_empty() {
            let there = now.address.is_some_and(has);
            self.park_default(task.shared, there, now)?;
        }
        self.remove_routes(wanted, task.shared, now)?;
        let mut failed = None;
        for address in stale {
            if let Err(error) = self.netlink.delete_address(address) {
                failed = Some(error);
            }
        }
        if let Some(error) = failed {
            // It stays in the record, so the next look tries again.
            return Err(self.failed(error));
        }
        let Some(wanted) = wanted else {
            (now.address, now.default_route) = (None, false);
            now.dropped.clear();
            return Ok(false);
        };
        if let Some(mtu) = wanted.mtu
            && (fresh || now.mtu != wanted.mtu)
        {
            match self.set_mtu(mtu) {
                Ok(()) => now.mtu = Some(mtu),
                Err(error) => tracing::warn!(error = %chain(&error), mtu, "the MTU was not set"),
            }
        }
        now.address = Some(wanted.address);
        if fresh {
            self.add_address(wanted.address)?;
        }
        let mut dropped = wanted.routing.dropped.clone();
        let refused = self.add_routes(&wanted.routing.routes, fresh, now)?;
        let mut again = task.setting_up && !refused.is_empty();
        dropped.extend(refused);
        let moment = Moment { setting_up: task.setting_up, fresh, shared: task.shared };
        again |= self.follow_default(wanted.routing.default, moment, now, &mut dropped)?;
        now.dropped = dropped;
        Ok(again)
    }

    /// Sets the default route in the place of whatever there is: somebody asked for that (`landline attach`).
    pub fn take_default(&mut self, hop: NextHop) -> Result<(), SandboxError> {
        let route = route(self.link.index, Ipv4Net::default(), hop.router());
        self.netlink.replace_route(&route).map_err(|e| self.failed(e))
    }

    /// Whether a default route of the container goes through the link.
    pub fn has_default_route(&mut self) -> Result<bool, SandboxError> {
        Ok(self.defaults()?.1.iter().any(|route| route.own_link))
    }

    fn addresses_v4(&mut self) -> Result<Vec<Address>, SandboxError> {
        let all = self.netlink.addresses().map_err(|e| self.failed(e))?;
        let index = self.link.index;
        Ok(all.into_iter().filter(|a| a.index == index && a.net.addr().is_ipv4()).collect())
    }

    fn set_mtu(&mut self, mtu: u32) -> Result<(), NetlinkError> {
        if self.link.mtu == mtu {
            return Ok(());
        }
        let change = LinkChange { mtu: Some(mtu), ..LinkChange::new() };
        self.netlink.set_link(self.link.index, &change)
    }

    fn add_address(&mut self, address: Ipv4Net) -> Result<(), SandboxError> {
        let mut new = Address::new(self.link.index, address.into()).protocol(PROTOCOL);
        // Networks of one or two addresses have none for all (RFC 3021).
        if address.prefix_len() < 31 {
            new = new.broadcast(address.broadcast());
        }
        self.netlink.replace_address(&new).map_err(|e| self.failed(e))
    }

    /// The container's IPv4 routes as packets without further marks take them.
    fn routes_v4(&mut self) -> Result<Vec<Route>, SandboxError> {
        let all = self.netlink.routes().map_err(|e| self.failed(e))?;
        let counts = |route: &Route| {
            route.destination.addr().is_ipv4()
                && route.table == Route::MAIN_TABLE
                && route.kind == RouteKind::Unicast
        };
        Ok(all.into_iter().filter(counts).collect())
    }

    /// The container's default routes, and what is seen of each.
    fn defaults(&mut self) -> Result<(Vec<Route>, Vec<SeenDefault>), SandboxError> {
        let mut routes = self.routes_v4()?;
        routes.retain(Route::is_default);
        let index = self.link.index;
        let seen = routes.iter().map(|route| SeenDefault {
            own_link: route.oif == Some(index) && !route.multipath,
            hop: gateway(route).into(),
            by: match (route.protocol, route.priority) {
                (PROTOCOL, _) => SetBy::Landline,
                (BY_DOCKER, None | Some(0)) => SetBy::Docker,
                _ => SetBy::Other,
            },
        });
        let seen = seen.collect();
        Ok((routes, seen))
    }

    /// Notes that the default route goes with the address, if it is Landline's: the kernel drops a link's routes with its
    /// last address. One that is missing although the address is `there` was removed by another, and does not come with the
    /// next address.
    fn park_default(&mut self, shared: bool, there: bool, now: &mut Applied) -> Result<(), SandboxError> {
        let (_, seen) = self.defaults()?;
        if own(&now.default, &seen, shared).is_some() {
            now.default.holding = Holding::Parked;
        } else if there && now.default.holding == Holding::Ours {
            now.default.holding = Holding::Foreign;
        }
        Ok(())
    }

    /// Removes the routes that nobody wants any more.
    fn remove_routes(
        &mut self,
        wanted: Option<&Wanted>,
        shared: bool,
        now: &mut Applied,
    ) -> Result<(), SandboxError> {
        let wanted: &[Route4] = wanted.map_or(&[], |wanted| &wanted.routing.routes);
        let index = self.link.index;
        for there in self.routes_v4()? {
            let Some(same) = route4(&there, index) else { continue };
            let ours = there.protocol == PROTOCOL && !shared || now.routes.contains(&same);
            let ours = ours && there.protocol != Route::BY_KERNEL;
            if !ours || wanted.contains(&same) {
                continue;
            }
            if let Err(error) = self.netlink.delete_route(&there) {
                tracing::warn!(error = %chain(&error), "a route of the container could not be removed");
            }
        }
        now.routes.retain(|route| wanted.contains(route));
        Ok(())
    }

    /// Sets the routes that are not there, unless that is because somebody has removed them since; returns what cannot be
    /// set.
    fn add_routes(
        &mut self,
        wanted: &[Route4],
        fresh: bool,
        now: &mut Applied,
    ) -> Result<Vec<DroppedRoute>, SandboxError> {
        let index = self.link.index;
        let there = self.routes_v4()?;
        let mut refused = Vec::new();
        for &(destination, hop) in wanted {
            let known = now.routes.contains(&(destination, hop));
            let same = there.iter().find(|there| route4(there, index) == Some((destination, hop)));
            if let Some(same) = same {
                // One that Docker, the kernel or somebody inside has set is there as well, and theirs.
                if !known && same.protocol == PROTOCOL {
                    now.routes.push((destination, hop));
                }
                continue;
            }
            if known && !fresh {
                continue;
            }
            now.routes.retain(|route| *route != (destination, hop));
            match self.netlink.add_route(&route(index, destination, hop)) {
                Ok(()) => now.routes.push((destination, hop)),
                Err(error) if error.exists() => {
                    refused.push(DroppedRoute::new(destination, hop, WhyDropped::Taken));
                }
                Err(error) => {
                    let why = WhyDropped::Refused(chain(&error));
                    refused.push(DroppedRoute::new(destination, hop, why));
                }
            }
        }
        Ok(refused)
    }

    /// Does about the default route what is to be done. `true`: Docker may still set it.
    fn follow_default(
        &mut self,
        wanted: Option<NextHop>,
        moment: Moment,
        now: &mut Applied,
        dropped: &mut Vec<DroppedRoute>,
    ) -> Result<bool, SandboxError> {
        let (routes, seen) = self.defaults()?;
        let (step, holding) = decide(&now.default, &seen, wanted, moment);
        let index = self.link.index;
        let default = |hop: NextHop| route(index, Ipv4Net::default(), hop.router());
        let done = match step {
            Step::Keep | Step::Wait => Ok(true),
            Step::Remove(at) => self.netlink.delete_route(&routes[at]).map(|_| true),
            Step::Replace(at, hop) => {
                let new = Route { priority: routes[at].priority, ..default(hop) };
                self.exchange(&routes[at], &new)
            }
            Step::Add(hop) => {
                let priority = now.default.told.is_none().then_some(UNTOLD);
                match self.netlink.add_route(&Route { priority, ..default(hop) }) {
                    Err(error) if error.exists() => Ok(false),
                    added => added.map(|()| true),
                }
            }
        };
        match (done, step) {
            (Ok(true), Step::Replace(_, hop) | Step::Add(hop)) => now.default.set = hop.router(),
            (Ok(true), _) => {}
            (Ok(false), _) => {
                (now.default.holding, now.default_route) = (Holding::Foreign, false);
                return Ok(false);
            }
            (Err(error), Step::Replace(_, hop) | Step::Add(hop)) => {
                let why = WhyDropped::Refused(chain(&error));
                dropped.push(DroppedRoute::new(Ipv4Net::default(), hop.router(), why));
                return Ok(moment.setting_up);
            }
            (Err(error), _) => return Err(self.failed(error)),
        }
        now.default.holding = holding;
        // What Docker was told it is about to set, unless it chose another network.
        now.default_route = holding == Holding::Ours || step == Step::Wait && seen.is_empty();
        Ok(step == Step::Wait)
    }

    /// Puts a default route in the place of one. `false`: that had gone meanwhile, and none is set. The new one is there
    /// before the old one goes, and nothing else is touched: whoever replaces the default route at this very moment
    /// keeps theirs.
    fn exchange(&mut self, old: &Route, new: &Route) -> Result<bool, NetlinkError> {
        match self.netlink.append_route(new) {
            Err(error) if !error.exists() => return Err(error),
            _ => {}
        }
        if self.netlink.delete_route(old)? {
            return Ok(true);
        }
        self.netlink.delete_route(new)?;
        Ok(false)
    }
}

fn gateway(route: &Route) -> Option<Ipv4Addr> {
    match route.gateway? {
        std::net::IpAddr::V4(gateway) => Some(gateway),
        std::net::IpAddr::V6(_) => None,
    }
}

/// A route of this link that is no default route and has no metric, such as those that are set here.
fn route4(route: &Route, index: u32) -> Option<Route4> {
    let IpNet::V4(destination) = route.destination else { return None };
    let plain = route.oif == Some(index)
        && !route.multipath
        && destination.prefix_len() != 0
        && route.priority.unwrap_or(0) == 0;
    plain.then(|| (destination, gateway(route)))
}

/// A route of ours through the link with this index.
fn route(index: u32, destination: Ipv4Net, hop: Option<Ipv4Addr>) -> Route {
    let route = match hop {
        Some(hop) => Route::via(destination.into(), hop.into()),
        None => Route::on_link(destination.into(), index),
    };
    Route { oif: Some(index), protocol: PROTOCOL, ..route }
}
