//! `mode=nat`: a veth whose host end is a port of the network's own private bridge. What leads from there to the LAN is
//! address translation (`nat/`).

use landline_kernel::{Link, LinkKind as Kind};
use landline_spec::Mode;

use super::bridge::Bridge;
use crate::links::facts::{HostEnd, LinkFacts, MacOf, ParentIs, Prefix, Reach, VlanBy};
use crate::links::{LinkDriver, LinkRequest, ParentError, describe};
use crate::mark::{NetworkMark, Role};
use crate::plan::Plan;

pub(crate) struct Nat;

const FACTS: LinkFacts = LinkFacts {
    parent: ParentIs::OwnBridge,
    host_end: HostEnd::BridgePort,
    mac: MacOf::Own,
    reach: Reach::Translated,
    vlan: VlanBy::None,
    shim: None,
    prefix: Prefix::Word("eth"),
};

impl LinkDriver for Nat {
    fn facts(&self) -> &'static LinkFacts {
        &FACTS
    }

    fn check(&self, parent: &Link, _links: &[Link]) -> Result<(), ParentError> {
        let name = parent.name.clone();
        let mark = parent.alias.as_deref().and_then(NetworkMark::read);
        if !matches!(parent.kind, Kind::Bridge { .. }) || mark.is_none_or(|mark| mark.role != Role::Nat) {
            let hint = "rename it, or create the network anew".into();
            return Err(ParentError::WrongKind { what: describe(parent), mode: Mode::Nat, hint, name });
        }
        if parent.up { Ok(()) } else { Err(ParentError::Down { name }) }
    }

    fn plan(&self, request: &LinkRequest<'_>) -> Plan {
        Bridge.plan(request)
    }
}
