//! `mode=bridge`: a veth whose host end is a port of a bridge that is already there.

use landline_kernel::{Link, LinkKind as Kind};
use landline_options::{Mode, NetworkOptions};

use crate::driver::describe;
use crate::facts::{HostEnd, LinkFacts, MacOf, ParentIs, Prefix, Reach, VlanBy};
use crate::mark::{End, host_end_mac};
use crate::plan::{LinkType, Plan, Step};
use crate::uses::{Use, instead_of_bridge, use_of};
use crate::{LinkDriver, LinkRequest, ParentError};

pub(crate) struct Bridge;

/// What makes a bridge of a NIC.
fn adopt(nic: &Link) -> String {
    format!("landline bridge adopt {0} --as br-{0}", nic.name)
}

const FACTS: LinkFacts = LinkFacts {
    parent: ParentIs::LanBridge,
    host_end: HostEnd::BridgePort,
    mac: MacOf::Own,
    reach: Reach::Direct,
    vlan: VlanBy::Filter,
    shim: None,
    prefix: Prefix::Parent,
};

impl LinkDriver for Bridge {
    fn facts(&self) -> &'static LinkFacts {
        &FACTS
    }

    fn check(&self, parent: &Link, links: &[Link]) -> Result<(), ParentError> {
        let name = parent.name.clone();
        if !matches!(parent.kind, Kind::Bridge { .. }) {
            let hint = match parent.kind {
                Kind::Physical | Kind::Bond | Kind::Vlan { .. } if !parent.loopback => {
                    instead_of_bridge(parent, links, &adopt(parent))
                }
                Kind::OpenVswitch => format!("use -o mode=ovs -o bridge={name}"),
                _ if parent.ethernet && !parent.loopback => match use_of(parent, links) {
                    Use::Free => format!(
                        "name a bridge that has your NIC as a port, or use -o mode=macvlan -o parent={name}"
                    ),
                    Use::Port(_) | Use::Parent(..) => instead_of_bridge(parent, links, &adopt(parent)),
                },
                _ => "name a bridge that has your NIC as a port".into(),
            };
            return Err(ParentError::WrongKind { what: describe(parent), mode: Mode::Bridge, hint, name });
        }
        if parent.up { Ok(()) } else { Err(ParentError::Down { name }) }
    }

    fn when_no_parent(&self) -> &'static str {
        "this host has no bridge yet; make one with your NIC in it, or use -o mode=macvlan -o parent=NIC"
    }

    /// Without filtering, its ports would be in all VLANs.
    fn check_vlan(&self, options: &NetworkOptions, parent: &Link) -> Result<(), ParentError> {
        if options.vlan.is_some() && parent.kind != (Kind::Bridge { vlan_filtering: true }) {
            return Err(ParentError::NoVlanFiltering { name: parent.name.clone() });
        }
        Ok(())
    }

    fn endpoint(&self, request: &LinkRequest<'_>) -> Plan {
        let host = request.end(End::Host, host_end_mac(request.mac, request.parent.mac));
        let container = request.container_end();
        let (outer, inner) = (host.name.clone(), container.name.clone());
        let set_controller = Step::SetController { link: outer.clone(), bridge: request.parent.name.clone() };
        let mut steps =
            vec![Step::AddLink { link: host, kind: LinkType::Veth { peer: container } }, set_controller];
        steps.extend(request.options.vlan.map(|vlan| Step::PortVlan { port: outer.clone(), id: vlan.get() }));
        steps.extend([Step::Up { link: outer }, Step::Up { link: inner }]);
        Plan { steps }
    }
}
