//! Changes to links that exist, and their removal.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use landline_types::{IfName, Mac};

use super::attr::Message;
use super::error::NetlinkError;
use super::link::ifinfo;
use super::socket::Netlink;
use super::uapi::{
    IFLA_INET_CONF, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE, IPV4_DEVCONF_ARP_ANNOUNCE,
    IPV4_DEVCONF_ARP_IGNORE, IPV4_DEVCONF_RP_FILTER,
};
use crate::netns::Netns;

/// What to change about a link; what is not mentioned stays as it is.
///
/// The kernel applies the parts of one request in its own order and stops at the first that fails, leaving
/// those before it done: first the move, then hardware address, MTU, name, alias, controller, flags.
#[derive(Debug, Clone, Default)]
pub struct LinkChange<'ns> {
    /// A new name.
    pub name: Option<IfName>,
    /// A new hardware address.
    pub mac: Option<Mac>,
    /// A new largest packet, in bytes.
    pub mtu: Option<u32>,
    /// On or off.
    pub up: Option<bool>,
    /// A port of this bridge (by index), or of none.
    pub controller: Option<Option<u32>>,
    /// A new free text; the empty one removes it.
    pub alias: Option<String>,
    /// Another namespace to live in. The link goes down; its addresses, routes and settings are forgotten.
    pub netns: Option<&'ns Netns>,
    /// Whether the kernel is kept from giving it an IPv6 link-local address (`addrgenmode none`).
    pub addr_gen_none: bool,
    /// The IPv4 setting `arp_ignore`; 8 answers no ARP request at all.
    pub arp_ignore: Option<u32>,
    /// The IPv4 setting `arp_announce`; 2 asks with the address that belongs on the link.
    pub arp_announce: Option<u32>,
    /// The IPv4 setting `rp_filter` of the link (RFC 3704): 0 off, 1 strict, 2 loose.
    pub rp_filter: Option<u32>,
    /// Whether it uses ARP at all (`ip link set … arp on|off`).
    pub arp: Option<bool>,
    /// Whether it takes all frames, whomever they are for.
    pub promiscuous: Option<bool>,
}

impl<'ns> LinkChange<'ns> {
    /// No change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Renames it.
    #[must_use]
    pub fn name(mut self, name: IfName) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets its hardware address.
    #[must_use]
    pub const fn mac(mut self, mac: Mac) -> Self {
        self.mac = Some(mac);
        self
    }

    /// Sets its largest packet, in bytes.
    #[must_use]
    pub const fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Switches it on.
    #[must_use]
    pub const fn up(mut self) -> Self {
        self.up = Some(true);
        self
    }

    /// Switches it off.
    #[must_use]
    pub const fn down(mut self) -> Self {
        self.up = Some(false);
        self
    }

    /// Makes it a port of the bridge of this index, or of none.
    #[must_use]
    pub const fn controller(mut self, index: Option<u32>) -> Self {
        self.controller = Some(index);
        self
    }

    /// Sets its free text.
    #[must_use]
    pub fn alias(mut self, text: impl Into<String>) -> Self {
        self.alias = Some(text.into());
        self
    }

    /// Moves it.
    #[must_use]
    pub const fn netns(mut self, ns: &'ns Netns) -> Self {
        self.netns = Some(ns);
        self
    }

    /// Keeps the kernel from giving it an IPv6 link-local address.
    #[must_use]
    pub const fn addr_gen_none(mut self) -> Self {
        self.addr_gen_none = true;
        self
    }

    /// Sets `arp_ignore`.
    #[must_use]
    pub const fn arp_ignore(mut self, value: u32) -> Self {
        self.arp_ignore = Some(value);
        self
    }

    /// Sets `arp_announce`.
    #[must_use]
    pub const fn arp_announce(mut self, value: u32) -> Self {
        self.arp_announce = Some(value);
        self
    }

    /// Sets `rp_filter`.
    #[must_use]
    pub const fn rp_filter(mut self, value: u32) -> Self {
        self.rp_filter = Some(value);
        self
    }

