//! `mode=ovs`: a veth whose host end is a port of an Open vSwitch bridge that is already there.

mod look;
mod steps;
mod switch;

use landline_kernel::{Link, LinkKind as Kind};
use landline_options::{EndpointId, Mode};
use landline_types::IfName;

use crate::driver::describe;
use crate::facts::{HostEnd, LinkFacts, MacOf, ParentIs, Prefix, Reach, VlanBy};
use crate::host::HostError;
use crate::mark::{End, host_end_mac};
use crate::plan::{LinkType, Plan, Step};
use crate::uses::instead_of_bridge;
use crate::{LinkDriver, LinkRequest, ParentError};

pub use self::look::{Datapath, OvsView, look};
pub use self::steps::MakeBridge;
pub(crate) use self::steps::{AddPort, CheckBridge, RemovePorts};
pub use self::switch::{
    BOOT, CONTAINER, LANDLINE, OWNER, add_port, check_bridge, connect, in_user_space, owner, socket,
    unmake_bridge, vlans, wait,
};

pub(crate) struct Ovs;

impl From<landline_ovsdb::Error> for HostError {
    fn from(error: landline_ovsdb::Error) -> Self {
        Self::Driver(error.into())
    }
}

/// Devices of Open vSwitch that are nobody's bridge: of the kernel's datapath, and of the one in user space.
const DATAPATHS: [&str; 2] = ["ovs-system", "ovs-netdev"];

const FACTS: LinkFacts = LinkFacts {
    parent: ParentIs::LanBridge,
    host_end: HostEnd::SwitchPort,
    mac: MacOf::Own,
    reach: Reach::Direct,
    vlan: VlanBy::Tag,
    shim: None,
    prefix: Prefix::Parent,
};

impl LinkDriver for Ovs {
    fn facts(&self) -> &'static LinkFacts {
        &FACTS
    }

    /// Only by its looks: its local port is a device of the kernel's datapath, or a tap of the switch. Whether the
    /// switch has such a bridge is asked when a port is added. Containers do not need the local port to be up.
    fn check(&self, parent: &Link, links: &[Link]) -> Result<(), ParentError> {
        let looks_right = matches!(parent.kind, Kind::OpenVswitch | Kind::Tun);
        if looks_right && !DATAPATHS.contains(&parent.name.as_str()) {
            return Ok(());
        }
        let name = parent.name.clone();
        let hint = match parent.kind {
            Kind::Bridge { .. } => format!("use -o mode=bridge -o bridge={name}"),
            Kind::Physical | Kind::Bond | Kind::Vlan { .. } if !parent.loopback => {
                let adopt = format!("landline bridge adopt {0} --as ovs-{0} --kind ovs", parent.name);
                instead_of_bridge(parent, links, &adopt)
            }
            _ => "name a bridge that `ovs-vsctl list-br` lists".into(),
        };
        Err(ParentError::WrongKind { what: describe(parent), mode: Mode::Ovs, hint, name })
    }

    fn when_no_parent(&self) -> &'static str {
        "Open vSwitch has no bridge yet; make one: ovs-vsctl add-br NAME"
    }

    fn confirm(&self, parent: &IfName) -> Option<Step> {
        Some(CheckBridge { name: parent.clone() }.into())
    }

    fn disconnect(&self, endpoint: &EndpointId) -> Option<Step> {
        Some(RemovePorts { endpoint: endpoint.clone() }.into())
    }

    fn endpoint(&self, request: &LinkRequest<'_>) -> Plan {
        let host = request.end(End::Host, host_end_mac(request.mac, request.parent.mac));
        let container = request.container_end();
        let (outer, inner) = (host.name.clone(), container.name.clone());
        Plan {
            steps: vec![
                Step::AddLink { link: host, kind: LinkType::Veth { peer: container } },
                Step::Up { link: outer.clone() },
                AddPort {
                    endpoint: request.endpoint.clone(),
                    link: outer,
                    container: inner.clone(),
                    bridge: request.parent.name.clone(),
                    vlans: vlans(request.options),
                }
                .into(),
                Step::Up { link: inner },
            ],
        }
    }
}
