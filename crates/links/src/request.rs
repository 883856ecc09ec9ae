//! A request for one link, and what becomes of it: a plan.

use landline_kernel::Link;
use landline_options::{EndpointId, LinkMtu, NetworkOptions};
use landline_types::{IfName, Mac};

use crate::driver_of;
use crate::mark::{End, Mark};
use crate::plan::{LinkEnd, Plan};

/// What a link is to be made of.
#[derive(Debug)]
pub struct LinkRequest<'a> {
    /// Whose link it is.
    pub endpoint: &'a EndpointId,
    /// What was asked for.
    pub options: &'a NetworkOptions,
    /// The parent as it is now.
    pub parent: &'a Link,
    /// The container's hardware address.
    pub mac: Mac,
    /// What the end on the host is called, where there is one; `None`: as its mark has it.
    pub host_name: Option<IfName>,
}

impl LinkRequest<'_> {
    /// The end that will move into the container.
    pub(crate) fn container_end(&self) -> LinkEnd {
        self.end(End::Container, self.mac)
    }

    pub(crate) fn end(&self, end: End, mac: Mac) -> LinkEnd {
        let mark = Mark::new(self.endpoint, end);
        let mtu = match end {
            // What a server says comes with the lease.
            End::Container | End::Card => {
                self.options.mtu.and_then(LinkMtu::fixed).unwrap_or(self.parent.mtu)
            }
            // A bridge takes over the smallest MTU of its ports, so the host's end always has the parent's.
            End::Host => self.parent.mtu,
        };
        let name = self.host_name.clone().filter(|_| end == End::Host);
        LinkEnd {
            name: name.unwrap_or_else(|| mark.link_name()),
            mac: Some(mac),
            mtu,
            alias: mark.to_string(),
            silent: end == End::Container,
        }
    }

    /// How the mode's driver makes the link.
    pub fn plan(self) -> PlannedLink {
        let driver = driver_of(self.options.mode);
        let facts = driver.facts();
        let request = Self { mac: facts.shared_mac(self.parent).unwrap_or(self.mac), ..self };
        let name = if facts.moves_parent() {
            request.parent.name.clone()
        } else {
            Mark::new(request.endpoint, End::Container).link_name()
        };
        PlannedLink {
            plan: driver.endpoint(&request),
            name,
            mac: request.mac,
            parent_mtu: request.parent.mtu,
        }
    }
}

/// A link that is about to be made.
#[derive(Debug)]
pub struct PlannedLink {
    /// What makes it.
    pub plan: Plan,
    /// What the end is called that goes into the container.
    pub name: IfName,
    /// The hardware address it will have: what was asked for, unless all links on the parent share one.
    pub mac: Mac,
    /// The parent's MTU, in bytes.
    pub parent_mtu: u32,
}

#[cfg(test)]
mod tests {
    use landline_options::Mode;

    use super::*;
    use crate::host::Host as _;
    use crate::host::fake::FakeHost;

    #[test]
    fn a_link_is_called_after_its_mark_unless_it_is_the_parent_itself() {
        let endpoint = "e".repeat(64).parse().unwrap();
        let asked = Mac::new([2, 0, 0, 0, 0, 1]);
        for (mode, parent) in [
            (Mode::Bridge, "br0"),
            (Mode::Macvlan, "eth0"),
            (Mode::Ipvlan, "eth0"),
            (Mode::Routed, "eth0"),
            (Mode::Nic, "eth0"),
        ] {
            let parent: IfName = parent.parse().unwrap();
            let link = FakeHost::with_bridge_and_nic().link(&parent).unwrap().unwrap();
            let link = Link { mac: Some(Mac::new([2, 0, 0, 0, 0, 9])), ..link };
            let options = NetworkOptions { mode, ..NetworkOptions::new(parent.clone()) };
            let request = LinkRequest {
                endpoint: &endpoint,
                options: &options,
                parent: &link,
                mac: asked,
                host_name: None,
            };
            let planned = request.plan();
            let own = Mark::new(&endpoint, End::Container).link_name();
            assert_eq!(planned.name, if mode == Mode::Nic { parent } else { own }, "{mode}");
            let mac = if [Mode::Ipvlan, Mode::Routed].contains(&mode) { link.mac.unwrap() } else { asked };
            assert_eq!((planned.mac, planned.parent_mtu), (mac, link.mtu), "{mode}");
        }
    }
}
