//! A bridge of Open vSwitch in the place of one of the kernel's.
//!
//! The switch's database outlives reboots, the addresses on the bridge do not: a NIC that were put into it again at boot
//! would have taken the host off the network. So such a bridge says for which boot it was made, and [`sweep`] removes
//! those of other boots, before `ovs-vswitchd` starts and takes their ports (`landline bridge adopt` has systemd do that).

use std::collections::BTreeMap;

use landline_kernel::{Generic, boottime};
use landline_links::ovs::{BOOT, LANDLINE, OWNER, connect, wait};
use landline_ovsdb::{Bridge, Client, Error, NewBridge, NewPort, Vlans};
use landline_types::IfName;

use super::{BridgeKind, RefusedUplink, Uplink, UplinkError};

/// The key of `external_ids` with the NIC a bridge was made for.
const UPLINK: &str = "landline-uplink";

/// The kernel's part of Open vSwitch, as generic netlink calls it.
const DATAPATH: &str = "ovs_datapath";

/// Whether such a bridge can be made for this NIC.
pub(super) fn check(nic: &IfName, bridge: &IfName, kind: BridgeKind) -> Result<(), UplinkError> {
    if kind == BridgeKind::Ovs && !Generic::open()?.has_family(DATAPATH)? {
        return Err(RefusedUplink::NoDatapath.into());
    }
    wait(async {
        let switch = connect().await?.switch().await?;
        if switch.bridge(bridge.as_str()).is_some() {
            return Err(Error::BridgeExists(bridge.to_string()).into());
        }
        // One in user space leaves no trace in the kernel.
        match switch.port(nic.as_str()) {
            Some(port) => {
                Err(RefusedUplink::Port { name: nic.clone(), controller: port.bridge.clone() }.into())
            }
            None => Ok(()),
        }
    })
}

/// What says for whom a bridge was made.
fn marks(nic: &IfName) -> BTreeMap<String, String> {
    let boot = boottime::boot_id().ok().map(|id| (BOOT.to_owned(), id));
    let ours = [(OWNER, LANDLINE), (UPLINK, nic.as_str())].map(|(key, value)| (key.into(), value.into()));
    ours.into_iter().chain(boot).collect()
}

/// The NIC a bridge was made for, if it was.
fn uplink_of(bridge: &Bridge) -> Option<&str> {
    let ours = bridge.external_ids.get(OWNER).is_some_and(|owner| owner == LANDLINE);
    bridge.external_ids.get(UPLINK).filter(|_| ours).map(String::as_str)
}

/// Makes the bridge, which is marked from its first moment on.
pub(super) fn make(uplink: &Uplink) -> Result<(), UplinkError> {
    let bridge = NewBridge {
        name: uplink.bridge.to_string(),
        datapath_type: uplink.kind.datapath_type().into(),
        mac: uplink.nic.mac.map(|mac| mac.to_string()),
        mtu: Some(uplink.nic.mtu),
        external_ids: marks(&uplink.nic.name),
    };
    wait(async { connect().await?.add_bridge(&bridge).await })?;
    if uplink.kind == BridgeKind::OvsUserSpace {
        // Frames are read as they are, and a checksum that was left to hardware would be missing.
        Generic::open()?.plain_checksums(&uplink.bridge)?;
    }
    Ok(())
}

/// Makes the NIC a port of it.
pub(super) fn plug(uplink: &Uplink) -> Result<(), Error> {
    let port = NewPort {
        name: uplink.nic.name.to_string(),
        bridge: uplink.bridge.to_string(),
        vlans: Vlans::All,
        external_ids: marks(&uplink.nic.name),
        // Open vSwitch's scripts remove such ports whenever the database is restarted, not only after a boot.
        transient: false,
    };
    wait(async { connect().await?.add_port(&port).await.map(drop) })
}

/// The bridge, if it was made for this NIC.
pub(super) fn find(bridge: &IfName, nic: &IfName) -> Result<Option<Bridge>, Error> {
    let switch = wait(async { connect().await?.switch().await })?;
    let found = switch.bridge(bridge.as_str());
    Ok(found.filter(|bridge| uplink_of(bridge) == Some(nic.as_str())).cloned())
}

/// Removes the bridge; its ports are free again.
pub(super) fn remove(bridge: &Bridge) -> Result<(), Error> {
    wait(async { connect().await?.remove_bridge(bridge).await })
}

/// The NIC a bridge was made for, and its other ports.
pub(super) fn releasable(name: &IfName) -> Result<Option<(IfName, Vec<String>)>, Error> {
    let switch = wait(async { connect().await?.switch().await })?;
    let nic = switch.bridge(name.as_str()).and_then(uplink_of).and_then(|nic| nic.parse::<IfName>().ok());
    let Some(nic) = nic else { return Ok(None) };
    let ports =
        switch.ports.iter().filter(|port| port.bridge == name.as_str()).map(|port| port.name.as_str());
    let guests = ports.filter(|port| *port != name.as_str() && *port != nic.as_str()).map(str::to_owned);
    let guests = guests.collect();
    Ok(Some((nic, guests)))
}

/// Lets a bridge outlive this boot: somebody else gives it the host's addresses then.
///
/// # Errors
/// Open vSwitch cannot be reached.
pub async fn keep(name: &IfName) -> Result<(), Error> {
    let mut client = connect().await?;
    let switch = client.switch().await?;
    match switch.bridge(name.as_str()).filter(|bridge| uplink_of(bridge).is_some()) {
        Some(bridge) => client.clear_bridge_id(bridge, BOOT).await,
        None => Ok(()),
    }
}

/// Removes the bridges that were made for NICs before this boot; their names. `ovs-vswitchd` need not run.
///
/// # Errors
/// Open vSwitch cannot be reached.
pub async fn sweep() -> Result<Vec<String>, Error> {
    let boot = boottime::boot_id()?;
    let mut client: Client = connect().await?;
    let switch = client.switch().await?;
    let mut swept = Vec::new();
    for bridge in switch.bridges.iter().filter(|bridge| uplink_of(bridge).is_some()) {
        if bridge.external_ids.get(BOOT).is_some_and(|made| *made != boot) {
            client.forget_bridge(bridge).await?;
            swept.push(bridge.name.clone());
        }
    }
    Ok(swept)
}
