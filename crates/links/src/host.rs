//! The host's kernel, as the engine sees it: what links there are, and one step of a plan at a time.

use std::sync::{Arc, Mutex, PoisonError};

use landline_kernel::brport;
use landline_kernel::sysctl::{self, Family};
use landline_kernel::{
    Address, IpvlanMode, Link, LinkChange, LinkKind, Netlink, NetlinkError, Netns, NewLink, NewLinkKind,
    PeerLink, Route,
};
use landline_types::IfName;
use tokio::sync::Notify;

use crate::drivers::{DriverState, macvlan_mode};
use crate::mark::Mark;
use crate::plan::{LinkEnd, LinkType, Step};

/// Where plans are carried out. Calls block for as long as the kernel takes (usually well under a millisecond,
/// tens of milliseconds when links are removed): call them from blocking tasks.
pub trait Host: Send + Sync {
    /// All links of the host's namespace.
    fn links(&self) -> Result<Vec<Link>, HostError>;

    /// The link of that name, if there is one.
    fn link(&self, name: &IfName) -> Result<Option<Link>, HostError>;

    /// The host's routes of the main table.
    fn routes(&self) -> Result<Vec<Route>, HostError>;

    /// The addresses of the link with this index.
    fn addresses(&self, index: u32) -> Result<Vec<ipnet::IpNet>, HostError>;

    /// Whether this bridge's hardware address was set on purpose, and stays whatever ports it has. `None`: there is no
    /// telling.
    fn has_set_address(&self, bridge: &IfName) -> Option<bool>;

    /// Takes one step.
    fn apply(&self, step: &Step) -> Result<(), HostError>;

    /// Takes one step back. Only links that carry the step's mark are removed; what is gone already is fine.
    fn undo(&self, step: &Step) -> Result<(), HostError>;

    /// Moves the link with this index into another namespace.
    fn hand_over(&self, index: u32, netns: &Netns) -> Result<(), HostError>;

    /// Notified when a process that connects links on behalf of a driver has ended: what it connected has to be connected
    /// again ([`LinkDriver::network`](crate::LinkDriver::network) and
    /// [`LinkDriver::reconnect`](crate::LinkDriver::reconnect)).
    fn connections_lost(&self) -> Arc<Notify>;

    /// Removes the link with this index if it still carries this alias; `false` if it was not there.
    fn remove_marked(&self, index: u32, alias: &str) -> Result<bool, HostError>;

    /// Removes the link with this index if it is half made: it has a name of ours, is down, and was given no mark
    /// yet. `false` if it was not there.
    fn remove_half_made(&self, index: u32) -> Result<bool, HostError>;
}