    /// Switches ARP on or off.
    #[must_use]
    pub const fn arp(mut self, on: bool) -> Self {
        self.arp = Some(on);
        self
    }

    /// Whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        self.name.is_none()
            && self.mac.is_none()
            && self.mtu.is_none()
            && self.up.is_none()
            && self.controller.is_none()
            && self.alias.is_none()
            && self.netns.is_none()
            && !self.has_protocol_settings()
            && self.arp.is_none()
            && self.promiscuous.is_none()
    }

    fn has_protocol_settings(&self) -> bool {
        self.addr_gen_none || self.inet_settings().next().is_some()
    }

    /// The IPv4 settings, by their numbers in `IFLA_INET_CONF`.
    fn inet_settings(&self) -> impl Iterator<Item = (u16, u32)> {
        [
            (IPV4_DEVCONF_ARP_IGNORE, self.arp_ignore),
            (IPV4_DEVCONF_ARP_ANNOUNCE, self.arp_announce),
            (IPV4_DEVCONF_RP_FILTER, self.rp_filter),
        ]
        .into_iter()
        .filter_map(|(number, value)| Some((number, value?)))
    }

    /// The request's flags and which of them count.
    fn flags(&self) -> (u32, u32) {
        let wanted = [
            (libc::IFF_UP, self.up),
            (libc::IFF_NOARP, self.arp.map(|on| !on)),
            (libc::IFF_PROMISC, self.promiscuous),
        ];
        wanted.into_iter().fold((0, 0), |(flags, change), (flag, on)| match on {
            None => (flags, change),
            Some(on) => {
                let flag = flag.cast_unsigned();
                (if on { flags | flag } else { flags }, change | flag)
            }
        })
    }

    fn encode(&self, target: Target<'_>) -> Message {
        let (flags, change) = self.flags();
        let index = if let Target::Index(index) = target { index } else { 0 };
        let mut message = Message::new(libc::RTM_SETLINK, libc::NLM_F_ACK, &ifinfo(index, flags, change));
        match (target, &self.name) {
            (Target::Name(name), _) | (Target::Index(_), Some(name)) => {
                message.text(libc::IFLA_IFNAME, name.as_str())
            }
            (Target::Index(_), None) => &mut message,
        };
        if let Some(mac) = self.mac {
            message.mac(libc::IFLA_ADDRESS, mac);
        }
        if let Some(mtu) = self.mtu {
            message.u32(libc::IFLA_MTU, mtu);
        }
        if let Some(controller) = self.controller {
            message.u32(libc::IFLA_MASTER, controller.unwrap_or(0));
        }
        if let Some(alias) = &self.alias {
            message.text(libc::IFLA_IFALIAS, alias);
        }
        if let Some(ns) = self.netns {
            message.u32(libc::IFLA_NET_NS_FD, ns.as_fd().as_raw_fd().cast_unsigned());
        }
        if self.has_protocol_settings() {
            message.nest(libc::IFLA_AF_SPEC, |families| {
                if self.inet_settings().next().is_some() {
                    families.nest(family(libc::AF_INET), |inet| {
                        inet.nest(IFLA_INET_CONF, |conf| {
                            for (number, value) in self.inet_settings() {
                                conf.u32(number, value);
                            }
                        });
                    });
                }
                if self.addr_gen_none {
                    families.nest(family(libc::AF_INET6), |inet6| {
                        inet6.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
                    });
                }
            });
        }
        message
    }

    fn describe(&self, target: Target<'_>) -> String {
        let link = match target {
            Target::Index(index) => format!("link number {index}"),
            Target::Name(name) => format!("link {name}"),
        };
        let mut verbs = Vec::new();
        let mut say = |happens: bool, verb: &str| {
            if happens {
                verbs.push(verb.to_owned());
            }
        };
        say(self.netns.is_some(), "move to another namespace");
        say(self.mac.is_some(), "set hardware address");
        say(self.mtu.is_some(), "set MTU");
        say(self.name.is_some(), "rename");
        say(self.alias.is_some(), "set alias");
        say(self.controller.is_some(), "set controller");
        say(self.arp_ignore.is_some(), "set arp_ignore");
        say(self.arp_announce.is_some(), "set arp_announce");
        say(self.rp_filter.is_some(), "set rp_filter");
        say(self.addr_gen_none, "set addrgenmode");
        say(self.arp.is_some() || self.promiscuous.is_some(), "set flags");
        say(self.up == Some(true), "bring up");
        say(self.up == Some(false), "take down");
        format!("change {link} ({})", verbs.join(", "))
    }
}

