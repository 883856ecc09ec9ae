//! `mode=macvlan`: a child of a NIC, with a hardware address of its own.

use landline_kernel::Link;
use landline_options::Mode;

use crate::driver::check_nic;
use crate::facts::{HostEnd, LinkFacts, MacOf, ParentIs, Prefix, Reach, Shim, VlanBy};
use crate::plan::{LinkType, Plan, Step};
use crate::{LinkDriver, LinkRequest, ParentError};

pub(crate) struct Macvlan;

const FACTS: LinkFacts = LinkFacts {
    parent: ParentIs::Nic,
    host_end: HostEnd::None,
    mac: MacOf::Own,
    reach: Reach::Direct,
    vlan: VlanBy::SubInterface,
    shim: Some(Shim::Macvlan),
    prefix: Prefix::Word("eth"),
};

impl LinkDriver for Macvlan {
    fn facts(&self) -> &'static LinkFacts {
        &FACTS
    }

    fn check(&self, parent: &Link, links: &[Link]) -> Result<(), ParentError> {
        check_nic(parent, links, Mode::Macvlan)
    }

    fn endpoint(&self, request: &LinkRequest<'_>) -> Plan {
        let container = request.container_end();
        let link = container.name.clone();
        let parent = request.parent.name.clone();
        let mode = request.options.macvlan_mode;
        Plan {
            steps: vec![
                Step::AddLink { link: container, kind: LinkType::Macvlan { parent, mode } },
                Step::Up { link },
            ],
        }
    }
}
