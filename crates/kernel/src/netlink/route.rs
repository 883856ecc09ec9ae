//! Routes, read and written.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::address::{family_number, family_of};
use super::attr::{Attrs, Message, Received, Value};
use super::error::NetlinkError;
use super::socket::Netlink;
use super::uapi::{RTA_VIA, RTAX_MTU, RTM_F_CLONED, RTNH_F_ONLINK};

/// Length of `struct rtmsg`.
const RTMSG: usize = 12;
/// Length of `struct rtnexthop`.
const RTNEXTHOP: usize = 8;

/// A route (`rtnetlink(7)`, `RTM_NEWROUTE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to; `0.0.0.0/0` and `::/0` are the default routes.
    pub destination: IpNet,
    /// What happens to a packet that takes it.
    pub kind: RouteKind,
    /// The next router; of the first of several next hops.
    pub gateway: Option<IpAddr>,
    /// Index of the link it leaves through; of the first of several next hops.
    pub oif: Option<u32>,
    /// Whether it has several next hops. Such a route is only read, never written.
    pub multipath: bool,
    /// The table it is in: 254 is the main one, 255 the local one.
    pub table: u32,
    /// Who set it (`RTPROT_*`): 2 the kernel, 3 boot scripts, 4 an administrator, 16 a DHCP client.
    pub protocol: u8,
    /// How far the destination is (`RT_SCOPE_*`): 0 anywhere, 253 on the link, 254 here. IPv4 only.
    pub scope: u8,
    /// The metric: the lowest wins. IPv6 has 1024 for none.
    pub priority: Option<u32>,
    /// The source address packets get unless they have one.
    pub source: Option<IpAddr>,
    /// Whether the gateway is taken to be on the link whatever the addresses say.
    pub onlink: bool,
    /// Largest packet on this route, in bytes.
    pub mtu: Option<u32>,
}

/// What happens to a packet that takes a route (`RTN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// It is sent on.
    Unicast,
    /// It is for this host.
    Local,
    /// It is for everybody on the link.
    Broadcast,
    /// It is for a group.
    Multicast,
    /// It is for the nearest of a group (IPv6).
    Anycast,
    /// It is dropped.
    Blackhole,
    /// It is refused with "host unreachable".
    Unreachable,
    /// It is refused with "administratively prohibited".
    Prohibit,
    /// Anything else.
    Other(u8),
}

impl Route {
    /// The main table.
    pub const MAIN_TABLE: u32 = 254;
    /// The table that the kernel keeps for itself (`RT_TABLE_LOCAL`).
    pub const LOCAL_TABLE: u32 = 255;
    /// The protocol of routes that the kernel sets, as with an address (`RTPROT_KERNEL`).
    pub const BY_KERNEL: u8 = libc::RTPROT_KERNEL;
    /// That of routes by router advertisements (`RTPROT_RA`).
    pub const BY_ROUTERS: u8 = 9;
    /// That of routes by DHCP clients (`RTPROT_DHCP`).
    pub const BY_DHCP: u8 = 16;

    /// A route through a router, set by an administrator.
    pub const fn via(destination: IpNet, gateway: IpAddr) -> Self {
        Self {
            destination,
            kind: RouteKind::Unicast,
            gateway: Some(gateway),
            oif: None,
            multipath: false,
            table: Self::MAIN_TABLE,
            protocol: libc::RTPROT_STATIC,
            scope: libc::RT_SCOPE_UNIVERSE,
            priority: None,
            source: None,
            onlink: false,
            mtu: None,
        }
    }

    /// A route straight through a link, set by an administrator.
    pub const fn on_link(destination: IpNet, oif: u32) -> Self {
        let scope = match destination {
            IpNet::V4(_) => libc::RT_SCOPE_LINK,
            IpNet::V6(_) => libc::RT_SCOPE_UNIVERSE,
        };
        let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self { gateway: None, oif: Some(oif), scope, ..Self::via(destination, anywhere) }
    }

    /// Leaves through the link of this index.
    #[must_use]
    pub const fn oif(mut self, index: u32) -> Self {
        self.oif = Some(index);
        self
    }

    /// Marks who set it.
    #[must_use]
    pub const fn protocol(mut self, number: u8) -> Self {
        self.protocol = number;
        self
    }

