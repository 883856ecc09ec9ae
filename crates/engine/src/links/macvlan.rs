//! `mode=macvlan`: a child of a NIC, with a hardware address of its own.

use landline_kernel::{Link, LinkKind as Kind};
use landline_spec::Mode;
use landline_types::IfName;

use super::{LinkKind, LinkRequest, ParentError, describe};
use crate::plan::{Plan, Step};

pub(crate) struct Macvlan;

impl LinkKind for Macvlan {
    fn check(&self, parent: &Link, links: &[Link]) -> Result<(), ParentError> {
        let name = parent.name.clone();
        let wrong = |hint: String| {
            Err(ParentError::WrongKind {
                name: name.clone(),
                what: describe(parent),
                mode: Mode::Macvlan,
                hint,
            })
        };
        if parent.loopback {
            return wrong("name the NIC that is plugged into the LAN".into());
        }
        if parent.wireless {
            return Err(ParentError::Wireless { name });
        }
        match parent.kind {
            Kind::Macvlan { .. } | Kind::Macvtap | Kind::Ipvlan { .. } => {
                let below = parent.parent.and_then(|index| links.iter().find(|l| l.index == index));
                return wrong(match below {
                    Some(nic) => format!("name the NIC below it: -o parent={}", nic.name),
                    None => "name the NIC below it".into(),
                });
            }
            _ => {}
        }
        // The kernel answers EBUSY for a NIC that a bridge or a bond owns.
        if let Some(owner) = parent.controller {
            let hint = match links.iter().find(|link| link.index == owner) {
                Some(bridge) if matches!(bridge.kind, Kind::Bridge { .. }) => {
                    format!("use that bridge: -o mode=bridge -o bridge={}", bridge.name)
                }
                Some(owner) => format!("use its owner: -o parent={}", owner.name),
                None => "use the interface that owns it".into(),
            };
            let what = "a port of another interface".into();
            return Err(ParentError::WrongKind { name, what, mode: Mode::Macvlan, hint });
        }
        if parent.up { Ok(()) } else { Err(ParentError::Down { name }) }
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
