//! IPv6 (RFC 8200) as packet sockets see it, from the IPv6 header on, with UDP (RFC 768) in it; and how its groups are
//! addressed on Ethernet.

use std::net::{Ipv6Addr, SocketAddrV6};

use landline_types::Mac;

use super::udp::Check;
use super::{checksum, field};

const HEADER: usize = 40;
const UDP_HEADER: usize = 8;

/// Next header: UDP.
pub const UDP: u8 = 17;
/// Next header: `ICMPv6`.
pub const ICMP: u8 = 58;

/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// All DHCPv6 servers and relay agents on the link.
pub const ALL_DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// The group in which the holder of an address hears who looks for it (RFC 4291 section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet group of an IPv6 group (RFC 2464 section 7). For an address that is no group the result means nothing.
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac::new([0x33, 0x33, a, b, c, d])
}

/// A packet without extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// From where.
    pub src: Ipv6Addr,
    /// To where.
    pub dst: Ipv6Addr,
    /// Routers it may still pass. 255 proves that it passed none, which neighbour discovery demands.
    pub hop_limit: u8,
    /// What it carries: [`UDP`], [`ICMP`] and so on.
    pub next_header: u8,
    /// That.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet that starts at its IPv6 header. What follows the length the header tells (link padding) is
    /// ignored. `None` if it is not a whole IPv6 packet. Extension headers are not followed: their number is the
    /// packet's `next_header`, so that nobody takes what is behind them for something it need not be (RFC 6980 forbids
    /// the fragment header for neighbour discovery, and no other is of use there).
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.first()? >> 4 != 6 {
            return None;
        }
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let payload = rest.get(..usize::from(field::u16(header, 4)?))?;
        Some(Self {
            src: field::octets::<16>(header, 8)?.into(),
            dst: field::octets::<16>(header, 24)?.into(),
            hop_limit: header[7],
            next_header: header[6],
            payload,
        })
    }

    /// The packet's octets. A payload over 65 535 octets is cut.
    pub fn emit(&self) -> Vec<u8> {
        let len = u16::try_from(self.payload.len()).unwrap_or(u16::MAX);
        let mut out = vec![0; HEADER];
        out[0] = 0x60;
        out[4..6].copy_from_slice(&len.to_be_bytes());
        out[6] = self.next_header;
        out[7] = self.hop_limit;
        out[8..24].copy_from_slice(&self.src.octets());
        out[24..40].copy_from_slice(&self.dst.octets());
        out.extend_from_slice(&self.payload[..usize::from(len)]);
        out
    }
}

/// A UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// From which port.
    pub src_port: u16,
    /// To which port.
    pub dst_port: u16,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// The datagram in a packet. `None` if it carries something else, or not a whole datagram, or the checksum, which
    /// IPv6 demands, is wrong.
    pub fn parse(packet: &Packet<'a>, check: Check) -> Option<Self> {
        if packet.next_header != UDP {
            return None;
        }
        let segment = packet.payload.get(..usize::from(field::u16(packet.payload, 4)?))?;
        let (header, payload) = segment.split_first_chunk::<UDP_HEADER>()?;
        let (sum, told) = (checksum::ipv6(packet.src, packet.dst, UDP, segment), field::u16(header, 6)?);
        if check == Check::Verify && (sum != 0 || told == 0) {
            return None;
        }
        Some(Self { src_port: field::u16(header, 0)?, dst_port: field::u16(header, 2)?, payload })
    }
}

