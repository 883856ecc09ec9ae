//! `mode=nat`: a veth whose host end is a port of the network's own private bridge. What leads from there to the LAN is
//! address translation (`nat/`).

use ipnet::Ipv4Net;
use landline_kernel::{Link, LinkKind as Kind};
use landline_model::NetworkRecord;
use landline_options::{LinkMtu, Mode, NetworkId};
use landline_types::IfName;

use super::bridge::Bridge;
use crate::driver::describe;
use crate::facts::{HostEnd, LinkFacts, MacOf, ParentIs, Prefix, Reach, VlanBy};
use crate::mark::{NetworkMark, Role};
use crate::network::{NetworkLinks, NetworkLinksError};
use crate::plan::{ETHERNET_MTU, LinkEnd, LinkType, Plan, Step};
use crate::{LinkDriver, LinkRequest, ParentError};

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
            let hint = "rename it, or create the network again".into();
            return Err(ParentError::WrongKind { what: describe(parent), mode: Mode::Nat, hint, name });
        }
        if parent.up { Ok(()) } else { Err(ParentError::Down { name }) }
    }

    /// The bridge with the host's address among the containers.
    fn network(
        &self,
        network: &NetworkRecord,
        links: &[Link],
        _new: bool,
    ) -> Result<NetworkLinks, NetworkLinksError> {
        let (Some(nic), Some(address)) = (&network.nic, network.bridge_address) else {
            return Ok(NetworkLinks::none(network));
        };
        let nic = links.iter().find(|link| link.name == *nic).map(|link| link.mtu);
        let mtu = network.options.mtu.and_then(LinkMtu::fixed).or(nic).unwrap_or(ETHERNET_MTU);
        let plan = plan(&network.id, address, mtu, links);
        Ok(NetworkLinks { parent: network.options.parent.clone(), plan })
    }

    fn endpoint(&self, request: &LinkRequest<'_>) -> Plan {
        Bridge.endpoint(request)
    }
}

fn plan(id: &NetworkId, address: Ipv4Net, mtu: u32, links: &[Link]) -> Plan {
    let mark = NetworkMark::new(id, Role::Nat);
    let name: IfName = mark.link_name();
    let mut steps = Vec::new();
    if !links.iter().any(|link| link.name == name) {
        // It is the host's own place in the network, so it answers.
        let (mac, alias) = (Some(mark.mac()), mark.to_string());
        steps.push(Step::AddLink {
            link: LinkEnd { name: name.clone(), mac, mtu, alias, silent: false },
            kind: LinkType::Bridge,
        });
    }
    steps.push(Step::AddAddress { link: name.clone(), address });
    steps.push(Step::Up { link: name });
    Plan { steps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host as _;
    use crate::host::fake::FakeHost;

    #[test]
    fn a_bridge_is_made_once_and_what_is_there_is_brought_up() {
        let (id, address) = ("n".repeat(64).parse().unwrap(), "203.0.113.1/24".parse().unwrap());
        let host = FakeHost::with_bridge_and_nic();
        let made = plan(&id, address, 1500, &host.links().unwrap());
        made.apply(&host).unwrap();
        assert_eq!(host.names(), ["br0", "eth0", "llbnnnnnnnnnnnn"]);
        let script = made.to_string();
        assert!(
            script.contains("ip address add 203.0.113.1/24") && !script.contains("arp_ignore"),
            "{script}"
        );
        assert_eq!(plan(&id, address, 1500, &host.links().unwrap()).steps.len(), 2);
    }
}
