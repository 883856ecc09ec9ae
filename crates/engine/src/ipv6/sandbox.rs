//! What a state means for the link in a sandbox.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv6Net};
use landline_dhcp::v6::State6;
use landline_kernel::sysctl::{self, Family};
use landline_kernel::{Address, Route};

use crate::mark::PROTOCOL;
use crate::sandbox::{Sandbox, SandboxError};

/// `IFA_PROTO` of link-local addresses the kernel made (`IFAPROT_KERNEL_LL`).
const KERNEL_LINK_LOCAL: u8 = 3;

/// The kernel's metric for routes without one; the routers of one link take this many from there on.
const METRIC: u32 = 1024;
const METRICS: u32 = 16;

impl Sandbox {
    /// Brings the link in line with the state, and returns the addresses that it has of it. Only what is marked as
    /// ours is removed, and the addresses in `applied`, which Docker or we put there.
    pub(crate) fn configure_v6(
        &mut self,
        state: &State6,
        skip_routes: bool,
        applied: &[Ipv6Net],
    ) -> Result<Vec<Ipv6Net>, SandboxError> {
        let wanted = addresses(state);
        if !wanted.is_empty() {
            self.quiet_v6(true);
            // Docker switches IPv6 off on links that it gave no address.
            self.set_v6("disable_ipv6", "0");
            self.limit_v6(state.mtu);
        }
        let present = self.addresses_v6()?;
        for (net, deprecated) in &wanted {
            let there = present.iter().any(|a| a.net == IpNet::V6(*net) && a.is_deprecated() == *deprecated);
            if !there {
                self.set_address(*net, *deprecated)?;
            }
        }
        for address in &present {
            let IpNet::V6(net) = address.net else { continue };
            let ours = address.protocol == PROTOCOL || applied.contains(&net);
            // The kernel made one of its own before it was told not to.
            let kernels = address.protocol == KERNEL_LINK_LOCAL && state.link_local.is_some();
            if (ours || kernels) && wanted.iter().all(|(wanted, _)| *wanted != net) {
                self.netlink.delete_address(address).map_err(|e| self.failed(e))?;
            }
        }
        self.set_routes(state, skip_routes)?;
        Ok(wanted.into_iter().map(|(net, _)| net).collect())
    }

    /// Puts a fixed address on a new link, and the default route through `gateway` unless the sandbox has one.
    pub(crate) fn fix_v6(&mut self, net: Ipv6Net, gateway: Option<Ipv6Addr>) -> Result<(), SandboxError> {
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
    pub(crate) fn addresses_v6(&mut self) -> Result<Vec<Address>, SandboxError> {
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
        let name = self.link.name.clone();
        let now = self.netns.run(move || sysctl::get(Family::V6, &name, "mtu"));
        if !matches!(now, Ok(Ok(now)) if now == mtu) {
            self.set_v6("mtu", &mtu);
        }
    }

    fn set_routes(&mut self, state: &State6, skip_routes: bool) -> Result<(), SandboxError> {
        let all: Vec<Route> = self.netlink.routes().map_err(|e| self.failed(e))?;
        let all: Vec<Route> = all.into_iter().filter(|r| r.destination.addr().is_ipv6()).collect();
        let wanted = routes(self.link.index, state, skip_routes, first_metric(self.link.index, &all));
        let own = |route: &&Route| route.oif == Some(self.link.index) && route.protocol == PROTOCOL;
        for route in all.iter().filter(own) {
            if !wanted.contains(route) {
                self.netlink.delete_route(route).map_err(|e| self.failed(e))?;
            }
        }
        for route in wanted {
            if !all.contains(&route) {
                match self.netlink.add_route(&route) {
                    // Somebody else in the container set the same.
                    Err(error) if error.exists() => {}
                    done => done.map_err(|e| self.failed(e))?,
                }
            }
        }
        Ok(())
    }

    /// Writes an IPv6 setting of the link.
    pub(crate) fn set_v6(&self, key: &'static str, value: &str) {
        let (name, text) = (self.link.name.clone(), value.to_owned());
        let set = self.netns.run(move || sysctl::set(Family::V6, &name, key, &text));
        match set.and_then(|inner| inner) {
            Ok(()) => {}
            // Renamed under our hands, or no IPv6 there: arriving ends with the final name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::debug!(%error, link = %self.link.name, key, value, "IPv6 setting not written");
            }
        }
    }
}

/// The addresses of a state, and whether each is deprecated.
fn addresses(state: &State6) -> Vec<(Ipv6Net, bool)> {
    let link_local = state.link_local.and_then(|address| Ipv6Net::new(address, 64).ok());
    let others = state.addresses.iter().map(|address| (address.net, address.deprecated));
    link_local.map(|net| (net, false)).into_iter().chain(others).collect()
}

/// Where the metrics of a link's default routes begin. Two default routes with one metric would be one with two ways, and
/// packets would leave by either, whatever address they are from; so the container's links take turns.
fn first_metric(index: u32, all: &[Route]) -> u32 {
    let metrics = |own: bool| -> BTreeSet<u32> {
        let defaults = all.iter().filter(|r| r.is_default() && (r.oif == Some(index)) == own);
        let ours = defaults.filter(|r| !own || r.protocol == PROTOCOL);
        ours.filter_map(|r| r.priority).filter(|metric| *metric >= METRIC).map(|m| m / METRICS).collect()
    };
    let taken = metrics(false);
    let kept = metrics(true).into_iter().find(|block| !taken.contains(block));
    let first = METRIC / METRICS;
    // Among one more than are taken there is a free one.
    let free = (first..).take(taken.len() + 1).find(|block| !taken.contains(block));
    kept.or(free).unwrap_or(first) * METRICS
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

#[cfg(test)]
mod tests {
    use super::*;

    fn default(oif: u32, protocol: u8, metric: u32) -> Route {
        let gateway: Ipv6Addr = "fe80::1".parse().unwrap();
        Route::via("::/0".parse().unwrap(), gateway.into()).oif(oif).protocol(protocol).priority(metric)
    }

    #[test]
    fn links_of_one_container_have_metrics_of_their_own_and_keep_them() {
        assert_eq!(first_metric(2, &[]), 1024);
        assert_eq!(first_metric(2, &[default(3, PROTOCOL, 1024)]), 1040);
        assert_eq!(first_metric(2, &[default(3, 2, 1024), default(4, PROTOCOL, 1041)]), 1056);
        let both = [default(3, PROTOCOL, 1024), default(2, PROTOCOL, 1041)];
        assert_eq!((first_metric(2, &both), first_metric(3, &both)), (1040, 1024));
        // One that the user set does not count as ours, and one that is better than any of ours does not matter.
        assert_eq!(first_metric(2, &[default(2, 3, 1040), default(3, 3, 50)]), 1024);
    }
}
