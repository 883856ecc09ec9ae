//! Neighbours: which hardware address an IP address on a link has.

use std::net::IpAddr;

use landline_types::Mac;

use super::address::family_of;
use super::attr::{Attrs, Message, Received, Value};
use super::error::NetlinkError;
use super::socket::Netlink;
use super::uapi::NDA_PROTOCOL;

/// Length of `struct ndmsg`.
const NDMSG: usize = 12;

/// An entry of the ARP or neighbour discovery table (`rtnetlink(7)`, `RTM_NEWNEIGH`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Index of the link.
    pub index: u32,
    /// The IP address.
    pub address: IpAddr,
    /// Its hardware address, once known.
    pub mac: Option<Mac>,
    /// What the kernel thinks of it.
    pub state: NeighbourState,
    /// Whether this host answers for the address instead of its owner (`NTF_PROXY`).
    pub proxy: bool,
    /// Who set it (`RTPROT_*`); 0 unknown.
    pub protocol: u8,
}

/// What the kernel thinks of a neighbour (`NUD_*`, RFC 4861 section 7.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NeighbourState {
    /// Nothing yet, or a proxy entry.
    None,
    /// Asked for, no answer yet.
    Incomplete,
    /// Known and confirmed lately.
    Reachable,
    /// Known, to be confirmed when used.
    Stale,
    /// Used, to be confirmed in a moment.
    Delay,
    /// Being confirmed.
    Probe,
    /// Did not answer.
    Failed,
    /// Needs no resolution.
    NoArp,
    /// Set by hand, never forgotten.
    Permanent,
    /// Several of these, or one younger than this program.
    Other(u16),
}

impl Neighbour {
    /// An entry that is never asked for and never forgotten.
    pub const fn permanent(index: u32, address: IpAddr, mac: Mac) -> Self {
        Self { index, address, mac: Some(mac), state: NeighbourState::Permanent, proxy: false, protocol: 0 }
    }

    /// An address this host answers for on that link.
    pub const fn proxy(index: u32, address: IpAddr) -> Self {
        Self { index, address, mac: None, state: NeighbourState::None, proxy: true, protocol: 0 }
    }

    /// Marks who set it.
    #[must_use]
    pub const fn protocol(mut self, number: u8) -> Self {
        self.protocol = number;
        self
    }

    /// Reads the body of an `RTM_NEWNEIGH` or `RTM_DELNEIGH`; `None` for a bridge's forwarding entries.
    pub(super) fn read(got: &Received<'_>) -> Option<Self> {
        if got.kind != libc::RTM_NEWNEIGH && got.kind != libc::RTM_DELNEIGH {
            return None;
        }
        let body = got.body.first_chunk::<NDMSG>()?;
        if !matches!(i32::from(body[0]), libc::AF_INET | libc::AF_INET6) {
            return None;
        }
        let (mut address, mut mac, mut protocol) = (None, None, 0);
        for (kind, value) in Attrs(&got.body[NDMSG..]) {
            match kind {
                libc::NDA_DST => address = value.ip(),
                libc::NDA_LLADDR => mac = value.mac(),
                NDA_PROTOCOL => protocol = value.u8().unwrap_or(0),
                _ => {}
            }
        }
        Some(Self {
            index: Value(&body[4..]).u32()?,
            address: address?,
            mac,
            state: NeighbourState::from_number(Value(&body[8..]).u16()?),
            proxy: body[10] & libc::NTF_PROXY != 0,
            protocol,
        })
    }

    fn encode(&self, kind: u16, flags: i32) -> Message {
        let mut body = [0; NDMSG];
        body[0] = family_of(self.address);
        body[4..8].copy_from_slice(&self.index.to_ne_bytes());
        body[8..10].copy_from_slice(&self.state.number().to_ne_bytes());
        body[10] = if self.proxy { libc::NTF_PROXY } else { 0 };
        let mut message = Message::new(kind, flags | libc::NLM_F_ACK, &body);
        message.ip(libc::NDA_DST, self.address);
        if kind == libc::RTM_NEWNEIGH {
            if let Some(mac) = self.mac {
                message.mac(libc::NDA_LLADDR, mac);
            }
            if self.protocol != 0 {
                message.u8(NDA_PROTOCOL, self.protocol);
            }
        }
        message
    }
}

impl Netlink {
    /// All neighbours of the namespace, without proxy entries.
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>, NetlinkError> {
        self.list_neighbours(0)
    }

    /// All addresses this host answers for instead of their owners.
    pub fn proxy_neighbours(&mut self) -> Result<Vec<Neighbour>, NetlinkError> {
        self.list_neighbours(libc::NTF_PROXY)
    }

    fn list_neighbours(&mut self, flags: u8) -> Result<Vec<Neighbour>, NetlinkError> {
        let mut body = [0; NDMSG];
        body[10] = flags;
        self.dump_families(libc::RTM_GETNEIGH, body, "list neighbours", Neighbour::read)
    }

    /// Adds an entry; [`NetlinkError::exists`] when the address has one, proxy entries excepted.
    pub fn add_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), NetlinkError> {
        self.new_neighbour(neighbour, libc::NLM_F_CREATE | libc::NLM_F_EXCL, "add")
    }

    /// Adds an entry or puts it in the place of the one there is.
    pub fn replace_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), NetlinkError> {
        self.new_neighbour(neighbour, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, "set")
    }

    fn new_neighbour(&mut self, neighbour: &Neighbour, flags: i32, verb: &str) -> Result<(), NetlinkError> {
        let asked = || format!("{verb} neighbour {} on link number {}", neighbour.address, neighbour.index);
        self.request(neighbour.encode(libc::RTM_NEWNEIGH, flags), asked, |_| {})
    }

    /// Removes the entry of this address (and of this sort, proxy or not); false if there is none.
    pub fn delete_neighbour(&mut self, neighbour: &Neighbour) -> Result<bool, NetlinkError> {
        let asked = || format!("delete neighbour {} on link number {}", neighbour.address, neighbour.index);
        match self.request(neighbour.encode(libc::RTM_DELNEIGH, 0), asked, |_| {}) {
            Err(error) if error.gone() => Ok(false),
            result => result.map(|()| true),
        }
    }
}

impl NeighbourState {
    const fn number(self) -> u16 {
        match self {
            Self::None => libc::NUD_NONE,
            Self::Incomplete => libc::NUD_INCOMPLETE,
            Self::Reachable => libc::NUD_REACHABLE,
            Self::Stale => libc::NUD_STALE,
            Self::Delay => libc::NUD_DELAY,
            Self::Probe => libc::NUD_PROBE,
            Self::Failed => libc::NUD_FAILED,
            Self::NoArp => libc::NUD_NOARP,
            Self::Permanent => libc::NUD_PERMANENT,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u16) -> Self {
        match number {
            libc::NUD_NONE => Self::None,
            libc::NUD_INCOMPLETE => Self::Incomplete,
            libc::NUD_REACHABLE => Self::Reachable,
            libc::NUD_STALE => Self::Stale,
            libc::NUD_DELAY => Self::Delay,
            libc::NUD_PROBE => Self::Probe,
            libc::NUD_FAILED => Self::Failed,
            libc::NUD_NOARP => Self::NoArp,
            libc::NUD_PERMANENT => Self::Permanent,
            other => Self::Other(other),
        }
    }
}
