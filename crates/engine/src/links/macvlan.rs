//! `mode=macvlan`: a child of a NIC, with a hardware address of its own.

use landline_kernel::Link;
use landline_spec::Mode;
use landline_types::IfName;

use super::{LinkKind, LinkRequest, ParentError, check_nic};
use crate::plan::{Plan, Step};

pub(crate) struct Macvlan;

impl LinkKind for Macvlan {
    fn check(&self, parent: &Link, links: &[Link]) -> Result<(), ParentError> {
        check_nic(parent, links, Mode::Macvlan)
    }

    fn plan(&self, request: &LinkRequest<'_>) -> Plan {
        let container = request.container_end();
        let link = container.name.clone();
        let parent = request.parent.name.clone();
        let mode = request.options.macvlan_mode;
        Plan { steps: vec![Step::AddMacvlan { parent, mode, container }, Step::Up { link }] }
    }

    fn container_prefix(&self, _parent: &IfName) -> String {
        "eth".into()
    }
}
