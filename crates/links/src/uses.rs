//! What a NIC is used for already, and what that excludes. The kernel lets one module at a time have a NIC's packets: the
//! bridge it is a port of, or macvlan, or ipvlan; it says `EBUSY` and no more.

use landline_kernel::{Link, LinkKind as Kind};
use landline_options::Mode;

use crate::drivers::mode_of_child;

/// What a host interface is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use<'a> {
    /// For nothing that excludes anything.
    Free,
    /// As a port of this bridge, bond or Open vSwitch datapath; `None`: it is in another namespace.
    Port(Option<&'a Link>),
    /// As the parent of children that `mode` makes, of which this is one. Those in other namespaces are not seen.
    Parent(Mode, &'a Link),
}

pub(super) fn use_of<'a>(nic: &Link, links: &'a [Link]) -> Use<'a> {
    if let Some(owner) = nic.controller {
        return Use::Port(links.iter().find(|link| link.index == owner));
    }
    let children = links.iter().filter(|l| l.parent == Some(nic.index) && l.parent_netns.is_none());
    let mut modes = children.filter_map(|child| Some((mode_of_child(child)?, child)));
    modes.next().map_or(Use::Free, |(mode, child)| Use::Parent(mode, child))
}

/// What to type instead of a mode that wants a bridge on a NIC; `adopt` puts the NIC into one.
pub(super) fn instead_of_bridge(nic: &Link, links: &[Link], adopt: &str) -> String {
    let name = &nic.name;
    match use_of(nic, links) {
        Use::Free => {
            format!("put it into a bridge ({adopt}) and name that, or use -o mode=macvlan -o parent={name}")
        }
        Use::Port(owner) => of_owner(owner),
        Use::Parent(mode, child) => format!(
            "it has {mode} links ({}), which exclude a bridge: use -o mode={mode} -o parent={name} here too",
            child.name
        ),
    }
}

/// What to type for an interface that another one owns.
pub(super) fn of_owner(owner: Option<&Link>) -> String {
    match owner {
        Some(bridge) if matches!(bridge.kind, Kind::Bridge { .. }) => {
            format!("use that bridge: -o mode=bridge -o bridge={}", bridge.name)
        }
        Some(owner) if matches!(owner.kind, Kind::OpenVswitch) => {
            "use the Open vSwitch bridge it is in (ovs-vsctl port-to-br): -o mode=ovs -o bridge=NAME".into()
        }
        Some(owner) => format!("use its owner: -o parent={}", owner.name),
        None => "use the interface that owns it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::link;

    const ADOPT: &str = "landline bridge adopt eth0 --as br-eth0";

    #[test]
    fn one_use_excludes_the_others_and_says_what_goes() {
        let nic = link(2, "eth0", Kind::Physical);
        let child = |kind| vec![nic.clone(), Link { parent: Some(2), ..link(7, "child0", kind) }];
        let free = instead_of_bridge(&nic, std::slice::from_ref(&nic), ADOPT);
        assert!(free.contains("landline bridge adopt eth0 --as br-eth0"), "{free}");
        assert!(free.ends_with("or use -o mode=macvlan -o parent=eth0"), "{free}");
        for (kind, mode) in
            [(Kind::Macvlan { mode: None }, "macvlan"), (Kind::Ipvlan { mode: None }, "ipvlan")]
        {
            let hint = instead_of_bridge(&nic, &child(kind), ADOPT);
            assert!(hint.contains("(child0)") && hint.contains(&format!("-o mode={mode}")), "{hint}");
        }
        let port = Link { controller: Some(3), ..nic.clone() };
        let bridge = link(3, "br0", Kind::Bridge { vlan_filtering: false });
        assert!(instead_of_bridge(&port, &[bridge], ADOPT).ends_with("-o mode=bridge -o bridge=br0"));
        let ovs = link(3, "ovs-system", Kind::OpenVswitch);
        assert!(instead_of_bridge(&port, &[ovs], ADOPT).contains("-o mode=ovs"));
        assert_eq!(use_of(&port, &[]), Use::Port(None));
    }
}
