//! What everything else must know about a link driver, as data: nothing outside `links` asks which driver it is.

use landline_kernel::{Link, LinkKind};
use landline_options::{Mode, NetworkOptions};
use landline_types::{IfName, Mac};

use super::{driver_of, mark_of};
use crate::mark::Mark;

/// What is true of every link of one driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkFacts {
    /// What a network has as its parent.
    pub parent: ParentIs,
    /// What the end on the host is connected to.
    pub host_end: HostEnd,
    /// Whose hardware address the container's interface has.
    pub mac: MacOf,
    /// Which addresses the LAN sees.
    pub(crate) reach: Reach,
    /// What puts a link into its network's VLAN.
    pub vlan: VlanBy,
    /// What the host needs to reach these containers, if it cannot without.
    pub shim: Option<Shim>,
    /// What Docker puts before the number when it names the interface inside the container.
    pub(crate) prefix: Prefix,
}

/// What a network has as its parent. Code that is about one of them names that one, and has an answer for all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentIs {
    /// A bridge that the administrator made, with a way to the LAN.
    LanBridge,
    /// A bridge that Landline makes for the network, and for nothing else.
    OwnBridge,
    /// A NIC, whose children the links are, or over which the host routes what they send and receive.
    Nic,
    /// The interface that moves into the container.
    Itself,
}

/// What the end of a link on the host is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostEnd {
    /// It is a port of a Linux bridge.
    BridgePort,
    /// It is a port of a switch that is not the kernel's own bridge (Open vSwitch). All ports of such a switch belong to one link,
    /// whichever bridge they are in.
    SwitchPort,
    /// It is the container's next hop: the host routes what the container sends and receives, and answers for its addresses on the
    /// parent.
    NextHop,
    /// There is no such end.
    None,
}

/// Whose hardware address a container's interface has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacOf {
    /// Its own, which tells it from every other interface.
    Own,
    /// That of the parent and all of its other children.
    Parent,
}

/// Which addresses the LAN sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The containers' own.
    Direct,
    /// Addresses on the host, which are translated to those of containers.
    Translated,
}

/// What puts a link into its network's VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VlanBy {
    /// The port's entry in the bridge's VLAN filter.
    Filter,
    /// The port's tag in the switch's database.
    Tag,
    /// The parent, which is an 802.1Q sub-interface of the NIC.
    SubInterface,
    /// Nothing: there are no VLANs.
    None,
}

/// An interface on the host beside those of the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shim {
    /// A macvlan sibling.
    Macvlan,
    /// An ipvlan sibling.
    Ipvlan,
}

/// What an interface is called inside the container, before its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// This word.
    Word(&'static str),
    /// What the parent is called.
    Parent,
}

/// The facts of the driver behind a mode.
pub fn facts_of(mode: Mode) -> &'static LinkFacts {
    driver_of(mode).facts()
}

impl LinkFacts {
    /// Whether links are ports of a Linux bridge that the administrator made.
    pub fn is_lan_bridge(&self) -> bool {
        self.parent == ParentIs::LanBridge && self.host_end == HostEnd::BridgePort
    }

    /// Whether the parent is a way to the LAN for the links on it, as they are.
    pub(crate) fn leads_to_lan(&self) -> bool {
        matches!(self.parent, ParentIs::LanBridge | ParentIs::Nic)
    }

    /// Whether containers have addresses that the LAN never sees.
    pub fn is_translated(&self) -> bool {
        self.reach == Reach::Translated
    }

    /// Whether the host routes between containers and the LAN, where only the parent is seen: what asks the LAN for addresses and
    /// about them does so on the parent.
    pub fn host_routes(&self) -> bool {
        self.host_end == HostEnd::NextHop
    }

    /// Whether all links on one parent have its hardware address.
    pub fn shares_mac(&self) -> bool {
        self.mac == MacOf::Parent
    }

    /// Whether the interface itself moves into the container, and back.
    pub fn moves_parent(&self) -> bool {
        self.parent == ParentIs::Itself
    }

    /// The hardware address of every link on `parent`; `None` where each link has its own.
    pub(crate) fn shared_mac(&self, parent: &Link) -> Option<Mac> {
        parent.mac.filter(|_| self.shares_mac())
    }

    /// What Docker puts before the number when it names the interface inside the container.
    pub fn container_prefix(&self, parent: &IfName) -> String {
        match self.prefix {
            // The kernel would not take a longer name: two digits are kept free.
            Prefix::Parent if parent.as_str().len() + 2 <= IfName::MAX => parent.as_str().into(),
            Prefix::Parent => "eth".into(),
            Prefix::Word(word) => word.into(),
        }
    }
}

/// Whether a network with these options wants its bridge for itself: no other network is to have it.
pub fn wants_bridge_alone(options: &NetworkOptions) -> bool {
    facts_of(options.mode).is_lan_bridge() && !options.ignore_conflicts
}

/// Whether a switch sends back what the network's containers send (802.1Qbg).
pub fn is_reflected(options: &NetworkOptions) -> bool {
    options.macvlan_mode == landline_options::MacvlanMode::Vepa
}

/// Whether packets of an endpoint with these options and this mark on its host's end go by way of this link.
pub fn leads_over(link: &Link, own: &Mark, options: &NetworkOptions, links: &[Link]) -> bool {
    if let Some(mark) = mark_of(link) {
        return mark == *own;
    }
    let controller = || links.iter().find(|other| Some(other.index) == link.controller);
    let facts = facts_of(options.mode);
    match (facts.parent, facts.host_end) {
        // The parent may be a bridge itself, or a bond.
        (ParentIs::Nic, _) => {
            link.name == options.parent || controller().is_some_and(|over| over.name == options.parent)
        }
        // All of its ports belong to one link, whichever bridge they are in.
        (ParentIs::LanBridge, HostEnd::SwitchPort) => {
            controller().is_some_and(|switch| switch.kind == LinkKind::OpenVswitch)
        }
        (ParentIs::LanBridge, _) => controller().is_some_and(|bridge| bridge.name == options.parent),
        // A card notices by itself, and other parents do not lead to a LAN.
        _ => false,
    }
}

#[cfg(test)]
mod tests;
