//! What a message says about an address, told from the message and from the frame that it came in.

use std::net::Ipv6Addr;

use landline_types::Mac;

use crate::wire::icmpv6::Message;

/// A message of neighbour discovery, and where it came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard<'a> {
    /// The source of its frame.
    pub(super) frame_source: Mac,
    /// The source of its packet.
    pub(super) src: Ipv6Addr,
    pub(super) message: &'a Message,
}

/// What another machine wants with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It has the address.
    Has,
    /// It is about to use the address, and asks whether anybody has it.
    Wants,
}

impl Heard<'_> {
    /// Which address this is about, what its sender wants with that, and the sender's hardware address. `None` for
    /// messages of `own`, and for those of machines that only look for the address's holder.
    ///
    /// A link may bring back what was sent over it (RFC 7527). What comes in a frame of our own is ours, whatever it
    /// says. A probe (RFC 4862 section 5.4.3) names nobody, so its frame does.
    ///
    /// Unlike in ARP, the frame of a probe need not be for all: RFC 6085 lets a packet to a group come in a frame to one
    /// station, and wireless networks do that.
    pub(super) fn claim(&self, own: Mac) -> Option<(Ipv6Addr, Claim, Mac)> {
        if self.frame_source == own {
            return None;
        }
        match *self.message {
            Message::NeighbourSolicitation { target, .. } if self.src.is_unspecified() => {
                Some((target, Claim::Wants, self.frame_source))
            }
            Message::NeighbourAdvertisement { target, target_mac, .. } if target_mac != Some(own) => {
                Some((target, Claim::Has, target_mac.unwrap_or(self.frame_source)))
            }
            _ => None,
        }
    }
}
