//! ARP for IPv4 over Ethernet (RFC 826), and its probes and announcements (RFC 5227).

use std::net::Ipv4Addr;

use landline_types::Mac;

use super::field;

/// Octets of an ARP packet for IPv4 over Ethernet, without the link header.
pub const LEN: usize = 28;

/// Hardware type Ethernet, protocol type IPv4, their address lengths.
const PREAMBLE: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// What an ARP packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// "Who has `target_ip`?" Announcements are requests too.
    Request,
    /// "`sender_ip` is at `sender_mac`."
    Reply,
}

/// An ARP packet, without the link header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Request or reply.
    pub op: Operation,
    /// Who sent it.
    pub sender_mac: Mac,
    /// The address the sender uses; unspecified in a probe.
    pub sender_ip: Ipv4Addr,
    /// Whom it is for; zero in a request.
    pub target_mac: Mac,
    /// The address it is about.
    pub target_ip: Ipv4Addr,
}

impl Packet {
    /// Reads a packet that starts at the ARP header; what follows it (padding) is ignored. `None` if it is not ARP
    /// for IPv4 over Ethernet, or neither request nor reply.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let packet: &[u8; LEN] = bytes.first_chunk()?;
        if packet[..6] != PREAMBLE {
            return None;
        }
        let op = match field::u16(packet, 6)? {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return None,
        };
        Some(Self {
            op,
            sender_mac: Mac::new(field::octets(packet, 8)?),
            sender_ip: field::ipv4(packet, 14)?,
            target_mac: Mac::new(field::octets(packet, 18)?),
            target_ip: field::ipv4(packet, 24)?,
        })
    }

    /// The packet's octets.
    pub fn emit(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..6].copy_from_slice(&PREAMBLE);
        out[7] = match self.op {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        out[8..14].copy_from_slice(&self.sender_mac.octets());
        out[14..18].copy_from_slice(&self.sender_ip.octets());
        out[18..24].copy_from_slice(&self.target_mac.octets());
        out[24..28].copy_from_slice(&self.target_ip.octets());
        out
    }

    /// "Does anybody use `address`?" The sender claims nothing, so no cache changes (RFC 5227 section 2.1.1).
    pub fn probe(from: Mac, address: Ipv4Addr) -> Self {
        Self {
            op: Operation::Request,
            sender_mac: from,
            sender_ip: Ipv4Addr::UNSPECIFIED,
            target_mac: Mac::new([0; 6]),
            target_ip: address,
        }
    }

    /// "`address` is at `from`", to everybody (RFC 5227 section 2.3).
    pub fn announcement(from: Mac, address: Ipv4Addr) -> Self {
        Self { sender_ip: address, ..Self::probe(from, address) }
    }

    /// Whether this asks if anybody uses an address, without claiming it.
    pub fn is_probe(&self) -> bool {
        self.op == Operation::Request && self.sender_ip.is_unspecified()
    }
}

/// An ARP packet and the frame it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heard {
    /// What it says.
    pub packet: Packet,
    /// The source of its frame.
    pub frame_source: Mac,
    /// Whether its frame was for all stations.
    pub to_all: bool,
}

impl Heard {
    /// Whether a machine other than `own` says with this that it uses `address` (RFC 5227 sections 2.1.1 and 2.4).
    pub fn claims(&self, address: Ipv4Addr, own: Mac) -> bool {
        self.is_of_another(own) && self.packet.sender_ip == address
    }

    /// Whether a machine other than `own` is about to use `address` and probes for it (RFC 5227 section 2.1.1).
    ///
    /// An ARP Probe is broadcast (section 1.1), and whoever is about to use an address sends it in a frame of its own.
    /// Switches and monitors ask with the sender 0.0.0.0 as well, whether a host that they know is still there: in a
    /// frame to that host, or with a hardware address that is not the frame's.
    pub fn competes(&self, address: Ipv4Addr, own: Mac) -> bool {
        let own_frame = self.frame_source == self.packet.sender_mac;
        let probe = self.packet.is_probe() && self.packet.target_ip == address;
        self.is_of_another(own) && probe && self.to_all && own_frame
    }

    /// Our own packets come back on some links, also with another sender inside.
    fn is_of_another(&self, own: Mac) -> bool {
        let sender = self.packet.sender_mac;
        sender != own && !sender.is_zero() && self.frame_source != own
    }
}

/// In a frame of its sender's to all stations.
impl From<Packet> for Heard {
    fn from(packet: Packet) -> Self {
        Self { packet, frame_source: packet.sender_mac, to_all: true }
    }
}

impl From<&Packet> for Heard {
    fn from(packet: &Packet) -> Self {
        (*packet).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

    #[test]
    fn a_probe_on_the_wire() {
        let bytes =
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0x42, 0xc0, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 10];
        assert_eq!(Packet::probe(MAC, ADDRESS).emit(), bytes);
        assert!(Packet::parse(&bytes).is_some_and(|p| p.is_probe()));
        assert!(!Packet::announcement(MAC, ADDRESS).is_probe());
    }

    #[test]
    fn only_requests_and_replies_for_ipv4_over_ethernet() {
        let good = Packet::announcement(MAC, ADDRESS).emit();
        assert!(Packet::parse(&good).is_some());
        assert_eq!(Packet::parse(&good[..27]), None);
        for (at, value) in [(1, 6), (2, 9), (4, 8), (5, 16), (7, 3)] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Packet::parse(&bad), None, "octet {at}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(reply: bool, macs: [[u8; 6]; 2], ips: [[u8; 4]; 2], padding in 0..32_usize) {
            let packet = Packet {
                op: if reply { Operation::Reply } else { Operation::Request },
                sender_mac: Mac::new(macs[0]),
                sender_ip: ips[0].into(),
                target_mac: Mac::new(macs[1]),
                target_ip: ips[1].into(),
            };
            let mut bytes = packet.emit().to_vec();
            bytes.resize(LEN + padding, 0);
            prop_assert_eq!(Packet::parse(&bytes), Some(packet));
        }

        #[test]
        fn any_bytes_are_fine(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Packet::parse(&bytes);
        }
    }
}
