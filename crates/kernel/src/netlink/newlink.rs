//! Links to be made.
//!
//! What one `RTM_NEWLINK` can say, says one: names, hardware addresses and MTU of both ends of a veth, the
//! controller, and whether the link is up. The alias in a create request is ignored, and the per-protocol
//! settings (`arp_ignore`, `addrgenmode`) are refused there (`EAFNOSUPPORT`, seen on 6.18, both families); such
//! a link is made down, told the rest, and only then brought up, so that nobody ever hears it without its
//! settings. If a later request fails, the link is removed again.

use landline_types::{IfName, Mac};

use super::attr::Message;
use super::change::LinkChange;
use super::error::NetlinkError;
use super::link::ifinfo;
use super::socket::Netlink;
use super::uapi::{IFLA_IPVLAN_MODE, IFLA_MACVLAN_MODE, IFLA_VLAN_ID, VETH_INFO_PEER};

/// A link to be made by [`Netlink::add_link`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// Its name, which must be free.
    pub name: IfName,
    /// What it is.
    pub kind: NewLinkKind,
    /// Its hardware address; without one the kernel draws one, and udev may draw another later.
    pub mac: Option<Mac>,
    /// Largest packet in bytes; the kernel's default for the kind otherwise.
    pub mtu: Option<u32>,
    /// The bridge it becomes a port of, by index.
    pub controller: Option<u32>,
    /// Free text, up to 255 bytes.
    pub alias: Option<String>,
    /// The IPv4 setting `arp_ignore` of this link: 8 answers no ARP request at all. Lost when the link moves
    /// to another namespace.
    pub arp_ignore: Option<u32>,
    /// Whether the kernel is kept from giving it an IPv6 link-local address (`addrgenmode none`).
    pub addr_gen_none: bool,
    /// Whether it is switched on, after everything else.
    pub up: bool,
}

/// What kind of link to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewLinkKind {
    /// A pair of links; what enters one leaves the other.
    Veth {
        /// The other end, made at the same moment in the same namespace.
        peer: PeerLink,
    },
    /// A link with a hardware address of its own on the parent.
    Macvlan {
        /// Index of the parent.
        parent: u32,
        /// Who may talk to whom.
        mode: MacvlanMode,
    },
    /// A link with the parent's hardware address; told apart by IP address.
    Ipvlan {
        /// Index of the parent.
        parent: u32,
        /// Which layer; all children of one parent have the same.
        mode: IpvlanMode,
    },
    /// One VLAN of the parent.
    Vlan {
        /// Index of the parent.
        parent: u32,
        /// 1 to 4094.
        id: u16,
    },
    /// A Linux bridge.
    Bridge,
    /// A link that swallows everything.
    Dummy,
}

/// The other end of a veth pair; the fields mean what they mean in [`NewLink`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerLink {
    /// Its name, which must be free.
    pub name: IfName,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
    /// Free text, up to 255 bytes.
    pub alias: Option<String>,
    /// The IPv4 setting `arp_ignore`.
    pub arp_ignore: Option<u32>,
    /// `addrgenmode none`.
    pub addr_gen_none: bool,
    /// Whether it is switched on, after everything else.
    pub up: bool,
}

/// Who may talk to whom among the children of one parent (`ip-link(8)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MacvlanMode {
    /// Nobody to each other.
    Private,
    /// All through the switch outside, which must send frames back where they came from.
    Vepa,
    /// Each to each directly.
    Bridge,
    /// One child, which takes the parent over.
    Passthru,
    /// Only from listed sources.
    Source,
}

/// Which layer an ipvlan works on (`ip-link(8)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpvlanMode {
    /// As a switch.
    L2,
    /// As a router.
    L3,
    /// As a router that netfilter sees.
    L3s,
}

impl NewLink {
    /// A link that is down, with the kernel's defaults for everything else.
    pub const fn new(name: IfName, kind: NewLinkKind) -> Self {
        Self {
            name,
            kind,
            mac: None,
            mtu: None,
            controller: None,
            alias: None,
            arp_ignore: None,
            addr_gen_none: false,
            up: false,
        }
    }

