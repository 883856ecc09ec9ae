//! Where the host is on a NIC's LAN: on the NIC, or on the bridge that the NIC has become a port of meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use landline_kernel::{Event, Link, LinkKind};
use landline_links::{HostError, Namespaces, blocking};
use landline_types::IfName;
use landline_uplink as uplink;

/// The interfaces that speak for NICs, as they were when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<IfName, IfName>);

impl Places {
    /// The one that speaks for this NIC.
    pub(super) fn of(&self, nic: &IfName) -> IfName {
        self.0.get(nic).unwrap_or(nic).clone()
    }

    /// Looks again; where the host was before, for those of the NICs for which it is elsewhere now.
    pub(super) async fn look(
        &mut self,
        namespaces: &Arc<dyn Namespaces>,
        nics: Vec<IfName>,
    ) -> BTreeMap<IfName, IfName> {
        let namespaces = namespaces.clone();
        let list = move || Ok(namespaces.host().map_err(HostError::Open)?.links()?);
        let links = match blocking(list).await {
            Ok(links) => links,
            Err::<_, HostError>(error) => {
                tracing::warn!(error = %landline_types::chain(&error), "the host's links cannot be listed");
                return BTreeMap::new();
            }
        };
        let mut before = BTreeMap::new();
        let now = nics.into_iter().map(|nic| {
            let (now, was) = (place(&nic, &links), self.of(&nic));
            if now != was {
                before.insert(nic.clone(), was);
            }
            (nic, now)
        });
        let now = now.collect();
        self.0 = now;
        before
    }

    /// Whether one of them may be another after this event.
    pub(super) fn concerns(&self, event: &Event) -> bool {
        match event {
            Event::LinkNew(link) => self.0.iter().any(|(nic, place)| {
                [nic, place].contains(&&link.name) || link.alias.as_deref() == Some(&*uplink::mark(nic))
            }),
            Event::LinkGone { name: Some(name), .. } => self.0.values().any(|place| place == name),
            _ => false,
        }
    }
}

/// A bridge of the kernel's owns its ports. With Open vSwitch the kernel knows of no bridge, and only what `landline bridge`
/// has made says whose it is.
pub fn place(nic: &IfName, links: &[Link]) -> IfName {
    let own = links.iter().find(|link| link.name == *nic);
    let owner = own.and_then(|own| links.iter().find(|link| Some(link.index) == own.controller));
    let owner = owner.filter(|owner| matches!(owner.kind, LinkKind::Bridge { .. }));
    let mark = uplink::mark(nic);
    let of_switch = |link: &&Link| {
        matches!(link.kind, LinkKind::OpenVswitch | LinkKind::Tun) && link.alias.as_ref() == Some(&mark)
    };
    let found = owner.or_else(|| links.iter().find(of_switch).filter(|_| own.is_some()));
    found.map_or_else(|| nic.clone(), |link| link.name.clone())
}

#[cfg(test)]
mod tests {
    use landline_links::fake::link;

    use super::*;

    #[test]
    fn the_bridge_speaks_for_its_port() {
        let bridge = link(2, "br-em1", LinkKind::Bridge { vlan_filtering: false });
        let bond = link(3, "bond0", LinkKind::Bond);
        let nic = |controller| Link { controller, ..link(7, "em1", LinkKind::Physical) };
        let marked = |kind| Link { alias: Some("landline:uplink:em1".into()), ..link(4, "ovs-em1", kind) };
        let of = |links: &[Link]| place(&"em1".parse().unwrap(), links).to_string();
        assert_eq!(of(&[]), "em1");
        assert_eq!(of(&[nic(None), bridge.clone()]), "em1");
        assert_eq!(of(&[nic(Some(2)), bridge.clone()]), "br-em1");
        assert_eq!(of(&[nic(Some(3)), bond]), "em1");
        assert_eq!(of(&[nic(None), marked(LinkKind::Tun)]), "ovs-em1");
        assert_eq!(of(&[marked(LinkKind::OpenVswitch), nic(Some(9))]), "ovs-em1");
        // One of the kernel's is marked before it has its port.
        assert_eq!(of(&[nic(None), marked(LinkKind::Bridge { vlan_filtering: false })]), "em1");
    }
}
