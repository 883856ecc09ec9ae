//! IP addresses of links.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::attr::{Attrs, Message, Received, Value};
use super::error::NetlinkError;
use super::socket::Netlink;
use super::uapi::{IFA_PROTO, IFA_RT_PRIORITY};

/// Length of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;

/// An address of a link (`rtnetlink(7)`, `RTM_NEWADDR`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub index: u32,
    /// The address with the length of its network's prefix.
    pub net: IpNet,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// The IPv4 broadcast address, where one was set.
    pub broadcast: Option<Ipv4Addr>,
    /// The IPv4 label, usually the link's name.
    pub label: Option<String>,
    /// How far it is valid (`RT_SCOPE_*`): 0 everywhere, 253 on the link, 254 on the host.
    pub scope: u8,
    /// Who set it (`IFAPROT_*`): 0 unknown, 1 to 3 the kernel. Numbers above are free to use; kernels before
    /// 5.18 forget them.
    pub protocol: u8,
    /// Flags (`IFA_F_*`).
    pub flags: u32,
    /// The metric of the route to its network that the kernel adds, where one was set.
    pub metric: Option<u32>,
}

impl Address {
    /// An address with no end, valid everywhere.
    pub const fn new(index: u32, net: IpNet) -> Self {
        Self {
            index,
            net,
            peer: None,
            broadcast: None,
            label: None,
            scope: 0,
            protocol: 0,
            flags: 0,
            metric: None,
        }
    }

    /// Marks who set it.
    #[must_use]
    pub const fn protocol(mut self, number: u8) -> Self {
        self.protocol = number;
        self
    }

    /// Sets the IPv4 broadcast address.
    #[must_use]
    pub const fn broadcast(mut self, address: Ipv4Addr) -> Self {
        self.broadcast = Some(address);
        self
    }

    /// Without duplicate address detection (IPv6).
    #[must_use]
    pub const fn no_dad(mut self) -> Self {
        self.flags |= libc::IFA_F_NODAD;
        self
    }

    /// Without the route to its network that the kernel adds.
    #[must_use]
    pub const fn no_prefix_route(mut self) -> Self {
        self.flags |= libc::IFA_F_NOPREFIXROUTE;
        self
    }

    /// Whether the kernel made it up for privacy (RFC 8981) and will make another one where it should be.
    pub const fn is_temporary(&self) -> bool {
        // IPv4 has the same bit for addresses that are not the first of their network.
        matches!(self.net, IpNet::V6(_)) && self.flags & libc::IFA_F_TEMPORARY != 0
    }

    /// Whether the kernel adds the route to its network.
    pub const fn has_prefix_route(&self) -> bool {
        self.flags & libc::IFA_F_NOPREFIXROUTE == 0
    }

    /// Not to be used for anything new (IPv6): its preferred lifetime is over, and it has no end all the same.
    #[must_use]
    pub const fn deprecated(mut self) -> Self {
        self.flags |= libc::IFA_F_DEPRECATED;
        self
    }

    /// Whether it is not to be used for anything new (IPv6).
    pub const fn is_deprecated(&self) -> bool {
        self.flags & libc::IFA_F_DEPRECATED != 0
    }

    /// Whether IPv6's duplicate address detection has not ended yet.
    pub const fn is_tentative(&self) -> bool {
        self.flags & libc::IFA_F_TENTATIVE != 0
    }

    /// Whether duplicate address detection found another owner.
    pub const fn is_duplicate(&self) -> bool {
        self.flags & libc::IFA_F_DADFAILED != 0
    }

    /// Whether it has no end (`IFA_F_PERMANENT`).
    pub const fn is_permanent(&self) -> bool {
        self.flags & libc::IFA_F_PERMANENT != 0
    }

    /// Reads the body of an `RTM_NEWADDR` or `RTM_DELADDR`.
    pub(super) fn read(got: &Received<'_>) -> Option<Self> {
        if got.kind != libc::RTM_NEWADDR && got.kind != libc::RTM_DELADDR {
            return None;
        }
        let &[_, prefix, flags, scope, ref index @ ..] = got.body.first_chunk::<IFADDRMSG>()?;
        let (mut local, mut address) = (None, None);
        let mut read = Self {
            index: Value(index).u32()?,
            net: IpNet::from(IpAddr::from(Ipv4Addr::UNSPECIFIED)),
            peer: None,
            broadcast: None,
            label: None,
            scope,
            protocol: 0,
            flags: u32::from(flags),
            metric: None,
        };
        for (kind, value) in Attrs(got.body.get(IFADDRMSG..)?) {
            match kind {
                libc::IFA_LOCAL => local = value.ip(),
                libc::IFA_ADDRESS => address = value.ip(),
                libc::IFA_BROADCAST => {
                    read.broadcast = match value.ip() {
                        Some(IpAddr::V4(v4)) => Some(v4),
                        _ => None,
                    };
                }
                libc::IFA_LABEL => read.label = Some(value.text()),
                libc::IFA_FLAGS => read.flags = value.u32().unwrap_or(read.flags),
                IFA_PROTO => read.protocol = value.u8().unwrap_or(0),
                IFA_RT_PRIORITY => read.metric = value.u32(),
                _ => {}
            }
        }
        // IFA_ADDRESS is the other end where there is one, else the same as IFA_LOCAL, which IPv6 leaves out.
        let own = local.or(address)?;
        read.net = IpNet::new(own, prefix).ok()?;
        read.peer = address.filter(|address| *address != own);
        Some(read)
    }

