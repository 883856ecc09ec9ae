//! The interfaces that networks hang on.

use std::collections::BTreeMap;

use landline_kernel::Link;
use landline_spec::Mode;
use landline_types::IfName;

use super::{Finding, label};
use crate::host::Host;
use crate::links::{check_vlan, find_parent};
use crate::records::NetworkRecord;
use crate::spanning_tree;

/// What is wrong with them. Blocks.
pub(super) fn look(host: &dyn Host, networks: &[NetworkRecord]) -> Vec<Finding> {
    let links = match host.links() {
        Ok(links) => links,
        Err(error) => {
            let says = format!("the host's interfaces cannot be listed: {}", crate::chain(&error));
            return vec![Finding::new("parent", says)];
        }
    };
    // Those that hang on one interface in the same way have the same troubles.
    let mut troubles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for network in networks {
        if let Some(trouble) = trouble(network, &links) {
            troubles.entry(trouble).or_default().push(label(network));
        }
    }
    let finding = |(trouble, mut whose): (String, Vec<String>)| {
        whose.dedup();
        Finding::new("parent", format!("{}: {trouble}", whose.join(", ")))
    };
    troubles.into_iter().map(finding).collect()
}

fn trouble(network: &NetworkRecord, links: &[Link]) -> Option<String> {
    let options = &network.options;
    if options.mode == Mode::Nic {
        // It is in the container.
        return None;
    }
    let checked = find_parent(&options.parent, options.mode, links);
    let parent = match checked.and_then(|parent| check_vlan(options, parent).map(|()| parent)) {
        Ok(parent) => parent,
        Err(error) => return Some(crate::chain(&error)),
    };
    match options.mode {
        Mode::Macvlan | Mode::Ipvlan => no_carrier(parent),
        Mode::Nat => {
            let name = network.nic.as_ref()?;
            match links.iter().find(|link| link.name == *name) {
                None => Some(gone(name)),
                Some(nic) if !nic.up => Some(format!("{name} is down; bring it up: ip link set {name} up")),
                Some(nic) => no_carrier(nic),
            }
        }
        Mode::Bridge => spanning_tree::trouble(parent, links),
        Mode::Ovs | Mode::Vde | Mode::Nic => None,
    }
}

fn gone(name: &IfName) -> String {
    format!("there is no interface {name}, which leads to the LAN; make it again, or remove the network")
}

fn no_carrier(nic: &Link) -> Option<String> {
    let cut_off =
        || format!("{} has no carrier; see to its cable, and to what that is plugged into", nic.name);
    (!nic.lower_up).then(cut_off)
}

#[cfg(test)]
mod tests {
    use landline_kernel::LinkKind;

    use super::*;
    use crate::doctor::tests::network;
    use crate::host::fake::link;

    #[test]
    fn a_parent_is_there_up_fit_and_plugged_in() {
        let nic = Link { up: true, lower_up: true, ..link(2, "eth0", LinkKind::Physical) };
        let says = |mode, links: &[Link]| trouble(&network(mode, "eth0"), links).unwrap_or_default();
        assert_eq!(says(Mode::Macvlan, std::slice::from_ref(&nic)), "");
        assert!(says(Mode::Macvlan, &[]).contains("there is no interface eth0"));
        assert_eq!(says(Mode::Nic, &[]), "", "it is in the container");
        let down = Link { up: false, ..nic.clone() };
        assert!(says(Mode::Macvlan, &[down]).contains("ip link set eth0 up"));
        let unplugged = Link { lower_up: false, ..nic.clone() };
        assert!(says(Mode::Macvlan, &[unplugged]).contains("eth0 has no carrier"));
        let wireless = Link { wireless: true, ..nic.clone() };
        assert!(says(Mode::Macvlan, &[wireless]).contains("Wi-Fi"));
        let bridge = link(3, "br0", LinkKind::Bridge { vlan_filtering: false });
        let port = Link { controller: Some(3), ..nic };
        assert!(says(Mode::Macvlan, &[port, bridge]).contains("-o mode=bridge -o bridge=br0"));
    }
}
