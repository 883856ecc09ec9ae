//! `mode=nic`: the network card itself, which moves into the container and comes back. Attachments only: Docker removes
//! links that its drivers give it.

use landline_kernel::{Link, LinkKind as Kind};
use landline_options::Mode;

use crate::driver::describe;
use crate::facts::{HostEnd, LinkFacts, MacOf, ParentIs, Prefix, Reach, VlanBy};
use crate::mark::Mark;
use crate::plan::{Plan, Step};
use crate::uses::{Use, of_owner, use_of};
use crate::{LinkDriver, LinkRequest, ParentError};

pub(crate) struct Nic;

const FACTS: LinkFacts = LinkFacts {
    parent: ParentIs::Itself,
    host_end: HostEnd::None,
    mac: MacOf::Own,
    reach: Reach::Direct,
    vlan: VlanBy::None,
    shim: None,
    prefix: Prefix::Word("eth"),
};

impl LinkDriver for Nic {
    fn facts(&self) -> &'static LinkFacts {
        &FACTS
    }

    fn check(&self, parent: &Link, links: &[Link]) -> Result<(), ParentError> {
        let wrong = |what: String, hint: String| {
            Err(ParentError::WrongKind { name: parent.name.clone(), what, mode: Mode::Nic, hint })
        };
        let instead = || "name a network card that nothing else uses".to_owned();
        if parent.loopback || matches!(parent.kind, Kind::Bridge { .. } | Kind::OpenVswitch) {
            return wrong(describe(parent), instead());
        }
        if !parent.ethernet {
            // InfiniBand's among them, whose addresses have twenty octets.
            return wrong("not an Ethernet interface".into(), instead());
        }
        if parent.wireless {
            let hint = "it moves only with all of its radio, as iw phy PHY set netns has it".to_owned();
            return wrong("a Wi-Fi interface".into(), hint);
        }
        match use_of(parent, links) {
            Use::Port(owner) => wrong("a port of another interface".into(), of_owner(owner)),
            Use::Parent(other, child) => wrong(
                format!("the parent of {other} links ({})", child.name),
                format!("use mode={other} here too, or another interface"),
            ),
            Use::Free => Ok(()),
        }
    }

    /// The card is marked before, as soon as it is stored what it was.
    fn endpoint(&self, request: &LinkRequest<'_>) -> Plan {
        let Link { name, mac, up, alias, .. } = request.parent;
        let (link, mark) = (name.clone(), Mark::inside(request.endpoint, Mode::Nic).to_string());
        let mut steps = Vec::new();
        if alias.as_ref() != Some(&mark) {
            steps.push(Step::SetAlias { link: link.clone(), alias: mark });
        }
        let other = *mac != Some(request.mac);
        if other {
            steps.push(Step::Readdress { link: link.clone(), mac: request.mac });
        }
        if other || !up {
            steps.push(Step::Up { link });
        }
        Plan { steps }
    }
}
