//! A NIC under a bridge: turning it into a port, with everything the host has on it, and back; and the host's own leases.
//!
//! [`survey`] looks and refuses, [`adopt`] and [`release`] act. What is done can be stopped at any point: each address
//! and route is on the NIC, on the bridge or on both, and [`release`] called from any such state ends with all of it
//! on the NIC again. Whoever calls [`adopt`] has somebody else ready to do that (`landline bridge` has a process for
//! it), because a host that lost its way to the network cannot be told to go back.
//!
//! Everything here blocks for the time of some netlink requests, in the namespace of the calling thread, and what is about
//! Open vSwitch (`ovs`) for that of some of its transactions, on a blocking thread of the runtime. [`HostLeases`] keeps the address of a
//! host whose NIC went under a bridge, as the network manager did before.

mod carry;
mod host_lease;
mod ovs;
mod survey;

use landline_kernel::{Link, LinkChange, LinkKind, Netlink, NetlinkError, NewLink, NewLinkKind};
use landline_links::settings;
use landline_types::IfName;

pub use host_lease::{HostLease, HostLeases};
pub use ovs::{keep, sweep};
pub use survey::{RefusedUplink, Uplink, survey};

/// How the alias of a bridge begins that was made for a NIC; the NIC's name follows.
const MARK: &str = "landline:uplink:";

/// The alias of the bridge for this NIC.
pub fn mark(nic: &IfName) -> String {
    format!("{MARK}{nic}")
}

/// What kind of bridge a NIC goes under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeKind {
    /// One of the kernel's.
    Linux,
    /// One of Open vSwitch's, forwarded by the kernel.
    Ovs,
    /// One of Open vSwitch's, forwarded by `ovs-vswitchd` itself.
    OvsUserSpace,
}

impl BridgeKind {
    /// Open vSwitch's word for where it forwards.
    const fn datapath_type(self) -> &'static str {
        match self {
            Self::OvsUserSpace => "netdev",
            Self::Linux | Self::Ovs => "system",
        }
    }
}