    fn later(&self) -> LinkChange<'static> {
        later(self.alias.as_ref(), self.arp_ignore, self.addr_gen_none)
    }
}

impl PeerLink {
    /// An end that is down, with the kernel's defaults for everything else.
    pub const fn new(name: IfName) -> Self {
        Self { name, mac: None, mtu: None, alias: None, arp_ignore: None, addr_gen_none: false, up: false }
    }

    fn later(&self) -> LinkChange<'static> {
        later(self.alias.as_ref(), self.arp_ignore, self.addr_gen_none)
    }
}

impl Netlink {
    /// Makes a link: wholly, or not at all.
    ///
    /// A hardware address that another macvlan of the same parent has is refused when the link comes up
    /// ([`NetlinkError::addr_in_use`]). A name that is taken is [`NetlinkError::exists`].
    pub fn add_link(&mut self, link: &NewLink) -> Result<(), NetlinkError> {
        let peer = match &link.kind {
            NewLinkKind::Veth { peer } => Some(peer),
            _ => None,
        };
        let own = (&link.name, link.later(), link.up);
        let ends = [Some(own), peer.map(|peer| (&peer.name, peer.later(), peer.up))];
        // An end without anything to be told after the creation comes up with it.
        let at_once = |end: &(&IfName, LinkChange<'_>, bool)| end.2 && end.1.is_empty();
        let up_now = ends.each_ref().map(|end| end.as_ref().is_some_and(at_once));

        self.request(encode(link, up_now), || describe(link), |_| {})?;
        for (name, mut change, up) in ends.into_iter().flatten() {
            if change.is_empty() {
                continue;
            }
            change.up = up.then_some(true);
            if let Err(error) = self.set_link_by_name(name, &change) {
                // The first error is the one to tell; the link has no other user yet.
                if let Err(undo) = self.delete_link_by_name(&link.name) {
                    tracing::warn!(link = %link.name, error = %undo, "half-made link not removed");
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// What an end must be told once it exists.
fn later(alias: Option<&String>, arp_ignore: Option<u32>, addr_gen_none: bool) -> LinkChange<'static> {
    LinkChange { alias: alias.cloned(), arp_ignore, addr_gen_none, ..LinkChange::default() }
}

fn describe(link: &NewLink) -> String {
    let name = &link.name;
    match &link.kind {
        NewLinkKind::Veth { peer } => format!("create veth {name} with peer {}", peer.name),
        NewLinkKind::Macvlan { parent, .. } => format!("create macvlan {name} on link number {parent}"),
        NewLinkKind::Ipvlan { parent, .. } => format!("create ipvlan {name} on link number {parent}"),
        NewLinkKind::Vlan { parent, id } => format!("create VLAN {id} as {name} on link number {parent}"),
        NewLinkKind::Bridge => format!("create bridge {name}"),
        NewLinkKind::Dummy => format!("create dummy {name}"),
    }
}

fn encode(link: &NewLink, [up, peer_up]: [bool; 2]) -> Message {
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL | libc::NLM_F_ACK;
    let mut message = Message::new(libc::RTM_NEWLINK, flags, &up_header(up));
    put_end(&mut message, &link.name, link.mac, link.mtu);
    if let Some(controller) = link.controller {
        message.u32(libc::IFLA_MASTER, controller);
    }
    if let NewLinkKind::Macvlan { parent, .. }
    | NewLinkKind::Ipvlan { parent, .. }
    | NewLinkKind::Vlan { parent, .. } = link.kind
    {
        message.u32(libc::IFLA_LINK, parent);
    }
    message.nest(libc::IFLA_LINKINFO, |info| {
        info.text(libc::IFLA_INFO_KIND, link.kind.name());
        info.nest(libc::IFLA_INFO_DATA, |data| match &link.kind {
            NewLinkKind::Veth { peer } => {
                data.nest(VETH_INFO_PEER, |end| {
                    end.raw(&up_header(peer_up));
                    put_end(end, &peer.name, peer.mac, peer.mtu);
                });
            }
            NewLinkKind::Macvlan { mode, .. } => {
                data.u32(IFLA_MACVLAN_MODE, mode.number());
            }
            NewLinkKind::Ipvlan { mode, .. } => {
                data.u16(IFLA_IPVLAN_MODE, mode.number());
            }
            NewLinkKind::Vlan { id, .. } => {
                data.u16(IFLA_VLAN_ID, *id);
            }
            NewLinkKind::Bridge | NewLinkKind::Dummy => {}
        });
    });
    message
}

fn up_header(up: bool) -> [u8; 16] {
    let flag = if up { libc::IFF_UP.cast_unsigned() } else { 0 };
    ifinfo(0, flag, flag)
}

fn put_end(message: &mut Message, name: &IfName, mac: Option<Mac>, mtu: Option<u32>) {
    message.text(libc::IFLA_IFNAME, name.as_str());
    if let Some(mac) = mac {
        message.mac(libc::IFLA_ADDRESS, mac);
    }
    if let Some(mtu) = mtu {
        message.u32(libc::IFLA_MTU, mtu);
    }
}

impl NewLinkKind {
    const fn name(&self) -> &'static str {
        match self {
            Self::Veth { .. } => "veth",
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Vlan { .. } => "vlan",
            Self::Bridge => "bridge",
            Self::Dummy => "dummy",
        }
    }
}

impl MacvlanMode {
    /// `enum macvlan_mode` (`include/uapi/linux/if_link.h`): bits, of which one is set.
    const fn number(self) -> u32 {
        match self {
            Self::Private => 1,
            Self::Vepa => 2,
            Self::Bridge => 4,
            Self::Passthru => 8,
            Self::Source => 16,
        }
    }

    pub(super) fn read(number: u32) -> Option<Self> {
        [Self::Private, Self::Vepa, Self::Bridge, Self::Passthru, Self::Source]
            .into_iter()
            .find(|mode| mode.number() == number)
    }
}

impl IpvlanMode {
    /// `enum ipvlan_mode` (`include/uapi/linux/if_link.h`).
    const fn number(self) -> u16 {
        match self {
            Self::L2 => 0,
            Self::L3 => 1,
            Self::L3s => 2,
        }
    }

    pub(super) fn read(number: u16) -> Option<Self> {
        [Self::L2, Self::L3, Self::L3s].into_iter().find(|mode| mode.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attr::Messages;
    use crate::netlink::{Link, LinkKind};

    #[test]
    fn a_request_reads_as_the_link_it_asks_for() {
        let macvlan =
            |mode| (NewLinkKind::Macvlan { parent: 3, mode }, LinkKind::Macvlan { mode: Some(mode) });
        let ipvlan = |mode| (NewLinkKind::Ipvlan { parent: 3, mode }, LinkKind::Ipvlan { mode: Some(mode) });
        for (asked, got) in [
            macvlan(MacvlanMode::Private),
            macvlan(MacvlanMode::Vepa),
            macvlan(MacvlanMode::Bridge),
            macvlan(MacvlanMode::Passthru),
            macvlan(MacvlanMode::Source),
            ipvlan(IpvlanMode::L2),
            ipvlan(IpvlanMode::L3),
            ipvlan(IpvlanMode::L3s),
            (NewLinkKind::Vlan { parent: 3, id: 42 }, LinkKind::Vlan { id: 42 }),
        ] {
            let mut new = NewLink::new("x0".parse().unwrap(), asked);
            new.mac = Some(Mac::new([2, 0, 0, 0, 0, 1]));
            new.mtu = Some(1400);
            new.controller = Some(8);
            let bytes = encode(&new, [true, false]).finish(1).to_vec();
            let link = Link::read(&Messages(&bytes).next().unwrap()).unwrap();
            assert_eq!((link.name, link.mac, link.mtu), (new.name, new.mac, 1400));
            assert_eq!((link.kind, link.parent, link.controller, link.up), (got, Some(3), Some(8), true));
        }
    }
}
