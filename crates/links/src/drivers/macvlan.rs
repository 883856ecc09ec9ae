//! `mode=macvlan`: a child of a NIC, with a hardware address of its own.

use landline_kernel::Link;
use landline_options::{MacvlanMode, Mode};

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

/// iproute2's word for a macvlan mode.
pub const fn macvlan_word(mode: MacvlanMode) -> &'static str {
    match mode {
        MacvlanMode::Bridge => "bridge",
        MacvlanMode::Private => "private",
        MacvlanMode::Vepa => "vepa",
        MacvlanMode::Passthru => "passthru",
    }
}

/// The kernel's word for a macvlan mode.
pub(crate) fn macvlan_mode(mode: MacvlanMode) -> landline_kernel::MacvlanMode {
    match mode {
        MacvlanMode::Bridge => landline_kernel::MacvlanMode::Bridge,
        MacvlanMode::Private => landline_kernel::MacvlanMode::Private,
        MacvlanMode::Vepa => landline_kernel::MacvlanMode::Vepa,
        MacvlanMode::Passthru => landline_kernel::MacvlanMode::Passthru,
    }
}