/// Why the host could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The kernel refused.
    #[error("the kernel refused")]
    Netlink(#[from] NetlinkError),
    /// The kernel cannot be asked.
    #[error("cannot open a netlink socket")]
    Open(#[source] std::io::Error),
    /// A setting under `/proc/sys/net` could not be written.
    #[error("cannot set {key} of {link}")]
    Sysctl {
        /// The link it belongs to.
        link: IfName,
        /// The setting's name.
        key: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A NIC has children of the other kind.
    #[error(
        "{parent} cannot have {kind} children now: something else has taken it over, probably {other} children, \
         and the kernel allows one kind at a time; use mode={other} on {parent} too, or another NIC"
    )]
    ParentTaken {
        /// The NIC.
        parent: IfName,
        /// What was to be made.
        kind: &'static str,
        /// What is probably there.
        other: &'static str,
    },
    /// A tap could not be made or taken hold of.
    #[error("cannot use the tap {link}{hint}")]
    Tap {
        /// The tap.
        link: IfName,
        /// What may be wrong.
        hint: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A sandbox could not be searched.
    #[error("cannot search the sandbox")]
    Sandbox(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A driver could not do something outside the kernel.
    #[error(transparent)]
    Driver(Box<dyn std::error::Error + Send + Sync>),
    /// A link that should be there is not.
    #[error("there is no link named {0}")]
    NoLink(IfName),
    /// Made up by a test's host.
    #[cfg(any(test, feature = "testing"))]
    #[error("injected failure")]
    Injected,
}

/// The namespace the process runs in.
pub struct LinuxHost {
    netlink: Mutex<Netlink>,
    /// What drivers keep besides the kernel's links.
    pub(crate) drivers: DriverState,
}

impl LinuxHost {
    /// Opens the namespace of the calling thread.
    ///
    /// # Errors
    /// When a netlink socket cannot be opened.
    pub fn open() -> Result<Self, HostError> {
        Ok(Self {
            netlink: Mutex::new(Netlink::open().map_err(HostError::Open)?),
            drivers: DriverState::new()?,
        })
    }

    fn netlink(&self) -> std::sync::MutexGuard<'_, Netlink> {
        // Requests and answers are matched by sequence number, so a panicked holder leaves nothing behind.
        self.netlink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self, name: &IfName) -> Result<u32, HostError> {
        Ok(self.link(name)?.ok_or_else(|| HostError::NoLink(name.clone()))?.index)
    }

    /// Makes a link and the settings that netlink has no words for; all or nothing.
    fn add(&self, link: &NewLink, ends: &[&LinkEnd]) -> Result<(), HostError> {
        self.netlink().add_link(link)?;
        self.quiet(ends)
    }

    /// Writes the settings of new links that netlink has no words for; if that fails they are removed.
    fn quiet(&self, ends: &[&LinkEnd]) -> Result<(), HostError> {
        for end in ends {
            let done = match sysctl::set(Family::V6, &end.name, "accept_ra", "0") {
                // A kernel without IPv6 has nothing to keep quiet.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                done => done,
            };
            if let Err(source) = done {
                if let Some(first) = ends.first() {
                    self.remove_end(first)?;
                }
                return Err(HostError::Sysctl { link: end.name.clone(), key: "accept_ra", source });
            }
        }
        Ok(())
    }

    /// Makes a link of ours; all or nothing.
    fn add_link(&self, link: &LinkEnd, kind: &LinkType) -> Result<(), HostError> {
        match kind {
            LinkType::Veth { peer } => {
                let other = PeerLink {
                    mac: peer.mac,
                    mtu: Some(peer.mtu),
                    alias: Some(peer.alias.clone()),
                    arp_ignore: arp_ignore(peer),
                    addr_gen_none: true,
                    ..PeerLink::new(peer.name.clone())
                };
                self.add(&new_link(link, NewLinkKind::Veth { peer: other }), &[link, peer])
            }
            LinkType::Macvlan { parent, mode } => {
                let kind = NewLinkKind::Macvlan { parent: self.index(parent)?, mode: macvlan_mode(*mode) };
                let added = self.add(&new_link(link, kind), &[link]);
                added.map_err(|error| taken(error, parent, "macvlan", "ipvlan"))
            }
            LinkType::Ipvlan { parent } => {
                let kind = NewLinkKind::Ipvlan { parent: self.index(parent)?, mode: IpvlanMode::L2 };
                let added = self.add(&new_link(link, kind), &[link]);
                added.map_err(|error| taken(error, parent, "ipvlan", "macvlan"))
            }
            LinkType::Vlan { parent, id } => {
                let kind = NewLinkKind::Vlan { parent: self.index(parent)?, id: *id };
                self.add(&new_link(link, kind), &[link])
            }
            LinkType::Bridge => {
                self.add(&new_link(link, NewLinkKind::Bridge), &[link])?;
                let index = self.index(&link.name)?;
                // No address is made up for it, no router asked for.
                let _ = sysctl::set(Family::V6, &link.name, "disable_ipv6", "1");
                Ok(self.netlink().flood_multicast(index)?)
            }
            LinkType::PlainBridge => {
                let alias = Some(link.alias.clone());
                let bridge = NewLink { alias, ..NewLink::new(link.name.clone(), NewLinkKind::Bridge) };
                Ok(self.netlink().add_link(&bridge)?)
            }
            LinkType::Tap => self.add_tap(link),
            LinkType::Dummy => self.add(&new_link(link, NewLinkKind::Dummy), &[link]),
        }
    }

    /// Makes a tap; all or nothing.
    fn add_tap(&self, tap: &LinkEnd) -> Result<(), HostError> {
        if self.link(&tap.name)?.is_some() {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(HostError::Tap { link: tap.name.clone(), hint: "", source });
        }
        self.drivers.make_tap(&tap.name)?;
        let change = LinkChange {
            mac: tap.mac,
            mtu: Some(tap.mtu),
            alias: Some(tap.alias.clone()),
            arp_ignore: arp_ignore(tap),
            addr_gen_none: true,
            ..LinkChange::new()
        };
        let told = self.index(&tap.name).and_then(|index| Ok(self.netlink().set_link(index, &change)?));
        let told = told.and_then(|()| self.quiet(&[tap]));
        told.inspect_err(|_| {
            self.drivers.drop_tap(&tap.name);
            if let Ok(index) = self.index(&tap.name) {
                let _ = self.netlink().delete_link(index);
            }
        })
    }

    fn remove_end(&self, end: &LinkEnd) -> Result<(), HostError> {
        match self.link(&end.name)? {
            Some(link) if link.alias.as_deref() == Some(&*end.alias) => {
                self.netlink().delete_link(link.index)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Host for LinuxHost {
    fn links(&self) -> Result<Vec<Link>, HostError> {
        Ok(self.netlink().links()?)
    }

    fn link(&self, name: &IfName) -> Result<Option<Link>, HostError> {
        Ok(self.netlink().link_by_name(name)?)
    }

    fn routes(&self) -> Result<Vec<Route>, HostError> {
        Ok(self.netlink().routes()?)
    }

    fn addresses(&self, index: u32) -> Result<Vec<ipnet::IpNet>, HostError> {
        let all = self.netlink().addresses()?;
        Ok(all.into_iter().filter(|a| a.index == index).map(|a| a.net).collect())
    }

    fn has_set_address(&self, bridge: &IfName) -> Option<bool> {
        brport::has_set_address(bridge).ok()
    }

    fn apply(&self, step: &Step) -> Result<(), HostError> {
        match step {
            Step::AddLink { link, kind } => self.add_link(link, kind),
            Step::PortVlan { port, id } => {
                let index = self.index(port)?;
                Ok(self.netlink().set_port_vlan(index, *id)?)
            }
            Step::ForwardGroups { port } => {
                let index = self.index(port)?;
                Ok(self.netlink().forward_reserved_groups(index)?)
            }
            Step::SetAlias { link, alias } => {
                let index = self.index(link)?;
                Ok(self.netlink().set_link(index, &LinkChange::new().alias(alias.clone()))?)
            }
            Step::Readdress { link, mac } => {
                let index = self.index(link)?;
                let mut netlink = self.netlink();
                netlink.set_link(index, &LinkChange::new().down())?;
                Ok(netlink.set_link(index, &LinkChange { mac: Some(*mac), ..LinkChange::new() })?)
            }
            Step::SetAddress { link, mac } => {
                let index = self.index(link)?;
                Ok(self.netlink().set_link(index, &LinkChange::new().mac(*mac))?)
            }
            Step::SetController { link, bridge } => {
                let (link, bridge) = (self.index(link)?, self.index(bridge)?);
                Ok(self.netlink().set_link(link, &LinkChange::new().controller(Some(bridge)))?)
            }
            Step::AddAddress { link, address } => {
                let own = Address::new(self.index(link)?, (*address).into()).broadcast(address.broadcast());
                match self.netlink().add_address(&Address { protocol: crate::mark::PROTOCOL, ..own }) {
                    Err(error) if error.exists() => Ok(()),
                    added => Ok(added?),
                }
            }
            Step::Up { link } => {
                let index = self.index(link)?;
                Ok(self.netlink().set_link(index, &LinkChange::new().up())?)
            }
            Step::Driver(step) => step.apply(self),
        }
    }

    fn undo(&self, step: &Step) -> Result<(), HostError> {
        match step {
            // A peer goes with it, wherever it is.
            Step::AddLink { link, kind } => {
                if *kind == LinkType::Tap {
                    self.drivers.drop_tap(&link.name);
                }
                self.remove_end(link)
            }
            // They end with the link they were done to; a card's state of before is stored.
            Step::SetController { .. }
            | Step::SetAddress { .. }
            | Step::Readdress { .. }
            | Step::Up { .. }
            | Step::AddAddress { .. }
            | Step::PortVlan { .. }
            | Step::ForwardGroups { .. } => Ok(()),
            Step::Driver(step) => step.undo(self),
            Step::SetAlias { link, .. } => match self.link(link)? {
                Some(link) => Ok(self.netlink().set_link(link.index, &LinkChange::new().alias(""))?),
                None => Ok(()),
            },
        }
    }

    fn connections_lost(&self) -> Arc<Notify> {
        self.drivers.connections_lost()
    }

    fn hand_over(&self, index: u32, netns: &Netns) -> Result<(), HostError> {
        Ok(self.netlink().set_link(index, &LinkChange::new().netns(netns))?)
    }

    fn remove_marked(&self, index: u32, alias: &str) -> Result<bool, HostError> {
        let mut netlink = self.netlink();
        match netlink.link_by_index(index)? {
            Some(link) if link.alias.as_deref() == Some(alias) => Ok(netlink.delete_link(index)?),
            _ => Ok(false),
        }
    }

    fn remove_half_made(&self, index: u32) -> Result<bool, HostError> {
        let mut netlink = self.netlink();
        match netlink.link_by_index(index)? {
            Some(link) if is_half_made(&link) => Ok(netlink.delete_link(index)?),
            _ => Ok(false),
        }
    }
}

/// Whether the link is one that was to become ours: the kernel takes no alias at the creation of a link, so one
/// whose maker was killed at that moment has our name and no mark. It was never up.
pub fn is_half_made(link: &Link) -> bool {
    let kind = matches!(
        link.kind,
        LinkKind::Veth | LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. } | LinkKind::Tun
    );
    kind && link.alias.is_none()
        && !link.up
        && link.controller.is_none()
        && crate::mark::is_link_name(&link.name)
}

/// Says what `EBUSY` means for a child of a NIC: one module at a time may take a NIC's packets.
fn taken(error: HostError, parent: &IfName, kind: &'static str, other: &'static str) -> HostError {
    match error {
        HostError::Netlink(error) if error.busy() => {
            HostError::ParentTaken { parent: parent.clone(), kind, other }
        }
        error => error,
    }
}

fn new_link(end: &LinkEnd, kind: NewLinkKind) -> NewLink {
    NewLink {
        mac: end.mac,
        mtu: Some(end.mtu),
        alias: Some(end.alias.clone()),
        arp_ignore: arp_ignore(end),
        addr_gen_none: true,
        ..NewLink::new(end.name.clone(), kind)
    }
}

/// 8: answers no ARP request, for whatever address (the kernel's `ip-sysctl` documentation).
fn arp_ignore(end: &LinkEnd) -> Option<u32> {
    end.silent.then_some(8)
}

/// The mark a link carries, if it is one of ours.
pub fn mark_of(link: &Link) -> Option<Mark> {
    link.alias.as_deref().and_then(Mark::read)
}

#[cfg(any(test, feature = "testing"))]
pub(crate) mod fake;