/// Which link a request is about.
#[derive(Clone, Copy)]
enum Target<'a> {
    Index(u32),
    Name(&'a IfName),
}

impl Netlink {
    /// Changes a link, in one request where the kernel's order allows: it brings a link up before it looks at
    /// `arp_ignore` and `addrgenmode`, so a change that has both takes two, and cannot include a move.
    ///
    /// IPv6 settings are skipped where the kernel has IPv6 switched off.
    pub fn set_link(&mut self, index: u32, change: &LinkChange<'_>) -> Result<(), NetlinkError> {
        self.change(Target::Index(index), change)
    }

    /// As [`Self::set_link`], for a link that was just made and whose index is not known yet.
    pub(super) fn set_link_by_name(
        &mut self,
        name: &IfName,
        change: &LinkChange<'_>,
    ) -> Result<(), NetlinkError> {
        self.change(Target::Name(name), change)
    }

    fn change(&mut self, target: Target<'_>, change: &LinkChange<'_>) -> Result<(), NetlinkError> {
        if change.is_empty() {
            return Ok(());
        }
        if !(change.has_protocol_settings() && change.up == Some(true)) {
            return self.change_once(target, change);
        }
        if change.netns.is_some() {
            // After the first request this socket could no longer reach the link.
            let cause = io::Error::new(
                io::ErrorKind::InvalidInput,
                "settings that come before bringing up cannot go with a move",
            );
            return Err(NetlinkError::new(change.describe(target), cause));
        }
        let before = LinkChange { up: None, ..change.clone() };
        self.change_once(target, &before)?;
        self.change_once(target, &LinkChange::new().up())
    }

    fn change_once(&mut self, target: Target<'_>, change: &LinkChange<'_>) -> Result<(), NetlinkError> {
        let result = self.request(change.encode(target), || change.describe(target), |_| {});
        match result {
            // Checked before anything is changed: no IPv6 in this kernel, hence no link-local address either.
            Err(error) if error.is(libc::EAFNOSUPPORT) && change.addr_gen_none => {
                let rest = LinkChange { addr_gen_none: false, ..change.clone() };
                if rest.is_empty() { Ok(()) } else { self.change_once(target, &rest) }
            }
            result => result,
        }
    }

    /// Removes a link, and with it the other end of a veth pair; false if there is none of this index.
    ///
    /// When this returns the link is gone: a successor may have its name and hardware address.
    pub fn delete_link(&mut self, index: u32) -> Result<bool, NetlinkError> {
        let message = Message::new(libc::RTM_DELLINK, libc::NLM_F_ACK, &ifinfo(index, 0, 0));
        match self.request(message, || format!("delete link number {index}"), |_| {}) {
            Err(error) if error.gone() => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// As [`Self::delete_link`], for a link that was just made.
    pub(super) fn delete_link_by_name(&mut self, name: &IfName) -> Result<(), NetlinkError> {
        let mut message = Message::new(libc::RTM_DELLINK, libc::NLM_F_ACK, &ifinfo(0, 0, 0));
        message.text(libc::IFLA_IFNAME, name.as_str());
        self.request(message, || format!("delete link {name}"), |_| {})
    }
}

/// Address family numbers are attribute numbers here.
fn family(number: i32) -> u16 {
    u16::try_from(number).unwrap_or_default()
}
