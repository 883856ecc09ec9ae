//! What is asked of Open vSwitch's database: ports of ours on its bridges.
//!
//! The database outlives everything, reboots included, so each port says whose it is (`external_ids`), and only such ports
//! are removed. `switch_ports` keeps ports and endpoints together while either comes and goes.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;

use landline_kernel::{Generic, boottime};
use landline_options::{EndpointId, NetworkOptions, Vlan};
use landline_ovsdb::{Bridge, Client, Error, NewBridge, NewPort, Port, Vlans};
use landline_types::IfName;

use super::look::Datapath;
use crate::blocking;
use crate::host::HostError;

/// The key of `external_ids` that says whose a row is.
pub const OWNER: &str = "owner";
/// The value of [`OWNER`] on everything that is Landline's.
pub const LANDLINE: &str = "landline";
const ENDPOINT: &str = "landline-endpoint";
/// The key for the boot in which a row was made.
pub const BOOT: &str = "landline-boot";
/// The key for the container's name.
pub const CONTAINER: &str = "landline-container";

/// Key and value of a bridge that was made because an attachment named it.
const MADE: (&str, &str) = ("landline-made", "attachment");

/// Where the switch's database listens; `OVS_RUNDIR` as for Open vSwitch's own programs.
pub fn socket() -> PathBuf {
    match std::env::var_os("OVS_RUNDIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("db.sock"),
        None => landline_ovsdb::DEFAULT_SOCKET.into(),
    }
}

/// A connection to the host's switch.
pub async fn connect() -> Result<Client, Error> {
    Client::connect(&socket()).await
}

/// The VLANs of a network's ports.
pub fn vlans(options: &NetworkOptions) -> Vlans {
    let trunks = || options.trunks.iter().copied().map(Vlan::get).collect();
    match (options.vlan, options.trunks.is_empty()) {
        // An access port in no VLAN: what comes with a tag is dropped.
        (None, true) if options.untagged => Vlans::Access(0),
        (None, true) => Vlans::All,
        (Some(vlan), true) => Vlans::Access(vlan.get()),
        (None, false) => Vlans::Trunk(trunks()),
        (Some(vlan), false) => Vlans::Native(vlan.get(), trunks()),
    }
}

/// What says that a port is an endpoint's.
pub(crate) fn marks(endpoint: &EndpointId) -> BTreeMap<String, String> {
    let boot = boottime::boot_id().ok().map(|id| (BOOT.to_owned(), id));
    [(OWNER, LANDLINE), (ENDPOINT, endpoint.as_str())]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .chain(boot)
        .collect()
}

/// The endpoint a port belongs to, if it is one of ours.
pub fn owner(port: &Port) -> Option<EndpointId> {
    let ours = port.external_ids.get(OWNER).is_some_and(|owner| owner == LANDLINE);
    port.external_ids.get(ENDPOINT).filter(|_| ours)?.parse().ok()
}

/// Fails if the switch has no such bridge, or one whose packets nobody forwards.
pub async fn check_bridge(name: &IfName) -> Result<(), Error> {
    let switch = connect().await?.switch().await?;
    let Some(bridge) = switch.bridge(name.as_str()).cloned() else {
        let there = switch.bridges.into_iter().map(|bridge| bridge.name).collect();
        return Err(Error::NoBridge { name: name.to_string(), there });
    };
    match blocking(move || Datapath::of(&bridge)).await {
        Datapath::Missing => Err(Error::NoDatapath(name.to_string())),
        Datapath::Kernel | Datapath::UserSpace => Ok(()),
    }
}

/// Makes a port for an endpoint and waits until it carries packets; one that was left of it is replaced.
pub async fn add_port(
    client: &mut Client,
    endpoint: &EndpointId,
    link: &IfName,
    bridge: &IfName,
    vlans: &Vlans,
) -> Result<Bridge, Error> {
    let port = NewPort {
        name: link.to_string(),
        bridge: bridge.to_string(),
        vlans: vlans.clone(),
        external_ids: marks(endpoint),
        transient: true,
    };
    match client.add_port(&port).await {
        Err(Error::PortExists(name)) => {
            let switch = client.switch().await?;
            let old = switch.port(&name).filter(|port| owner(port).as_ref() == Some(endpoint));
            client.remove_port(old.ok_or(Error::PortExists(name))?).await?;
            client.add_port(&port).await
        }
        made => made,
    }
}

/// As the step of a plan: makes the port, and has the container's end write its checksums where the bridge reads
/// packets as from a wire. Blocks; for blocking threads of the runtime only.
pub(crate) fn plug(
    endpoint: &EndpointId,
    link: &IfName,
    bridge: &IfName,
    vlans: &Vlans,
) -> Result<Bridge, Error> {
    wait(async { add_port(&mut connect().await?, endpoint, link, bridge, vlans).await })
}

/// Removes the ports of an endpoint. Blocks; for blocking threads of the runtime only.
pub(crate) fn unplug(endpoint: &EndpointId) -> Result<(), Error> {
    wait(async {
        let mut client = connect().await?;
        let switch = client.switch().await?;
        for port in switch.ports.iter().filter(|port| owner(port).as_ref() == Some(endpoint)) {
            client.remove_port(port).await?;
        }
        Ok(())
    })
}

/// What says that a bridge was made for attachments.
pub(crate) fn made() -> BTreeMap<String, String> {
    [(OWNER, LANDLINE), MADE].into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Whether new bridges are in user space: the kernel has no Open vSwitch. Blocks.
pub fn in_user_space() -> Result<bool, HostError> {
    let mut generic = Generic::open().map_err(HostError::Open)?;
    Ok(!generic.has_family("ovs_datapath")?)
}

/// As the step of a plan: makes a bridge for attachments. One that is there already is fine. Blocks; for blocking
/// threads of the runtime only.
pub(crate) fn make_bridge(name: &IfName, in_user_space: bool) -> Result<(), Error> {
    let datapath_type = if in_user_space { "netdev".into() } else { String::new() };
    let bridge =
        NewBridge { name: name.to_string(), datapath_type, mac: None, mtu: None, external_ids: made() };
    match wait(async { connect().await?.add_bridge(&bridge).await }) {
        Err(Error::BridgeExists(_)) => Ok(()),
        made => made,
    }
}

/// Removes a bridge that was made for attachments and has no port but its own. Blocks; for blocking threads of the
/// runtime only.
pub fn unmake_bridge(name: &IfName) -> Result<(), Error> {
    wait(async {
        let mut client = connect().await?;
        let switch = client.switch().await?;
        let Some(bridge) = switch.bridge(name.as_str()) else { return Ok(()) };
        let used = switch.ports.iter().any(|port| port.bridge == bridge.name && port.name != bridge.name);
        if used || bridge.external_ids != made() { Ok(()) } else { client.remove_bridge(bridge).await }
    })
}

/// Waits on a blocking thread of the runtime.
pub fn wait<T, E: From<Error>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime =
        tokio::runtime::Handle::try_current().map_err(|error| Error::Io(std::io::Error::other(error)))?;
    runtime.block_on(work)
}