/// Why a NIC or a bridge was not changed, or not all of the way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UplinkError {
    /// It cannot be done.
    #[error(transparent)]
    Refused(#[from] RefusedUplink),
    /// The kernel did not.
    #[error(transparent)]
    Kernel(#[from] NetlinkError),
    /// There is no connection to the kernel.
    #[error("cannot talk to the kernel")]
    Open(#[from] std::io::Error),
    /// Open vSwitch did not.
    #[error(transparent)]
    Switch(#[from] landline_ovsdb::Error),
}

/// Makes the bridge with the NIC's hardware address, MTU and settings, moves addresses, routes and permanent neighbours
/// there, and the NIC under it. Packets go on flowing: a route is exchanged in one request, and an address is on the
/// bridge before it leaves the NIC.
///
/// # Errors
/// See [`UplinkError`]; whatever was done until then stays done ([`release`] undoes it).
pub fn adopt(uplink: &Uplink) -> Result<(), UplinkError> {
    let mut netlink = Netlink::open()?;
    let nic = &uplink.nic;
    match uplink.kind {
        BridgeKind::Linux => make(&mut netlink, uplink)?,
        BridgeKind::Ovs | BridgeKind::OvsUserSpace => ovs::make(uplink)?,
    }
    let bridge = look_up(&mut netlink, &uplink.bridge)?;
    settings::copy(&nic.name, &bridge.name);
    netlink.set_link(bridge.index, &LinkChange::new().up())?;

    carry::addresses(&mut netlink, nic, &bridge)?;
    carry::neighbours(&mut netlink, nic, &bridge)?;
    match uplink.kind {
        BridgeKind::Linux => plug(&mut netlink, nic, &bridge)?,
        BridgeKind::Ovs | BridgeKind::OvsUserSpace => {
            ovs::plug(uplink)?;
            // The database says so too; this is for who listens to the kernel.
            netlink.set_link(bridge.index, &LinkChange::new().alias(mark(&nic.name)))?;
        }
    }
    carry::routes(&mut netlink, nic, &bridge)?;
    carry::clear(&mut netlink, nic)?;
    settings::copy_filter(&nic.name, &bridge.name);
    Ok(())
}

fn make(netlink: &mut Netlink, uplink: &Uplink) -> Result<(), NetlinkError> {
    let nic = &uplink.nic;
    let mut bridge = NewLink::new(uplink.bridge.clone(), NewLinkKind::Bridge);
    // Its own, not that of the port with the lowest one: that would change with every container.
    bridge.mac = nic.mac;
    bridge.mtu = Some(nic.mtu);
    bridge.alias = Some(mark(&nic.name));
    netlink.add_link(&bridge)
}

fn plug(netlink: &mut Netlink, nic: &Link, bridge: &Link) -> Result<(), UplinkError> {
    let port = netlink.set_link(nic.index, &LinkChange::new().controller(Some(bridge.index)));
    port.map_err(|error| {
        let has_children = RefusedUplink::ChildrenElsewhere { name: nic.name.clone() };
        if error.busy() { UplinkError::Refused(has_children) } else { error.into() }
    })
}

/// Moves everything from a bridge that [`adopt`] made, or was about to make, for this NIC back to it and removes the
/// bridge. There may be nothing to do any more; a bridge that somebody else made under that name is left alone.
///
/// # Errors
/// See [`UplinkError`]; asked again, it goes on where it stopped.
pub fn release(bridge: &IfName, nic: &IfName, kind: BridgeKind) -> Result<(), UplinkError> {
    let mut netlink = Netlink::open()?;
    if kind != BridgeKind::Linux {
        // Its row is there before its link, and after it.
        let Some(row) = ovs::find(bridge, nic)? else { return Ok(()) };
        if let Some(bridge) = netlink.link_by_name(bridge)? {
            let nic = look_up(&mut netlink, nic)?;
            carry_back(&mut netlink, &bridge, &nic)?;
        }
        return Ok(ovs::remove(&row)?);
    }
    let Some(bridge) = netlink.link_by_name(bridge)? else { return Ok(()) };
    let nic = look_up(&mut netlink, nic)?;
    if !is_ours(&bridge, &nic, &netlink.links()?) {
        return Ok(());
    }
    carry_back(&mut netlink, &bridge, &nic)?;
    if nic.controller == Some(bridge.index) {
        netlink.set_link(nic.index, &LinkChange::new().controller(None))?;
    }
    netlink.delete_link(bridge.index)?;
    Ok(())
}

fn carry_back(netlink: &mut Netlink, bridge: &Link, nic: &Link) -> Result<(), NetlinkError> {
    settings::no_filter(&bridge.name);
    if !nic.up {
        // Somebody has switched it off, and then it has no routes.
        netlink.set_link(nic.index, &LinkChange::new().up())?;
    }
    carry::addresses(netlink, bridge, nic)?;
    carry::neighbours(netlink, bridge, nic)?;
    carry::routes(netlink, bridge, nic)
}

/// Whether [`adopt`] made this bridge for that NIC. The kernel takes the mark only once the bridge is there; until then it
/// is known by having the NIC's hardware address and nothing else.
fn is_ours(bridge: &Link, nic: &Link, links: &[Link]) -> bool {
    if let Some(alias) = &bridge.alias {
        return alias.strip_prefix(MARK) == Some(nic.name.as_str());
    }
    let bare = matches!(bridge.kind, LinkKind::Bridge { .. }) && bridge.mac == nic.mac && !bridge.up;
    bare && !links.iter().any(|link| link.controller == Some(bridge.index))
}

/// The NIC a bridge was made for, and its kind, if [`release`] may be called for it: it was made by [`adopt`] and carries
/// nothing else.
///
/// # Errors
/// See [`UplinkError`].
pub fn releasable(name: &IfName) -> Result<(IfName, BridgeKind), UplinkError> {
    let mut netlink = Netlink::open()?;
    let bridge = look_up(&mut netlink, name)?;
    let (made_for, kind) = match &bridge.kind {
        LinkKind::Bridge { .. } => (made_for(&bridge, &netlink.links()?), BridgeKind::Linux),
        // Those of Open vSwitch in the kernel, and in user space.
        LinkKind::OpenVswitch | LinkKind::Tun => (ovs::made_for(name)?, BridgeKind::Ovs),
        _ => (None, BridgeKind::Linux),
    };
    Ok((without_guests(&bridge.name, made_for)?, kind))
}

/// The NIC that a bridge of the kernel's was made for, and the bridge's other ports.
fn made_for(bridge: &Link, links: &[Link]) -> Option<(IfName, Vec<String>)> {
    let nic: IfName = bridge.alias.as_deref()?.strip_prefix(MARK)?.parse().ok()?;
    let ports = links.iter().filter(|link| link.controller == Some(bridge.index) && link.name != nic);
    let guests = ports.map(|link| link.name.to_string()).collect();
    Some((nic, guests))
}

/// The NIC, unless the bridge was made for none or has other ports.
fn without_guests(bridge: &IfName, made_for: Option<(IfName, Vec<String>)>) -> Result<IfName, RefusedUplink> {
    match made_for {
        None => Err(RefusedUplink::NotOurs { name: bridge.clone() }),
        Some((nic, guests)) if guests.is_empty() => Ok(nic),
        Some((_, guests)) => Err(RefusedUplink::Guests { bridge: bridge.clone(), guests }),
    }
}

fn look_up(netlink: &mut Netlink, name: &IfName) -> Result<Link, UplinkError> {
    let missing = || RefusedUplink::NoLink { name: name.clone() };
    Ok(netlink.link_by_name(name)?.ok_or_else(missing)?)
}

#[cfg(test)]
mod tests {
    use landline_links::fake::link;
    use landline_types::Mac;

    use super::*;

    const BRIDGE: LinkKind = LinkKind::Bridge { vlan_filtering: false };

    fn name(name: &str) -> IfName {
        name.parse().unwrap()
    }

    fn mac(last: u8) -> Mac {
        format!("02:00:00:00:00:{last:02x}").parse().unwrap()
    }

    fn nic() -> Link {
        Link { mac: Some(mac(1)), ..link(2, "eth0", LinkKind::Physical) }
    }

    /// As it is between its first request and its second.
    fn half_made() -> Link {
        Link { mac: Some(mac(1)), up: false, ..link(7, "br0", BRIDGE) }
    }

    fn marked(alias: &str) -> Link {
        Link { alias: Some(alias.to_owned()), ..half_made() }
    }

    fn port(index: u32, name: &str) -> Link {
        Link { controller: Some(7), ..link(index, name, LinkKind::Veth) }
    }

    #[test]
    fn a_marked_bridge_is_ours_for_the_nic_of_its_mark_only() {
        let ours = marked(&mark(&nic().name));
        assert!(is_ours(&ours, &nic(), &[]));
        // Whatever it looks like, and whatever is on it.
        let used = Link { up: true, mac: Some(mac(9)), ..ours };
        assert!(is_ours(&used, &nic(), &[port(3, "tap0")]));
        for alias in ["landline:uplink:eth1", "landline:uplink:", "landline:uplink:eth0.7", "the lab's", ""] {
            assert!(!is_ours(&marked(alias), &nic(), &[]), "{alias}");
        }
    }

    #[test]
    fn a_bridge_without_a_mark_is_ours_while_it_is_half_made() {
        assert!(is_ours(&half_made(), &nic(), &[nic(), half_made()]));
        assert!(!is_ours(&Link { up: true, ..half_made() }, &nic(), &[]), "somebody uses it");
        assert!(
            !is_ours(&Link { mac: Some(mac(9)), ..half_made() }, &nic(), &[]),
            "it has an address of its own"
        );
        assert!(!is_ours(&Link { kind: LinkKind::Dummy, ..half_made() }, &nic(), &[]));
        assert!(!is_ours(&half_made(), &nic(), &[port(3, "tap0")]), "it has a port");
        let elsewhere = Link { controller: Some(8), ..port(3, "tap0") };
        assert!(is_ours(&half_made(), &nic(), &[elsewhere]));
    }

    /// What `releasable` says of a bridge of the kernel's.
    fn releases(bridge: &Link, links: &[Link]) -> Result<IfName, RefusedUplink> {
        without_guests(&bridge.name, made_for(bridge, links))
    }

    #[test]
    fn a_bridge_that_carries_nothing_but_its_nic_can_be_released() {
        let ours = marked("landline:uplink:eth0");
        let under = Link { controller: Some(7), ..nic() };
        assert_eq!(releases(&ours, &[under.clone(), ours.clone()]), Ok(name("eth0")));
        // Stopped half-way, the NIC is not under it yet, or no more.
        assert_eq!(releases(&ours, &[nic(), ours.clone()]), Ok(name("eth0")));
        let elsewhere = Link { controller: Some(8), ..port(4, "tap1") };
        assert_eq!(releases(&ours, &[under, elsewhere]), Ok(name("eth0")));
    }

    #[test]
    fn a_bridge_with_other_ports_is_not_released() {
        let ours = marked("landline:uplink:eth0");
        let links = [Link { controller: Some(7), ..nic() }, port(3, "tap0"), port(4, "llh1")];
        let guests = vec!["tap0".to_owned(), "llh1".to_owned()];
        assert_eq!(releases(&ours, &links), Err(RefusedUplink::Guests { bridge: name("br0"), guests }));
    }

    #[test]
    fn a_bridge_that_was_not_made_for_a_nic_is_not_released() {
        let not_ours = Err(RefusedUplink::NotOurs { name: name("br0") });
        assert_eq!(releases(&half_made(), &[]), not_ours, "it has no mark");
        for alias in ["the lab's", "landline:uplink:", "landline:uplink:a/b", "landline:made"] {
            assert_eq!(releases(&marked(alias), &[]), not_ours, "{alias}");
        }
    }
}
