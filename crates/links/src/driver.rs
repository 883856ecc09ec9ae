//! Link drivers: how a container's interface connects to the LAN. Each is a file in `drivers/`.
//!
//! A driver says what is true of its links, which parents it can use, and what plan makes a link.

use std::path::PathBuf;

use landline_kernel::{Link, LinkKind as Kind};
use landline_model::NetworkRecord;
use landline_options::{EndpointId, Mode, NetworkOptions};
use landline_types::IfName;

use crate::drivers::vlan;
use crate::host::HostError;
use crate::mark::{Mark, NetworkMark};
use crate::network::{NetworkLinks, NetworkLinksError};
use crate::plan::{Plan, Step};
use crate::uses::{self, Use};
use crate::{LinkFacts, LinkRequest, driver_of, facts_of};

/// Why a host interface cannot be the parent of a network. Each says what to do instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParentError {
    /// The interface does not exist.
    #[error("there is no interface {name}; {}", candidates(suitable, *mode))]
    Missing {
        /// What was asked for.
        name: IfName,
        /// What would do.
        suitable: Vec<IfName>,
        /// The mode that was asked for.
        mode: Mode,
    },
    /// It is not of the kind this mode needs.
    #[error("{name} is {what}, which mode={mode} cannot use; {hint}")]
    WrongKind {
        /// The interface.
        name: IfName,
        /// What it is.
        what: String,
        /// The mode that was asked for.
        mode: Mode,
        /// What to type instead.
        hint: String,
    },
    /// It is a Wi-Fi interface.
    #[error(
        "{name} is a Wi-Fi interface: access points drop frames from hardware addresses that did not log in, \
         so no container would be reachable; use -o mode=routed or -o mode=ipvlan, or a wired interface"
    )]
    Wireless {
        /// The interface.
        name: IfName,
    },
    /// It has ipvlan children that are not in L2 mode.
    #[error(
        "{name} has an ipvlan child in another mode than l2 ({child}), and the kernel has one mode for all; \
         use another interface, or mode=macvlan once that child is gone"
    )]
    OtherIpvlanMode {
        /// The interface.
        name: IfName,
        /// The child.
        child: IfName,
    },
    /// It does not tell VLANs apart.
    #[error(
        "{name} does not filter VLANs, so its ports cannot be in one; switch that on: \
         ip link set {name} type bridge vlan_filtering 1"
    )]
    NoVlanFiltering {
        /// The bridge.
        name: IfName,
    },
    /// It is administratively down.
    #[error("{name} is down; bring it up first: ip link set {name} up")]
    Down {
        /// The interface.
        name: IfName,
    },
}

fn candidates(suitable: &[IfName], mode: Mode) -> String {
    if suitable.is_empty() {
        return driver_of(mode).when_no_parent().into();
    }
    let names: Vec<&str> = suitable.iter().map(IfName::as_str).collect();
    format!("one of these would do: -o parent={}", names.join(", -o parent="))
}

/// Where the link of an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedLink {
    /// Whose it is.
    pub endpoint: EndpointId,
    /// What it is called on the host, as long as it is there.
    pub name: IfName,
    /// The sandbox that it is in; `None`: it is on the host.
    pub sandbox: Option<PathBuf>,
}

/// One way to connect containers' interfaces to the LAN.
pub trait LinkDriver: Sync {
    /// What is true of all of its links.
    fn facts(&self) -> &'static LinkFacts;

    /// Whether `parent` can carry such links. `links` are all links of the host.
    fn check(&self, parent: &Link, links: &[Link]) -> Result<(), ParentError>;