    /// Sets the metric.
    #[must_use]
    pub const fn priority(mut self, metric: u32) -> Self {
        self.priority = Some(metric);
        self
    }

    /// Sets the preferred source address.
    #[must_use]
    pub const fn source(mut self, address: IpAddr) -> Self {
        self.source = Some(address);
        self
    }

    /// Puts it in another table.
    #[must_use]
    pub const fn table(mut self, number: u32) -> Self {
        self.table = number;
        self
    }

    /// Takes the gateway to be on the link.
    #[must_use]
    pub const fn onlink(mut self) -> Self {
        self.onlink = true;
        self
    }

    /// Whether this is a default route.
    pub fn is_default(&self) -> bool {
        self.destination.prefix_len() == 0 && self.kind == RouteKind::Unicast
    }

    /// Reads the body of an `RTM_NEWROUTE` or `RTM_DELROUTE`; `None` for what is not an IP route, or one the
    /// kernel only remembers a decision in.
    pub(super) fn read(got: &Received<'_>) -> Option<Self> {
        if got.kind != libc::RTM_NEWROUTE && got.kind != libc::RTM_DELROUTE {
            return None;
        }
        let &[family, prefix, _, _, table, protocol, scope, kind, ref flags @ ..] =
            got.body.first_chunk::<RTMSG>()?;
        let flags = Value(flags).u32()?;
        let anywhere: IpAddr = match i32::from(family) {
            libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
            libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        if flags & RTM_F_CLONED != 0 {
            return None;
        }
        let mut destination = anywhere;
        let mut route = Self {
            kind: RouteKind::from_number(kind),
            gateway: None,
            table: u32::from(table),
            protocol,
            scope,
            onlink: flags & RTNH_F_ONLINK != 0,
            ..Self::via(IpNet::from(anywhere), anywhere)
        };
        for (kind, value) in Attrs(got.body.get(RTMSG..)?) {
            match kind {
                libc::RTA_DST => destination = value.ip()?,
                libc::RTA_TABLE => route.table = value.u32().unwrap_or(route.table),
                libc::RTA_PRIORITY => route.priority = value.u32(),
                libc::RTA_PREFSRC => route.source = value.ip(),
                libc::RTA_METRICS => route.mtu = mtu(value),
                libc::RTA_MULTIPATH => route.read_hops(value),
                _ => route.read_hop(kind, value),
            }
        }
        route.destination = IpNet::new(destination, prefix).ok()?;
        Some(route)
    }

    fn read_hop(&mut self, kind: u16, value: Value<'_>) {
        match kind {
            libc::RTA_GATEWAY => self.gateway = value.ip(),
            libc::RTA_OIF => self.oif = value.u32(),
            // struct rtvia: a gateway of the other family.
            RTA_VIA => self.gateway = value.0.get(2..).and_then(|address| Value(address).ip()),
            _ => {}
        }
    }

    /// Reads the first of several next hops: `struct rtnexthop` and its attributes.
    fn read_hops(&mut self, value: Value<'_>) {
        self.multipath = true;
        let Some(length) = Value(value.0).u16().map(usize::from) else { return };
        let Some(hop) = value.0.get(..length).filter(|hop| hop.len() >= RTNEXTHOP) else { return };
        self.onlink = u32::from(hop[2]) & RTNH_F_ONLINK != 0;
        self.oif = Value(&hop[4..]).u32();
        for (kind, value) in Attrs(&hop[RTNEXTHOP..]) {
            self.read_hop(kind, value);
        }
    }

    fn encode(&self, kind: u16, flags: i32) -> Message {
        let mut body = [0; RTMSG];
        body[0] = family_of(self.destination.addr());
        body[1] = self.destination.prefix_len();
        // A table number that does not fit goes into the attribute only; 0 is "unspecified".
        body[4] = u8::try_from(self.table).unwrap_or(0);
        body[5] = self.protocol;
        body[6] = self.scope;
        body[7] = self.kind.number();
        let hop_flags = if self.onlink { RTNH_F_ONLINK } else { 0 };
        body[8..].copy_from_slice(&hop_flags.to_ne_bytes());
        let mut message = Message::new(kind, flags | libc::NLM_F_ACK, &body);
        if self.destination.prefix_len() != 0 {
            message.ip(libc::RTA_DST, self.destination.network());
        }
        message.u32(libc::RTA_TABLE, self.table);
        match (self.gateway, self.destination) {
            (Some(IpAddr::V6(gateway)), IpNet::V4(_)) => {
                let mut via = [0; 18];
                via[..2].copy_from_slice(&u16::from(family_number(libc::AF_INET6)).to_ne_bytes());
                via[2..].copy_from_slice(&gateway.octets());
                message.bytes(RTA_VIA, &via);
            }
            (Some(gateway), _) => {
                message.ip(libc::RTA_GATEWAY, gateway);
            }
            (None, _) => {}
        }
        if let Some(oif) = self.oif {
            message.u32(libc::RTA_OIF, oif);
        }
        if let Some(priority) = self.priority {
            message.u32(libc::RTA_PRIORITY, priority);
        }
        if let Some(source) = self.source {
            message.ip(libc::RTA_PREFSRC, source);
        }
        if let Some(mtu) = self.mtu {
            message.nest(libc::RTA_METRICS, |metrics| {
                metrics.u32(RTAX_MTU, mtu);
            });
        }
        message
    }
}

fn mtu(metrics: Value<'_>) -> Option<u32> {
    metrics.attrs().find(|(kind, _)| *kind == RTAX_MTU)?.1.u32()
}

impl Netlink {
    /// All routes of the namespace in all tables, those the kernel keeps for itself included.
    pub fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        self.dump_families(libc::RTM_GETROUTE, [0; RTMSG], "list routes", Route::read)
    }

