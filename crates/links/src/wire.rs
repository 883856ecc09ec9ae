//! Which LAN an interface leads to: the same LAN may have several names on one host.

use landline_types::IfName;

use crate::link_table::{LinkTable, Links, Role};

/// More links than this are not on top of each other.
const DEEPEST: usize = 16;

impl LinkTable {
    /// The interface, and the VLAN of it, that stand for the LAN which a port of `name` in `vlan` is on. Two that are the same
    /// are one LAN: `eth0.12` and the VLAN 12 of a bridge that `eth0` is a port of, for example. What is not there stands
    /// for itself.
    pub fn wire(&self, name: &IfName, vlan: Option<u16>) -> (IfName, Option<u16>) {
        wire(&self.links(), name, vlan)
    }
}

fn wire(links: &Links, name: &IfName, vlan: Option<u16>) -> (IfName, Option<u16>) {
    let mut at = (name.clone(), vlan);
    let Some((mut index, _)) = links.iter().find(|(_, link)| link.name == *name) else { return at };
    for _ in 0..DEEPEST {
        let Some(next) = below(links, *index, at.1) else { break };
        let Some((there, link)) = links.get_key_value(&next.0) else { break };
        index = there;
        at = (link.name.clone(), next.1);
    }
    at
}

/// One step towards the wire: from a port to its bridge or bond, and from a VLAN to the link it is on. A bridge with a port
/// in a VLAN is that VLAN.
fn below(links: &Links, index: u32, vlan: Option<u16>) -> Option<(u32, Option<u16>)> {
    let link = links.get(&index)?;
    // All bridges of an Open vSwitch have one link as their controller, which is none of them.
    let controller = link.controller.filter(|at| links.get(at).is_some_and(|link| !link.of_switch));
    if let Some(controller) = controller {
        return Some((controller, vlan));
    }
    let tagged = |role: &Role| match *role {
        Role::Vlan { id, on } if vlan.is_none() => Some((on, Some(id))),
        _ => None,
    };
    match link.role {
        Role::Bridge => {
            let mut ports = links.values().filter(|port| port.controller == Some(index));
            ports.find_map(|port| tagged(&port.role))
        }
        ref role => tagged(role),
    }
}

#[cfg(test)]
mod tests {
    use landline_kernel::{Link, LinkKind};

    use crate::host::fake::link;
    use crate::link_table::FakeTable;

    const BRIDGE: LinkKind = LinkKind::Bridge { vlan_filtering: true };

    fn vlan(index: u32, name: &str, id: u16, on: u32) -> Link {
        Link { parent: Some(on), ..link(index, name, LinkKind::Vlan { id }) }
    }

    fn port(of: u32, link: Link) -> Link {
        Link { controller: Some(of), ..link }
    }

    /// Whether these two are one LAN.
    fn one(links: &[Link], a: (&str, Option<u16>), b: (&str, Option<u16>)) -> bool {
        let fake = FakeTable::default();
        fake.set(links);
        let [a, b] = [a, b].map(|(name, vlan)| fake.table().wire(&name.parse().unwrap(), vlan));
        a == b
    }

    #[test]
    fn a_vlan_of_a_nic_is_that_of_its_bridge() {
        let (nic, bridge) = (link(2, "eth0", LinkKind::Physical), link(3, "br0", BRIDGE));
        let links = [port(3, nic), bridge, vlan(4, "eth0.12", 12, 2), vlan(5, "guests", 13, 3)];
        assert!(one(&links, ("br0", Some(12)), ("eth0.12", None)));
        assert!(one(&links, ("br0", Some(13)), ("guests", None)));
        assert!(one(&links, ("br0", None), ("eth0", None)));
        assert!(!one(&links, ("br0", Some(13)), ("eth0.12", None)));
        assert!(!one(&links, ("br0", None), ("eth0.12", None)));
        assert!(!one(&links, ("br0", None), ("guests", None)));
    }

    #[test]
    fn a_bridge_of_a_vlan_is_that_vlan() {
        let guest = port(5, link(6, "tap0", LinkKind::Tun));
        let links = [
            link(2, "eth0", LinkKind::Physical),
            guest,
            port(5, vlan(7, "eth0.12", 12, 2)),
            link(5, "br12", LinkKind::Bridge { vlan_filtering: false }),
        ];
        assert!(one(&links, ("br12", None), ("eth0.12", None)));
        assert!(one(&links, ("br12", None), ("eth0", Some(12))));
        assert!(!one(&links, ("br12", None), ("eth0", None)));
    }

    #[test]
    fn what_cannot_be_told_is_apart() {
        let links = [
            link(2, "eth0", LinkKind::Physical),
            link(3, "eth1", LinkKind::Physical),
            link(4, "ovs-system", LinkKind::OpenVswitch),
            port(4, link(5, "ovs0", LinkKind::OpenVswitch)),
            port(4, link(6, "ovs1", LinkKind::OpenVswitch)),
            // A VLAN of a link in another namespace, and one on itself.
            Link { parent_netns: Some(1), ..vlan(7, "far", 12, 2) },
            vlan(8, "odd", 12, 8),
        ];
        for (a, b) in [("eth0", "eth1"), ("ovs0", "ovs1"), ("gone", "eth0"), ("far", "eth0")] {
            assert!(!one(&links, (a, None), (b, None)), "{a} and {b}");
        }
        assert!(!one(&links, ("far", None), ("eth0", Some(12))));
        assert!(one(&links, ("odd", None), ("odd", None)));
        assert!(one(&links, ("gone", Some(1)), ("gone", Some(1))));
    }
}
