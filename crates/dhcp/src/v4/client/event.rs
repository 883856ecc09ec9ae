//! What a client gives to its caller.

use std::fmt;
use std::net::Ipv4Addr;

use landline_types::Mac;

use crate::v4::lease::Lease;
use crate::wire::arp;

/// A packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// A DHCP message from the client's port to the servers' port. To 255.255.255.255 it goes to everybody on the
    /// link (by a packet socket: there may be no address yet); otherwise the way any datagram from `src` goes.
    Dhcp {
        /// From which address; unspecified while there is none.
        src: Ipv4Addr,
        /// To which address.
        dst: Ipv4Addr,
        /// The UDP payload.
        payload: Vec<u8>,
    },
    /// An ARP packet to everybody on the link.
    Arp(arp::Packet),
}

/// Why the last answer of a server that could not be used could not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It has no server identifier (option 54), without which nobody can be asked for the address.
    Anonymous {
        /// Where it came from.
        from: Ipv4Addr,
    },
    /// Another server acknowledges than was asked.
    Stranger {
        /// Who was asked.
        asked: Ipv4Addr,
        /// The server identifier of the acknowledgement.
        said: Ipv4Addr,
    },
    /// The server is not among those that are listened to.
    NotAllowed {
        /// The server.
        server: Ipv4Addr,
    },
    /// No host can have the address, or the lease is for no time.
    NoAddress {
        /// The server.
        server: Ipv4Addr,
        /// The address.
        address: Ipv4Addr,
    },
}

/// Something the caller has to act on or may want to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// This lease is to be configured. If there was another address it is not the client's any more: this one
    /// replaces it.
    Bound(Lease),
    /// The address is the same, with new times and perhaps other parameters.
    Renewed(Lease),
    /// The address must not be used any more.
    Lost {
        /// The address.
        address: Ipv4Addr,
        /// Why.
        reason: LossReason,
    },
    /// A server granted an address that is taken ([`Config::taken`](crate::v4::Config::taken)). It was declined; if it
    /// was in use, [`Lost`](Self::Lost) follows.
    Refused {
        /// The address.
        address: Ipv4Addr,
        /// The server's identifier.
        server: Ipv4Addr,
    },
    /// Somebody else uses the address, or is about to. If it is given up because of that, and it was in use,
    /// [`Lost`](Self::Lost) follows; otherwise it was defended.
    Conflict {
        /// The address.
        address: Ipv4Addr,
        /// The other's hardware address.
        by: Mac,
    },
}

/// Why an address was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossReason {
    /// Its lease is over and no server extended it.
    Expired,
    /// A server refused it.
    Nak,
    /// Another host uses it.
    Conflict,
    /// It is taken on this host.
    Taken,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the lease is over and no server extended it",
            Self::Nak => "the server refused it",
            Self::Conflict => "another host uses it",
            Self::Taken => "this host or another container has it",
        })
    }
}

/// The states of a client, by the names of RFC 2131 figure 5 where it has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateName {
    /// Does nothing.
    Stopped,
    /// Waits before it looks for servers.
    Init,
    /// Looks for servers.
    Selecting,
    /// Asks for an offered address.
    Requesting,
    /// Asks for a remembered address.
    Rebooting,
    /// Has been granted an address and looks whether somebody uses it.
    Checking,
    /// Has an address.
    Bound,
    /// Asks the server for more time.
    Renewing,
    /// Asks all servers for more time.
    Rebinding,
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "STOPPED",
            Self::Init => "INIT",
            Self::Selecting => "SELECTING",
            Self::Requesting => "REQUESTING",
            Self::Rebooting => "REBOOTING",
            Self::Checking => "CHECKING",
            Self::Bound => "BOUND",
            Self::Renewing => "RENEWING",
            Self::Rebinding => "REBINDING",
        })
    }
}