    /// Adds a route; [`NetlinkError::exists`] when there is one to the same destination with the same metric.
    pub fn add_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        let asked = || format!("add route {route}");
        self.request(route.encode(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL), asked, |_| {})
    }

    /// Adds a route, in place of the one to the same destination with the same metric if there is one,
    /// whoever set that.
    pub fn replace_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        let asked = || format!("set route {route}");
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        self.request(route.encode(libc::RTM_NEWROUTE, flags), asked, |_| {})
    }

    /// Adds a route beside those to the same destination with the same metric, after them; [`NetlinkError::exists`] when
    /// one of them is the same in all.
    pub fn append_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        let asked = || format!("append route {route}");
        let flags = libc::NLM_F_CREATE | libc::NLM_F_APPEND;
        self.request(route.encode(libc::RTM_NEWROUTE, flags), asked, |_| {})
    }

    /// Removes a route that is as described, protocol included; false if there is none.
    pub fn delete_route(&mut self, route: &Route) -> Result<bool, NetlinkError> {
        let asked = || format!("delete route {route}");
        match self.request(route.encode(libc::RTM_DELROUTE, 0), asked, |_| {}) {
            Err(error) if error.is(libc::ESRCH) || error.gone() => Ok(false),
            result => result.map(|()| true),
        }
    }
}

impl fmt::Display for Route {
    /// As `ip route` would write it, with the index for the link's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(oif) = self.oif {
            write!(f, " on link number {oif}")?;
        }
        if let Some(metric) = self.priority {
            write!(f, " metric {metric}")?;
        }
        if self.table != Self::MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}

impl RouteKind {
    const fn number(self) -> u8 {
        match self {
            Self::Unicast => libc::RTN_UNICAST,
            Self::Local => libc::RTN_LOCAL,
            Self::Broadcast => libc::RTN_BROADCAST,
            Self::Multicast => libc::RTN_MULTICAST,
            Self::Anycast => libc::RTN_ANYCAST,
            Self::Blackhole => libc::RTN_BLACKHOLE,
            Self::Unreachable => libc::RTN_UNREACHABLE,
            Self::Prohibit => libc::RTN_PROHIBIT,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            libc::RTN_UNICAST => Self::Unicast,
            libc::RTN_LOCAL => Self::Local,
            libc::RTN_BROADCAST => Self::Broadcast,
            libc::RTN_MULTICAST => Self::Multicast,
            libc::RTN_ANYCAST => Self::Anycast,
            libc::RTN_BLACKHOLE => Self::Blackhole,
            libc::RTN_UNREACHABLE => Self::Unreachable,
            libc::RTN_PROHIBIT => Self::Prohibit,
            other => Self::Other(other),
        }
    }
}
