//! Changes of a container's routes, rules and queues: what the listed part of `ip route`, `ip rule` and `tc` means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use landline_kernel::{Qdisc, Route, RouteKind, Rule};
use landline_links::{Namespace, OpenNamespace};
use landline_options::{Change, QdiscChange, RouteChange, RouteKindWord, RuleChange, Verb};
use landline_types::IfName;

use super::inside::InsideError;

pub(super) fn change(netns: &dyn OpenNamespace, change: &Change) -> Result<(), InsideError> {
    let mut netlink = netns.requests()?;
    match change {
        Change::Route(change) => route(&mut *netlink, change),
        Change::Rule(change) => rule(&mut *netlink, change),
        Change::Tc(change) => queue(&mut *netlink, change),
    }
}

fn index(netlink: &mut dyn Namespace, name: &IfName) -> Result<u32, InsideError> {
    let link = netlink.link_by_name(name)?;
    Ok(link.ok_or_else(|| InsideError::NoSuchLink(name.clone()))?.index)
}

fn route(netlink: &mut dyn Namespace, change: &RouteChange) -> Result<(), InsideError> {
    let oif = change.dev.as_ref().map(|name| index(netlink, name)).transpose()?;
    let any = match change.destination.addr() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let base = match (change.via, oif) {
        (Some(via), _) => Route::via(change.destination, via),
        (None, Some(oif)) => Route::on_link(change.destination, oif),
        (None, None) => Route { gateway: None, ..Route::via(change.destination, any) },
    };
    let mut wanted = Route {
        oif,
        kind: match change.kind {
            RouteKindWord::Unicast => RouteKind::Unicast,
            RouteKindWord::Blackhole => RouteKind::Blackhole,
            RouteKindWord::Unreachable => RouteKind::Unreachable,
            RouteKindWord::Prohibit => RouteKind::Prohibit,
        },
        priority: change.metric,
        source: change.source,
        table: change.table.unwrap_or(Route::MAIN_TABLE),
        onlink: change.onlink,
        mtu: change.mtu,
        // What ip-route(8) writes: it is the administrator's, or the container's, and not ours.
        ..base.protocol(BOOT)
    };
    match change.verb {
        Verb::Add => netlink.add_route(&wanted)?,
        Verb::Replace => netlink.replace_route(&wanted)?,
        Verb::Delete => {
            // Whoever set it, and whatever its scope.
            wanted.protocol = 0;
            wanted.scope = if change.via.is_some() { wanted.scope } else { NOWHERE };
            netlink.delete_route(&wanted)?;
        }
    }
    Ok(())
}

/// `RTPROT_BOOT`.
const BOOT: u8 = 3;

/// `RT_SCOPE_NOWHERE`: any, when routes are deleted.
const NOWHERE: u8 = 255;

fn rule(netlink: &mut dyn Namespace, change: &RuleChange) -> Result<(), InsideError> {
    let v6 = [change.from, change.to].into_iter().flatten().any(|net| net.addr().is_ipv6());
    let rule = Rule {
        priority: change.priority.unwrap_or(0),
        from: change.from,
        to: change.to,
        iif: change.iif.as_ref().map(ToString::to_string),
        oif: change.oif.as_ref().map(ToString::to_string),
        fwmark: change.fwmark,
        ..Rule::lookup(v6, change.table)
    };
    match change.verb {
        Verb::Delete => netlink.delete_rule(&rule).map(drop)?,
        Verb::Add | Verb::Replace => netlink.add_rule(&rule)?,
    }
    Ok(())
}

fn queue(netlink: &mut dyn Namespace, change: &QdiscChange) -> Result<(), InsideError> {
    let index = index(netlink, &change.dev)?;
    let Some(qdisc) = &change.qdisc else {
        return Ok(netlink.delete_root_qdisc(index).map(drop)?);
    };
    let qdisc = match qdisc {
        landline_options::Qdisc::Tbf { rate, burst, limit } => {
            Qdisc::Tbf { rate: *rate, burst: *burst, limit: *limit }
        }
        landline_options::Qdisc::Netem(netem) => Qdisc::Netem {
            delay: netem.delay,
            jitter: netem.jitter,
            loss: netem.loss,
            duplicate: netem.duplicate,
        },
        landline_options::Qdisc::FqCodel => Qdisc::FqCodel,
    };
    Ok(netlink.set_root_qdisc(index, &qdisc, change.verb == Verb::Replace)?)
}
