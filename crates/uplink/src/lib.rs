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
    if !is_ours(&mut netlink, &bridge, &nic)? {
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
fn is_ours(netlink: &mut Netlink, bridge: &Link, nic: &Link) -> Result<bool, NetlinkError> {
    if let Some(alias) = &bridge.alias {
        return Ok(alias.strip_prefix(MARK) == Some(nic.name.as_str()));
    }
    let bare = matches!(bridge.kind, LinkKind::Bridge { .. }) && bridge.mac == nic.mac && !bridge.up;
    Ok(bare && !netlink.links()?.iter().any(|link| link.controller == Some(bridge.index)))
}

/// The NIC a bridge was made for, and its kind, if [`release`] may be called for it: it was made by [`adopt`] and carries
/// nothing else.
///
/// # Errors
/// See [`UplinkError`].
pub fn releasable(name: &IfName) -> Result<(IfName, BridgeKind), UplinkError> {
    let mut netlink = Netlink::open()?;
    let not_ours = || RefusedUplink::NotOurs { name: name.clone() };
    let bridge = look_up(&mut netlink, name)?;
    let (nic, guests, kind) = match &bridge.kind {
        LinkKind::Bridge { .. } => {
            let nic = bridge.alias.as_deref().and_then(|alias| alias.strip_prefix(MARK));
            let nic: IfName = nic.and_then(|nic| nic.parse().ok()).ok_or_else(not_ours)?;
            let links = netlink.links()?;
            let ports = links.iter().filter(|link| link.controller == Some(bridge.index) && link.name != nic);
            let guests: Vec<String> = ports.map(|link| link.name.to_string()).collect();
            (nic, guests, BridgeKind::Linux)
        }
        // Those of Open vSwitch in the kernel, and in user space.
        LinkKind::OpenVswitch | LinkKind::Tun => {
            let (nic, guests) = ovs::releasable(name)?.ok_or_else(not_ours)?;
            (nic, guests, BridgeKind::Ovs)
        }
        _ => return Err(not_ours().into()),
    };
    if guests.is_empty() {
        Ok((nic, kind))
    } else {
        Err(RefusedUplink::Guests { bridge: bridge.name, guests }.into())
    }
}

fn look_up(netlink: &mut Netlink, name: &IfName) -> Result<Link, UplinkError> {
    let missing = || RefusedUplink::NoLink { name: name.clone() };
    Ok(netlink.link_by_name(name)?.ok_or_else(missing)?)
}