/// An IPv6 packet with a UDP datagram, checksum filled in. A payload that does not fit one packet (over 65 527 octets)
/// is cut. Flow label and scope of the addresses are not part of a packet and do not matter.
pub fn emit_udp(src: SocketAddrV6, dst: SocketAddrV6, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(usize::from(u16::MAX) - UDP_HEADER)];
    // Fits: the payload was cut to what is left of 65 535.
    let len = u16::try_from(UDP_HEADER + payload.len()).unwrap_or(u16::MAX);
    let mut segment = Vec::with_capacity(usize::from(len));
    segment.extend(src.port().to_be_bytes());
    segment.extend(dst.port().to_be_bytes());
    segment.extend(len.to_be_bytes());
    segment.extend([0, 0]);
    segment.extend_from_slice(payload);
    let sum = match checksum::ipv6(*src.ip(), *dst.ip(), UDP, &segment) {
        0 => 0xffff, // zero would say "no checksum"
        sum => sum,
    };
    segment[6..8].copy_from_slice(&sum.to_be_bytes());
    Packet { src: *src.ip(), dst: *dst.ip(), hop_limit, next_header: UDP, payload: &segment }.emit()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn socket(last: u16, port: u16) -> SocketAddrV6 {
        SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last), port, 0, 0)
    }

    fn parse_udp(bytes: &[u8], check: Check) -> Option<Datagram<'_>> {
        Packet::parse(bytes).and_then(|packet| Datagram::parse(&packet, check))
    }

    #[test]
    fn groups() {
        let address: Ipv6Addr = "fe80::42:c0ff:fe00:20a".parse().expect("an address");
        assert_eq!(solicited_node(address), "ff02::1:ff00:20a".parse::<Ipv6Addr>().expect("an address"));
        assert_eq!(multicast_mac(solicited_node(address)).to_string(), "33:33:ff:00:02:0a");
        assert_eq!(multicast_mac(ALL_DHCP_SERVERS).to_string(), "33:33:00:01:00:02");
    }

    #[test]
    fn a_datagram_on_the_wire() {
        let bytes = emit_udp(socket(1, 547), socket(10, 546), 64, b"reply");
        assert_eq!(&bytes[..8], &[0x60, 0, 0, 0, 0, 13, 17, 64]);
        assert_eq!(&bytes[40..46], &[2, 0x23, 2, 0x22, 0, 13]);
        let parsed = parse_udp(&bytes, Check::Verify);
        assert_eq!(parsed, Some(Datagram { src_port: 547, dst_port: 546, payload: b"reply" }));
        let mut padded = bytes.clone();
        padded.extend([0; 9]);
        assert_eq!(parse_udp(&padded, Check::Verify), parsed);
    }

    #[test]
    fn a_damaged_octet_is_noticed() {
        let good = emit_udp(socket(1, 547), socket(10, 546), 64, b"reply");
        // Traffic class, flow label and hop limit are nobody's business here.
        for at in (0..good.len()).filter(|at| !(1..4).contains(at) && *at != 7) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(parse_udp(&bad, Check::Verify), None, "octet {at}");
        }
    }

    #[test]
    fn an_unfinished_checksum_is_accepted_when_told() {
        let mut bytes = emit_udp(socket(1, 547), socket(10, 546), 64, b"reply");
        bytes[46..48].fill(0);
        assert_eq!(parse_udp(&bytes, Check::Verify), None, "IPv6 wants one");
        assert!(parse_udp(&bytes, Check::Skip).is_some());
    }

    #[test]
    fn what_is_cut_or_something_else() {
        let good = emit_udp(socket(1, 547), socket(10, 546), 64, b"reply");
        for len in 0..good.len() {
            assert_eq!(Packet::parse(&good[..len]), None, "{len} octets");
        }
        for (at, value, why) in [
            (0, 0x45, "version"),
            (6, 44, "a fragment"),
            (45, 7, "UDP shorter than its header"),
            (45, 14, "longer"),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(parse_udp(&bad, Check::Skip), None, "{why}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(a: u16, b: u16, ports: [u16; 2], payload in prop::collection::vec(any::<u8>(), 0..1500)) {
            let bytes = emit_udp(socket(a, ports[0]), socket(b, ports[1]), 1, &payload);
            let datagram = Datagram { src_port: ports[0], dst_port: ports[1], payload: &payload };
            prop_assert_eq!(parse_udp(&bytes, Check::Verify), Some(datagram));
        }

        #[test]
        fn any_bytes_are_fine(mut bytes in prop::collection::vec(any::<u8>(), 0..128), plausible: bool) {
            if plausible && bytes.len() > 6 {
                bytes[0] = 0x60;
                bytes[4] = 0;
                bytes[6] = UDP;
            }
            let _ = parse_udp(&bytes, Check::Verify);
            let _ = parse_udp(&bytes, Check::Skip);
        }
    }
}