    /// The parent that `name` names among `links`, all links of the host. A driver whose links need none answers with the loopback
    /// interface, which stands for the host.
    ///
    /// # Errors
    /// There is none, or it cannot carry such links.
    fn parent<'a>(&self, name: &IfName, mode: Mode, links: &'a [Link]) -> Result<&'a Link, ParentError> {
        let fits = |link: &Link| self.check(link, links);
        let Some(parent) = links.iter().find(|link| link.name == *name) else {
            let suitable = links.iter().filter(|l| l.alias.as_deref().and_then(Mark::read).is_none());
            let suitable = suitable.filter(|l| fits(l).is_ok()).map(|l| l.name.clone()).collect();
            return Err(ParentError::Missing { name: name.clone(), suitable, mode });
        };
        fits(parent)?;
        Ok(parent)
    }

    /// What is said when the host has no interface that could be a parent.
    fn when_no_parent(&self) -> &'static str {
        "this host has no interface that would do"
    }

    /// Whether ports of `parent` can be in a VLAN, if they are to be.
    ///
    /// # Errors
    /// They would be in all of them.
    fn check_vlan(&self, options: &NetworkOptions, parent: &Link) -> Result<(), ParentError> {
        let _ = (options, parent);
        Ok(())
    }

    /// What a network needs on the host beside its containers' links, as far as it is not there: the VLAN of its NIC, unless the
    /// driver says otherwise. `new`: the network is being created, so what it only joins must be there.
    ///
    /// # Errors
    /// It cannot be had.
    fn network(
        &self,
        network: &NetworkRecord,
        links: &[Link],
        new: bool,
    ) -> Result<NetworkLinks, NetworkLinksError> {
        let _ = new;
        Ok(vlan::network(network, links)?)
    }

    /// What is said when the host refuses what the network needs.
    fn refused(&self, network: &NetworkRecord, source: HostError) -> NetworkLinksError {
        vlan::refused(network, source)
    }

    /// The step that ends what runs on the host for a network, which has these links with its mark, before they are removed.
    fn network_ends(&self, network: &NetworkRecord, links: &[(Link, NetworkMark)]) -> Option<Step> {
        let _ = (network, links);
        None
    }

    /// The step that finds out whether a switch outside the kernel has the parent, and changes nothing. `None`: the host's links say
    /// it all.
    fn confirm(&self, parent: &IfName) -> Option<Step> {
        let _ = parent;
        None
    }

    /// What makes the link of an endpoint. It ends up, in the host's namespace, and silent about the host's addresses.
    fn endpoint(&self, request: &LinkRequest<'_>) -> Plan;

    /// The step that connects an endpoint's link again, where a process outside the kernel had connected it and has ended. `None`: links
    /// on a network with these options stay connected by themselves.
    fn reconnect(&self, options: &NetworkOptions, link: ConnectedLink) -> Option<Step> {
        let _ = (options, link);
        None
    }

    /// The step that removes what a switch outside the kernel has of an endpoint whose link is gone.
    fn disconnect(&self, endpoint: &EndpointId) -> Option<Step> {
        let _ = endpoint;
        None
    }
}

/// Finds `name` among `links` and checks that it can be a parent for `mode`.
pub fn find_parent<'a>(name: &IfName, mode: Mode, links: &'a [Link]) -> Result<&'a Link, ParentError> {
    driver_of(mode).parent(name, mode, links)
}

/// See [`LinkDriver::check_vlan`].
pub fn check_vlan(options: &NetworkOptions, parent: &Link) -> Result<(), ParentError> {
    driver_of(options.mode).check_vlan(options, parent)
}

/// Whether `parent` can carry the children of a NIC that `mode` makes.
pub(crate) fn check_nic(parent: &Link, links: &[Link], mode: Mode) -> Result<(), ParentError> {
    let name = parent.name.clone();
    let wrong =
        |what: String, hint: String| Err(ParentError::WrongKind { name: name.clone(), what, mode, hint });
    if parent.loopback {
        return wrong(describe(parent), "name the NIC that is plugged into the LAN".into());
    }
    if !parent.ethernet {
        return wrong("not an Ethernet interface".into(), "name the NIC that is plugged into the LAN".into());
    }
    // A Wi-Fi interface may speak with its own hardware address only, which its children can share.
    if parent.wireless && !facts_of(mode).shares_mac() {
        return Err(ParentError::Wireless { name });
    }
    match parent.kind {
        Kind::Macvlan { .. } | Kind::Macvtap | Kind::Ipvlan { .. } => {
            let below = parent.parent.and_then(|index| links.iter().find(|l| l.index == index));
            let hint = match below {
                Some(nic) => format!("name the NIC below it: -o parent={}", nic.name),
                None => "name the NIC below it".into(),
            };
            return wrong(describe(parent), hint);
        }
        _ => {}
    }
    match uses::use_of(parent, links) {
        Use::Port(owner) => return wrong("a port of another interface".into(), uses::of_owner(owner)),
        Use::Parent(other, child) if other != mode => {
            return wrong(
                format!("the parent of {other} links ({})", child.name),
                format!("use mode={other} there too, or another interface"),
            );
        }
        Use::Parent(..) | Use::Free => {}
    }
    if parent.up { Ok(()) } else { Err(ParentError::Down { name }) }
}

/// What people call this kind of link.
pub(crate) fn describe(link: &Link) -> String {
    match &link.kind {
        _ if link.loopback => "the loopback interface".into(),
        Kind::Physical => "a network card".into(),
        Kind::Bridge { .. } => "a bridge".into(),
        Kind::Veth => "a veth".into(),
        Kind::Macvlan { .. } | Kind::Macvtap => "itself a macvlan".into(),
        Kind::Ipvlan { .. } => "itself an ipvlan".into(),
        Kind::OpenVswitch => "a part of Open vSwitch".into(),
        other => format!("of kind {other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests;
