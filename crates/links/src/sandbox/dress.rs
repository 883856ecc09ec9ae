//! What an attachment's link carries in a sandbox besides a lease: static addresses and the default routes they come with.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use landline_kernel::sysctl::Family;
use landline_kernel::{Address, LinkChange, NetlinkError, Route};
use landline_options::AttachSpec;
use landline_types::IfName;

use crate::mark::PROTOCOL;
use crate::namespaces::{Namespace, OpenNamespace};

/// What becomes of the default routes that static addresses come with.
#[derive(Debug, Clone, Copy)]
pub enum Defaults<'a> {
    /// They take the place of those that are there.
    Take,
    /// Those that this did not ask for already do; the others were set then, and are whatever they have become.
    TakeNew(&'a AttachSpec),
    /// They are set where there are none.
    IfFree,
}

/// Puts the static addresses of an attachment on its link in a namespace, and the default routes they come with. What is there
/// already stays.
///
/// # Errors
/// What the kernel refused; what was done before stays.
pub fn dress(
    netns: &dyn OpenNamespace,
    netlink: &mut dyn Namespace,
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
fn is_off_v6(netns: &dyn OpenNamespace, link: &IfName) -> bool {
    netns.setting(Family::V6, link, "disable_ipv6").is_ok_and(|off| off != "0")
}

/// Docker switches IPv6 off where it gives no such address.
fn allow_v6(netns: &dyn OpenNamespace, link: &IfName) {
    if let Err(error) = netns.set(Family::V6, link, "disable_ipv6", "0") {
        // A kernel without IPv6 says so when it is given the address.
        tracing::debug!(%error, %link, "IPv6 is not switched on");
    }
}

fn default_route(
    netlink: &mut dyn Namespace,
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
