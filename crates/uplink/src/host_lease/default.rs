//! Whether a default route of the host's is from its lease, and what becomes of it with another address.
//!
//! A VPN on the host replaces the default route, a kill switch removes it, another connection has one. None of that is
//! undone: the lease's own goes along with its address, and nothing else.

use std::net::{IpAddr, Ipv4Addr};

use landline_kernel::Route;

/// What is to be done so that a default route goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Keep,
    /// Set it in the place of the lease's own.
    Replace,
    /// Set it where there is none.
    Add,
}

pub(super) fn is_default(route: &Route) -> bool {
    route.is_default() && route.destination.addr().is_ipv4()
}

/// Whether a default route through the lease's link came with the lease: by its mark, its source, or the router that the
/// server had `said`, as scripts set it. Where nobody knows what was said, whatever scripts or people set counts.
pub(super) fn is_of_lease(route: &Route, address: Option<IpAddr>, said: Option<Ipv4Addr>) -> bool {
    let by_router = || route.gateway.is_some() && said.is_none_or(|said| route.gateway == Some(said.into()));
    route.protocol == Route::BY_DHCP
        || (route.source.is_some() && route.source == address)
        || (route.table == Route::MAIN_TABLE && route.protocol != Route::BY_KERNEL && by_router())
}

/// What becomes of `wanted`. `now`: all default routes of the host; `own`: those of the lease as they were with the address
/// before; `before`: all as they were then.
pub(super) fn step(wanted: &Route, now: &[Route], own: &[Route], before: &[Route]) -> Step {
    let metric = |route: &Route| route.priority.unwrap_or(0);
    let rivals = || now.iter().filter(|route| is_default(route) && route.table == wanted.table);
    // The kernel replaces the first one with this metric, whoever set that.
    match rivals().find(|route| metric(route) == metric(wanted)) {
        Some(first) if own.contains(first) => Step::Replace,
        // It went with the address. One that was set since then stays the one that is used.
        None if rivals().all(|route| metric(route) < metric(wanted) || before.contains(route)) => Step::Add,
        Some(_) | None => Step::Keep,
    }
}

#[cfg(test)]
#[expect(clippy::cloned_ref_to_slice_refs, reason = "lists of routes read as such")]
mod tests {
    use super::*;

    const LINK: u32 = 3;

    fn router(n: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, n).into()
    }

    fn via(n: u8, metric: u32) -> Route {
        let route = Route::via("0.0.0.0/0".parse().unwrap(), router(n)).oif(LINK).protocol(Route::BY_DHCP);
        if metric == 0 { route } else { route.priority(metric) }
    }

    fn tunnel() -> Route {
        Route::on_link("0.0.0.0/0".parse().unwrap(), 9)
    }

    #[test]
    fn anothers_default_is_not_replaced() {
        let (own, wanted) = (via(1, 0), via(2, 0));
        let step = |now: &[Route], own: &[Route], before: &[Route]| step(&wanted, now, own, before);
        assert_eq!(step(&[own.clone()], &[own.clone()], &[own.clone()]), Step::Replace);
        // A VPN's, at any time; one through the lease's own link; one behind another's of the same metric.
        assert_eq!(step(&[tunnel()], &[], &[tunnel()]), Step::Keep);
        assert_eq!(step(&[tunnel()], &[own.clone()], &[own.clone()]), Step::Keep);
        assert_eq!(step(&[via(7, 0)], &[own.clone()], &[own.clone()]), Step::Keep);
        assert_eq!(step(&[tunnel(), own.clone()], &[own.clone()], &[tunnel(), own]), Step::Keep);
    }

    #[test]
    fn what_went_with_the_address_comes_back_with_the_next() {
        let (own, wanted) = (via(1, 100), via(2, 100));
        let spare = Route { oif: Some(4), ..via(5, 1024) };
        let step = |now: &[Route], before: &[Route]| step(&wanted, now, &[own.clone()], before);
        assert_eq!(step(&[], &[own.clone()]), Step::Add);
        assert_eq!(step(&[spare.clone()], &[own.clone(), spare.clone()]), Step::Add);
        assert_eq!(step(&[tunnel()], &[own.clone()]), Step::Add, "it is not the one that is used");
        assert_eq!(step(&[spare], &[own.clone()]), Step::Keep, "it was set since then");
        // In another table there is another one.
        assert_eq!(step(&[via(1, 100).table(7)], &[own.clone()]), Step::Add);
    }

    #[test]
    fn the_leases_own_is_known_by_its_mark_its_source_or_its_router() {
        let by_hand = |n| via(n, 0).protocol(3);
        let (address, IpAddr::V4(said)) = (Some(router(9)), router(1)) else { unreachable!() };
        assert!(is_of_lease(&via(7, 0), address, Some(said)));
        assert!(is_of_lease(&by_hand(7).source(router(9)), address, Some(said)));
        assert!(is_of_lease(&by_hand(1), address, Some(said)));
        assert!(is_of_lease(&by_hand(7), address, None));
        assert!(!is_of_lease(&by_hand(7), address, Some(said)));
        assert!(!is_of_lease(&by_hand(1).table(7), address, Some(said)));
        assert!(!is_of_lease(&tunnel(), address, Some(said)), "without a router, and nobody's source");
        assert!(!is_of_lease(&tunnel(), None, None));
    }
}
