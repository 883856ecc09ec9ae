//! `mode=ipvlan`: a child of a NIC that shares its hardware address (L2 mode); the kernel tells children apart by
//! IP address.

use landline_kernel::{IpvlanMode, Link, LinkKind as Kind};
use landline_options::Mode;

use crate::driver::check_nic;
use crate::facts::{HostEnd, LinkFacts, MacOf, ParentIs, Prefix, Reach, Shim, VlanBy};
use crate::plan::{LinkEnd, LinkType, Plan, Step};
use crate::{LinkDriver, LinkRequest, ParentError};

pub(crate) struct Ipvlan;

const FACTS: LinkFacts = LinkFacts {
    parent: ParentIs::Nic,
    host_end: HostEnd::None,
    mac: MacOf::Parent,
    reach: Reach::Direct,
    vlan: VlanBy::SubInterface,
    shim: Some(Shim::Ipvlan),
    prefix: Prefix::Word("eth"),
};

impl LinkDriver for Ipvlan {
    fn facts(&self) -> &'static LinkFacts {
        &FACTS
    }

    fn check(&self, parent: &Link, links: &[Link]) -> Result<(), ParentError> {
        check_nic(parent, links, Mode::Ipvlan)?;
        let mut children =
            links.iter().filter(|l| l.parent == Some(parent.index) && l.parent_netns.is_none());
        // The kernel has one mode for all children of a NIC: a new one in another mode would change the others.
        let other = |link: &Link| matches!(link.kind, Kind::Ipvlan { mode: Some(m) } if m != IpvlanMode::L2);
        match children.find(|child| other(child)) {
            Some(child) => {
                Err(ParentError::OtherIpvlanMode { name: parent.name.clone(), child: child.name.clone() })
            }
            None => Ok(()),
        }
    }

    fn endpoint(&self, request: &LinkRequest<'_>) -> Plan {
        let container = LinkEnd { mac: None, ..request.container_end() };
        let link = container.name.clone();
        let parent = request.parent.name.clone();
        Plan {
            steps: vec![
                Step::AddLink { link: container, kind: LinkType::Ipvlan { parent } },
                Step::Up { link },
            ],
        }
    }
}
