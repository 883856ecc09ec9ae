//! What a client gives to its caller.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddrV6};

use landline_types::Mac;

use crate::v6::state::State6;
use crate::wire::dhcpv6::{CLIENT_PORT, SERVER_PORT};
use crate::wire::ipv6::{self, Packet, multicast_mac};

/// Neighbour discovery stays on its link, and proves it by this.
pub(super) const HOP_LIMIT: u8 = 255;

/// A packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// An `ICMPv6` message.
    Icmp {
        /// To which hardware address.
        to: Mac,
        /// From which address; unspecified while there is none.
        src: Ipv6Addr,
        /// To which address.
        dst: Ipv6Addr,
        /// The message with its checksum. Its packet must have hop limit 255.
        payload: Vec<u8>,
    },
    /// A DHCPv6 message from the client's port to the servers' port, always to a group.
    Dhcp {
        /// From which (link-local) address.
        src: Ipv6Addr,
        /// To which address.
        dst: Ipv6Addr,
        /// The UDP payload.
        payload: Vec<u8>,
    },
}

impl Transmit {
    /// Where its frame goes.
    pub fn link_destination(&self) -> Mac {
        match self {
            Self::Icmp { to, .. } => *to,
            Self::Dhcp { dst, .. } => multicast_mac(*dst),
        }
    }

    /// The whole packet from the IPv6 header on, for a packet socket.
    pub fn to_packet(&self) -> Vec<u8> {
        match self {
            Self::Icmp { src, dst, payload, .. } => {
                let (hop_limit, next_header) = (HOP_LIMIT, ipv6::ICMP);
                Packet { src: *src, dst: *dst, hop_limit, next_header, payload }.emit()
            }
            Self::Dhcp { src, dst, payload } => {
                let from = SocketAddrV6::new(*src, CLIENT_PORT, 0, 0);
                ipv6::emit_udp(from, SocketAddrV6::new(*dst, SERVER_PORT, 0, 0), 64, payload)
            }
        }
    }
}

/// Something the caller has to act on or may want to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The link is to be set up with this from now on: what it has and is not here must go.
    Changed(State6),
    /// The setup is the same; what is to be kept for a restart has new times.
    Renewed(State6),
    /// An address must not be used any more, and why; [`Changed`](Self::Changed) without it follows.
    Lost {
        /// The address.
        address: Ipv6Addr,
        /// Why.
        reason: LossReason,
    },
    /// An address is taken ([`Config::taken`](crate::v6::Config::taken)): it is not used.
    Refused {
        /// The address.
        address: Ipv6Addr,
    },
    /// Somebody else uses an address, or is about to. If it was in use, [`Lost`](Self::Lost) follows.
    Conflict {
        /// The address.
        address: Ipv6Addr,
        /// The other's hardware address.
        by: Mac,
    },
}

/// Why an address was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossReason {
    /// Its time is over and nobody extended it.
    Expired,
    /// A server or the routers do not give it any more.
    Withdrawn,
    /// Another host uses it.
    Conflict,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "its lifetime is over and nobody extended it",
            Self::Withdrawn => "the network does not give it any more",
            Self::Conflict => "another host uses it",
        })
    }
}

/// What a client does about DHCPv6, by the names of RFC 9915 as far as it has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateName {
    /// Does nothing any more.
    Stopped,
    /// DHCPv6 is not wanted here, or nobody has said yet that it is.
    Off,
    /// Waits before it looks for servers.
    Init,
    /// Looks for servers.
    Soliciting,
    /// Asks for offered addresses.
    Requesting,
    /// Asks whether remembered addresses are of this link.
    Confirming,
    /// Has addresses.
    Bound,
    /// Asks the server for more time.
    Renewing,
    /// Asks all servers for more time.
    Rebinding,
    /// Tells the server that somebody else has an address.
    Declining,
    /// Gives its addresses back.
    Releasing,
    /// Asks for parameters only.
    Informing,
    /// Has parameters only.
    Informed,
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "STOPPED",
            Self::Off => "OFF",
            Self::Init => "INIT",
            Self::Soliciting => "SOLICITING",
            Self::Requesting => "REQUESTING",
            Self::Confirming => "CONFIRMING",
            Self::Bound => "BOUND",
            Self::Renewing => "RENEWING",
            Self::Rebinding => "REBINDING",
            Self::Declining => "DECLINING",
            Self::Releasing => "RELEASING",
            Self::Informing => "INFORMING",
            Self::Informed => "INFORMED",
        })
    }
}
