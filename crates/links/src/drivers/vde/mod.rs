//! `mode=vde`: a port of a VDE2 switch.
//!
//! Each network has a private bridge. Where the switch is Landline's, or the network has one port of somebody else's
//! (`vde_ports=shared`), containers are veth ports of that bridge and one tap leads from it to the switch: what they
//! say to each other never leaves the kernel. Where each has a port of its own of somebody else's switch, it is a tap
//! with a cable, and the bridge only stands for the network.

mod board;
mod cables;
mod messages;
mod network;
mod process;
mod steps;
mod switching;

use landline_kernel::{Link, LinkKind as Kind};
use landline_model::NetworkRecord;
use landline_options::{LinkMtu, Mode, NetworkOptions};

use crate::driver::{ConnectedLink, describe};
use crate::facts::{HostEnd, LinkFacts, MacOf, ParentIs, Prefix, Reach, VlanBy};
use crate::host::HostError;
use crate::mark::{End, NetworkMark, Role, host_end_mac};
use crate::network::{NetworkLinks, NetworkLinksError};
use crate::plan::{ETHERNET_MTU, LinkEnd, LinkType, Plan, Step};
use crate::{LinkDriver, LinkRequest, ParentError};

/// The MTU of everything between containers, so that each may have the one it likes; what `vdeplug` can carry.
pub(crate) const WIRE_MTU: u32 = 9216;

use self::network::VdeError;
pub use self::process::{SwitchProcessError, run_switches};
pub(crate) use self::steps::{EndSwitch, PlugAgain, PlugIn, StartSwitch};
pub(crate) use self::switching::Switching;

/// Where the directories of switches are that no `socket_dir` was given for.
const SWITCHES: &str = "/run/landline-vde";

pub(crate) struct Vde;

/// What the network's bridge is for, if it is one.
fn role(bridge: &Link) -> Option<Role> {
    let mark = bridge.alias.as_deref().and_then(NetworkMark::read)?;
    matches!(bridge.kind, Kind::Bridge { .. }).then_some(mark.role)
}

const FACTS: LinkFacts = LinkFacts {
    parent: ParentIs::OwnBridge,
    host_end: HostEnd::BridgePort,
    mac: MacOf::Own,
    reach: Reach::Direct,
    vlan: VlanBy::None,
    shim: None,
    prefix: Prefix::Word("vde"),
};

impl LinkDriver for Vde {
    fn facts(&self) -> &'static LinkFacts {
        &FACTS
    }

    fn check(&self, parent: &Link, _links: &[Link]) -> Result<(), ParentError> {
        let name = parent.name.clone();
        if role(parent).is_none() {
            let hint = "rename it, or create the network again".into();
            return Err(ParentError::WrongKind { what: describe(parent), mode: Mode::Vde, hint, name });
        }
        if parent.up { Ok(()) } else { Err(ParentError::Down { name }) }
    }

    fn network(
        &self,
        network: &NetworkRecord,
        links: &[Link],
        new: bool,
    ) -> Result<NetworkLinks, NetworkLinksError> {
        let plan = network::plan(&network.id, &network.options, links, new)?;
        Ok(NetworkLinks { parent: network.options.parent.clone(), plan })
    }

    fn refused(&self, _network: &NetworkRecord, source: HostError) -> NetworkLinksError {
        VdeError::Host(source).into()
    }

    fn network_ends(&self, network: &NetworkRecord, links: &[(Link, NetworkMark)]) -> Option<Step> {
        network::end(&network.id, &network.options, links)
    }

    fn reconnect(&self, options: &NetworkOptions, link: ConnectedLink) -> Option<Step> {
        let dir = options.vde.socket_dir.clone()?;
        Some(PlugAgain { link, dir }.into())
    }

    fn endpoint(&self, request: &LinkRequest<'_>) -> Plan {
        let mtu = request.options.mtu.and_then(LinkMtu::fixed).unwrap_or(ETHERNET_MTU);
        let container = LinkEnd { mtu, ..request.container_end() };
        let inner = container.name.clone();
        if let (Some(Role::Cables), Some(dir)) = (role(request.parent), &request.options.vde.socket_dir) {
            let steps = vec![
                Step::AddLink { link: container, kind: LinkType::Tap },
                PlugIn { tap: inner.clone(), dir: dir.clone(), patient: false }.into(),
                Step::Up { link: inner },
            ];
            return Plan { steps };
        }
        let host = request.end(End::Host, host_end_mac(request.mac, request.parent.mac));
        let host = LinkEnd { mtu: request.parent.mtu, ..host };
        let outer = host.name.clone();
        let steps = vec![
            Step::AddLink { link: host, kind: LinkType::Veth { peer: container } },
            Step::SetController { link: outer.clone(), bridge: request.parent.name.clone() },
            Step::ForwardGroups { port: outer.clone() },
            Step::Up { link: outer },
            Step::Up { link: inner },
        ];
        Plan { steps }
    }
}
