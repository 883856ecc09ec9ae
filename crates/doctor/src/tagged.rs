//! Bridges on whose LAN there are VLANs, and which keep nobody out of them.

use std::collections::{BTreeMap, BTreeSet};

use landline_kernel::{Link, LinkKind};
use landline_types::IfName;

use super::Finding;

/// What containers may reach that are connected to these bridges by a label of their own and were allowed no VLAN. A bridge that does
/// not filter VLANs forwards whatever tag a frame has, and a VLAN of the host's own over it shows that there are some.
pub fn tagged(asked: &BTreeMap<IfName, BTreeSet<String>>, links: &[Link]) -> Vec<Finding> {
    let finding = |(name, whose): (&IfName, &BTreeSet<String>)| {
        let vlan = vlan_over(name, links)?;
        let whose: Vec<&str> = whose.iter().map(String::as_str).collect();
        Some(Finding::new(
            "vlans",
            format!(
                "{name} does not filter VLANs, and {vlan} shows that there are some on its LAN: containers that are attached \
                 to {name} by labels ({}) can reach them with tagged frames; to prevent that, switch the filter on: ip link set \
                 {name} type bridge vlan_filtering 1",
                whose.join(", ")
            ),
        ))
    };
    asked.iter().filter_map(finding).collect()
}

/// A VLAN of this bridge or of one of its ports, if the bridge does not filter VLANs.
fn vlan_over<'a>(bridge: &IfName, links: &'a [Link]) -> Option<&'a IfName> {
    let bridge = links.iter().find(|link| link.name == *bridge)?;
    if bridge.kind != (LinkKind::Bridge { vlan_filtering: false }) {
        return None;
    }
    let is_on_it = |index: u32| {
        index == bridge.index
            || links.iter().any(|port| port.index == index && port.controller == Some(bridge.index))
    };
    let is_vlan = |link: &&Link| matches!(link.kind, LinkKind::Vlan { .. }) && link.parent_netns.is_none();
    links.iter().filter(is_vlan).find(|link| link.parent.is_some_and(is_on_it)).map(|vlan| &vlan.name)
}

#[cfg(test)]
mod tests {
    use landline_links::fake::link;

    use super::*;

    #[test]
    fn a_bridge_that_keeps_nobody_out_of_vlans_is_named() {
        let asked = BTreeMap::from([("br0".parse().unwrap(), BTreeSet::from(["web".to_owned()]))]);
        let bridge = |vlan_filtering| link(3, "br0", LinkKind::Bridge { vlan_filtering });
        let nic = Link { controller: Some(3), ..link(2, "eth0", LinkKind::Physical) };
        let over = |index| Link { parent: Some(index), ..link(7, "guests", LinkKind::Vlan { id: 12 }) };
        let says = |links: &[Link]| tagged(&asked, links).pop().map(|finding| finding.says);
        assert_eq!(says(&[bridge(false), nic.clone()]), None, "nothing shows that there are any");
        assert_eq!(says(&[bridge(true), nic.clone(), over(2)]), None);
        assert_eq!(says(&[bridge(false), nic.clone(), over(9)]), None, "of another NIC");
        assert_eq!(says(&[nic.clone(), over(2)]), None);
        for below in [2, 3] {
            let says = says(&[bridge(false), nic.clone(), over(below)]).unwrap();
            assert!(says.contains("guests shows") && says.contains("labels (web)"), "{says}");
        }
    }
}