    fn encode(&self, kind: u16, flags: i32) -> Message {
        let mut body = [0; IFADDRMSG];
        body[0] = family_of(self.net.addr());
        body[1] = self.net.prefix_len();
        body[3] = self.scope;
        body[4..].copy_from_slice(&self.index.to_ne_bytes());
        let mut message = Message::new(kind, flags | libc::NLM_F_ACK, &body);
        message.ip(libc::IFA_LOCAL, self.net.addr());
        message.ip(libc::IFA_ADDRESS, self.peer.unwrap_or(self.net.addr()));
        if let Some(broadcast) = self.broadcast {
            message.ip(libc::IFA_BROADCAST, broadcast.into());
        }
        if let Some(label) = &self.label {
            message.text(libc::IFA_LABEL, label);
        }
        if kind == libc::RTM_NEWADDR {
            message.u32(libc::IFA_FLAGS, self.flags);
            if self.is_deprecated() {
                // The kernel makes the flag of this: preferred for no time, valid for ever.
                message.bytes(libc::IFA_CACHEINFO, &cache_info(0, u32::MAX));
            }
            if self.protocol != 0 {
                message.u8(IFA_PROTO, self.protocol);
            }
            if let Some(metric) = self.metric {
                message.u32(IFA_RT_PRIORITY, metric);
            }
        }
        message
    }
}

/// `struct ifa_cacheinfo` with these lifetimes in seconds and the kernel's own times left out.
fn cache_info(preferred: u32, valid: u32) -> [u8; 16] {
    let mut info = [0; 16];
    info[..4].copy_from_slice(&preferred.to_ne_bytes());
    info[4..8].copy_from_slice(&valid.to_ne_bytes());
    info
}

impl Netlink {
    /// Lists what `read` makes of each entry of both address families; the family is the first octet of the request's `header`.
    pub(super) fn dump_families<T, const LENGTH: usize>(
        &mut self,
        kind: u16,
        mut header: [u8; LENGTH],
        asked: &str,
        read: impl Fn(&Received<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut all = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6].map(family_number) {
            if let Some(first) = header.first_mut() {
                *first = family;
            }
            let message = Message::new(kind, libc::NLM_F_DUMP, &header);
            // A kernel without this family answers with all families.
            let own = |got: Received<'_>| read(&got).filter(|_| got.body.first() == Some(&family));
            all.extend(self.dump(message, asked, own)?);
        }
        Ok(all)
    }

    /// All addresses of the namespace.
    pub fn addresses(&mut self) -> Result<Vec<Address>, NetlinkError> {
        self.dump_families(libc::RTM_GETADDR, [0; IFADDRMSG], "list addresses", Address::read)
    }

    /// Adds an address; [`NetlinkError::exists`] when the link has it.
    pub fn add_address(&mut self, address: &Address) -> Result<(), NetlinkError> {
        self.new_address(address, libc::NLM_F_CREATE | libc::NLM_F_EXCL, "add")
    }

    /// Adds an address, or updates the protocol, flags, lifetime and metric of the same address with the same prefix
    /// length. Another prefix length is another address.
    pub fn replace_address(&mut self, address: &Address) -> Result<(), NetlinkError> {
        self.new_address(address, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, "set")
    }

    fn new_address(&mut self, address: &Address, flags: i32, verb: &str) -> Result<(), NetlinkError> {
        let asked = || format!("{verb} address {} on link number {}", address.net, address.index);
        self.request(address.encode(libc::RTM_NEWADDR, flags), asked, |_| {})
    }

    /// Removes an address; false if neither it nor its link is there.
    ///
    /// With `promote_secondaries` off, the IPv4 addresses that came later in the same network go with it.
    pub fn delete_address(&mut self, address: &Address) -> Result<bool, NetlinkError> {
        let asked = || format!("delete address {} from link number {}", address.net, address.index);
        match self.request(address.encode(libc::RTM_DELADDR, 0), asked, |_| {}) {
            Err(error) if error.is(libc::EADDRNOTAVAIL) || error.gone() => Ok(false),
            result => result.map(|()| true),
        }
    }
}

pub(super) fn family_of(address: IpAddr) -> u8 {
    family_number(if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 })
}

pub(super) fn family_number(family: i32) -> u8 {
    u8::try_from(family).unwrap_or_default()
}
