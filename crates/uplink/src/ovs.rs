//! A bridge of Open vSwitch in the place of one of the kernel's.
//!
//! The switch's database outlives reboots, the addresses on the bridge do not: a NIC that were put into it again at boot
//! would have taken the host off the network. So such a bridge says for which boot it was made, and [`sweep`] removes
//! those of other boots, before `ovs-vswitchd` starts and takes their ports (`landline bridge adopt` has systemd do that).

use std::collections::BTreeMap;

use landline_kernel::{Generic, boottime};
use landline_links::ovs::{BOOT, LANDLINE, OWNER, connect, wait};
use landline_ovsdb::{Bridge, Client, Error, NewBridge, NewPort, Switch, Vlans};
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
    check_in(&wait(async { connect().await?.switch().await })?, nic, bridge)
}

fn check_in(switch: &Switch, nic: &IfName, bridge: &IfName) -> Result<(), UplinkError> {
    if switch.bridge(bridge.as_str()).is_some() {
        return Err(Error::BridgeExists(bridge.to_string()).into());
    }
    // One in user space leaves no trace in the kernel.
    match switch.port(nic.as_str()) {
        Some(port) => Err(RefusedUplink::Port { name: nic.clone(), controller: port.bridge.clone() }.into()),
        None => Ok(()),
    }
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
    Ok(find_in(&switch, bridge, nic).cloned())
}

fn find_in<'a>(switch: &'a Switch, bridge: &IfName, nic: &IfName) -> Option<&'a Bridge> {
    switch.bridge(bridge.as_str()).filter(|bridge| uplink_of(bridge) == Some(nic.as_str()))
}

/// Removes the bridge; its ports are free again.
pub(super) fn remove(bridge: &Bridge) -> Result<(), Error> {
    wait(async { connect().await?.remove_bridge(bridge).await })
}

/// The NIC a bridge was made for, and its other ports.
pub(super) fn made_for(bridge: &IfName) -> Result<Option<(IfName, Vec<String>)>, Error> {
    Ok(made_for_in(&wait(async { connect().await?.switch().await })?, bridge))
}

fn made_for_in(switch: &Switch, bridge: &IfName) -> Option<(IfName, Vec<String>)> {
    let nic: IfName = uplink_of(switch.bridge(bridge.as_str())?)?.parse().ok()?;
    let ports =
        switch.ports.iter().filter(|port| port.bridge == bridge.as_str()).map(|port| port.name.as_str());
    let guests = ports.filter(|port| *port != bridge.as_str() && *port != nic.as_str()).map(str::to_owned);
    let guests = guests.collect();
    Some((nic, guests))
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
    for bridge in outlived(&switch, &boot) {
        client.forget_bridge(bridge).await?;
        swept.push(bridge.name.clone());
    }
    Ok(swept)
}

