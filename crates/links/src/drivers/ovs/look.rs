//! What there is of Open vSwitch behind an endpoint, for `landline inspect`.

use std::time::Duration;

use landline_kernel::Generic;
use landline_ovsdb::{Bridge, Switch};
use serde::{Deserialize, Serialize};

use super::{connect, owner};
use crate::blocking;

/// How long somebody who only looks waits for the switch's database.
const PATIENCE: Duration = Duration::from_secs(2);

/// The generic netlink family of the kernel's forwarding (`linux/openvswitch.h`). Asking for it loads the module.
const FAMILY: &str = "ovs_datapath";

/// Where an Open vSwitch bridge forwards packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Datapath {
    /// In the kernel.
    Kernel,
    /// In `ovs-vswitchd` itself (`datapath_type=netdev`).
    UserSpace,
    /// Nowhere: it is to be in the kernel, which has no such thing.
    Missing,
}

impl Datapath {
    /// That of a bridge, on this kernel. Blocks, for a moment.
    pub(super) fn of(bridge: &Bridge) -> Self {
        if bridge.in_user_space() {
            return Self::UserSpace;
        }
        // What cannot be asked is no proof that there is none.
        let there = Generic::open().ok().and_then(|mut kernel| kernel.has_family(FAMILY).ok());
        if there == Some(false) { Self::Missing } else { Self::Kernel }
    }
}

/// An endpoint's port, as shown to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsView {
    /// The port's name.
    pub port: String,
    /// The bridge it is on.
    pub bridge: String,
    /// Where that forwards packets.
    pub datapath: Datapath,
    /// The port's VLAN.
    pub tag: Option<i64>,
    /// The VLANs it carries tagged.
    pub trunks: Vec<i64>,
    /// What keeps it from carrying packets.
    pub trouble: Option<String>,
}

/// The ports of endpoints of these ids, in their order; `None` for all of them if the switch cannot be asked.
pub async fn look(endpoints: Vec<String>) -> Vec<Option<OvsView>> {
    let switch = async { connect().await?.switch().await };
    let switch = match tokio::time::timeout(PATIENCE, switch).await {
        Ok(Ok(switch)) => switch,
        _ => Switch::default(),
    };
    blocking(move || endpoints.iter().map(|id| view(&switch, id)).collect()).await
}

fn view(switch: &Switch, endpoint: &str) -> Option<OvsView> {
    let port = switch.ports.iter().find(|port| owner(port).is_some_and(|id| id.as_str() == endpoint))?;
    Some(OvsView {
        port: port.name.clone(),
        bridge: port.bridge.clone(),
        datapath: Datapath::of(switch.bridge(&port.bridge)?),
        tag: port.tag,
        trunks: port.trunks.clone(),
        trouble: port.trouble(),
    })
}