/// The bridges that were made for NICs for another boot than this one. One that says no boot is there for good.
fn outlived<'a>(switch: &'a Switch, boot: &str) -> impl Iterator<Item = &'a Bridge> {
    let ours = switch.bridges.iter().filter(|bridge| uplink_of(bridge).is_some());
    ours.filter(move |bridge| bridge.external_ids.get(BOOT).is_some_and(|made| made != boot))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn name(name: &str) -> IfName {
        name.parse().unwrap()
    }

    /// A bridge: the name, what it says in its `external_ids`, and its ports.
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

    /// A switch with these bridges.
    fn switch(bridges: &[Row<'_>]) -> Switch {
        let uuid = |table: u8, n: usize| json!(["uuid", format!("{table:08}-0000-4000-8000-{n:012}")]);
        let (mut rows, mut ports): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        for (n, (bridge, ids, its)) in bridges.iter().enumerate() {
            let first = ports.len();
            for port in *its {
                ports.push(json!({"_uuid": uuid(2, ports.len()), "name": port, "interfaces": ["set", []]}));
            }
            let its: Vec<Value> = (first..ports.len()).map(|port| uuid(2, port)).collect();
            let row = json!({"_uuid": uuid(1, n), "name": bridge, "external_ids": ["map", ids], "ports": ["set", its]});
            rows.push(row);
        }
        let switch = Switch::read(&json!({"rows": rows}), &json!({"rows": ports}), &json!({"rows": []}));
        assert_eq!((switch.bridges.len(), switch.ports.len()), (rows.len(), ports.len()));
        switch
    }

    const OURS: [(&str, &str); 3] = [(OWNER, LANDLINE), (UPLINK, "eth0"), (BOOT, "this")];

    #[test]
    fn a_nic_that_no_bridge_of_the_switch_has_passes() {
        let there = switch(&[("lan0", &[], &["lan0", "eth1"])]);
        let says = |nic: &str, bridge: &str| check_in(&there, &name(nic), &name(bridge));
        assert!(says("eth0", "br0").is_ok());
        assert!(
            matches!(says("eth0", "lan0"), Err(UplinkError::Switch(Error::BridgeExists(name))) if name == "lan0")
        );
        let controller = |refused| match refused {
            Err(UplinkError::Refused(RefusedUplink::Port { controller, .. })) => controller,
            other => panic!("{other:?}"),
        };
        assert_eq!(controller(says("eth1", "br0")), "lan0");
    }

    #[test]
    fn a_bridge_is_found_by_its_mark() {
        let theirs = [(OWNER, "libvirt"), (UPLINK, "eth0")];
        let there =
            switch(&[("br0", &OURS, &["br0"]), ("br1", &theirs, &[]), ("br2", &[(UPLINK, "eth0")], &[])]);
        let found = |bridge: &str, nic: &str| find_in(&there, &name(bridge), &name(nic)).is_some();
        assert!(found("br0", "eth0"));
        assert!(!found("br0", "eth1"), "it was made for another NIC");
        assert!(!found("br1", "eth0") && !found("br2", "eth0"), "others made it");
        assert!(!found("br3", "eth0"));
    }

    #[test]
    fn a_bridges_own_port_and_its_nic_are_no_guests() {
        let made_for = |ids: &[(&str, &str)], ports: &[&str]| {
            made_for_in(&switch(&[("br0", ids, ports), ("br1", &[], &["br1", "tap7"])]), &name("br0"))
        };
        assert_eq!(made_for(&OURS, &["br0", "eth0"]), Some((name("eth0"), vec![])));
        let guests = vec!["tap0".to_owned(), "llh1".to_owned()];
        assert_eq!(made_for(&OURS, &["br0", "tap0", "eth0", "llh1"]), Some((name("eth0"), guests)));
        assert_eq!(made_for(&[(OWNER, LANDLINE)], &["br0"]), None);
        assert_eq!(made_for(&[(OWNER, LANDLINE), (UPLINK, "a/b")], &["br0"]), None);
        assert_eq!(made_for_in(&switch(&[]), &name("br0")), None);
    }

    #[test]
    fn bridges_of_other_boots_are_swept_unless_they_are_kept() {
        let before = [(OWNER, LANDLINE), (UPLINK, "eth1"), (BOOT, "before")];
        // Confirmed and kept by another program, or an attachment's, or somebody else's.
        let kept = [(OWNER, LANDLINE), (UPLINK, "eth2")];
        let attachments = [(OWNER, LANDLINE), (BOOT, "before")];
        let theirs = [(OWNER, "libvirt"), (UPLINK, "eth3"), (BOOT, "before")];
        let there = switch(&[
            ("br0", &OURS, &[]),
            ("br1", &before, &[]),
            ("br2", &kept, &[]),
            ("br3", &attachments, &[]),
            ("br4", &theirs, &[]),
        ]);
        let names = |boot| outlived(&there, boot).map(|bridge| bridge.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names("this"), ["br1"]);
        assert_eq!(names("next"), ["br0", "br1"]);
    }

    #[test]
    fn what_is_made_is_found_again_and_outlived_by_the_next_boot() {
        let marks = marks(&name("eth0"));
        let ids: Vec<(&str, &str)> = marks.iter().map(|(key, value)| (&**key, &**value)).collect();
        let there = switch(&[("br0", &ids, &[])]);
        assert!(find_in(&there, &name("br0"), &name("eth0")).is_some());
        assert_eq!(outlived(&there, &boottime::boot_id().unwrap()).count(), 0);
        assert_eq!(outlived(&there, "next").count(), 1);
    }
}
