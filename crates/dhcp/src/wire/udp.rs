//! UDP over IPv4 (RFC 791, RFC 768), as packet sockets see it: from the IPv4 header on.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::field;

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const PROTOCOL_UDP: u8 = 17;
/// Don't fragment. The client's messages fit any link IPv4 runs on.
const DONT_FRAGMENT: u16 = 0x4000;
/// More fragments, or a fragment offset.
const FRAGMENT: u16 = 0x3fff;
const TTL: u8 = 64;

/// Whether the UDP checksum is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// A datagram with a wrong checksum is dropped; one without is fine.
    Verify,
    /// The kernel said that nobody has filled it in yet (`TP_STATUS_CSUMNOTREADY`: the datagram never left this
    /// machine, and the device would have done it).
    Skip,
}

/// A UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// From where.
    pub src: SocketAddrV4,
    /// To where.
    pub dst: SocketAddrV4,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Reads a packet that starts at its IPv4 header. What follows the length the header tells (link padding) is
/// ignored. `None` if it is not a whole, unfragmented UDP datagram with a right header checksum.
pub fn parse(packet: &[u8], check: Check) -> Option<Datagram<'_>> {
    let first = *packet.first()?;
    let header_len = usize::from(first & 0x0f) * 4;
    let total_len = usize::from(field::u16(packet, 2)?);
    if first >> 4 != 4 || header_len < IP_HEADER {
        return None;
    }
    let packet = packet.get(..total_len)?;
    let (header, body) = packet.split_at_checked(header_len)?;
    if header[9] != PROTOCOL_UDP || field::u16(header, 6)? & FRAGMENT != 0 || fold(sum(0, header)) != 0xffff {
        return None;
    }
    let (src_ip, dst_ip) = (field::ipv4(header, 12)?, field::ipv4(header, 16)?);
    let udp_len = field::u16(body, 4)?;
    let segment = body.get(..usize::from(udp_len))?;
    let payload = segment.get(UDP_HEADER..)?;
    let has_checksum = field::u16(segment, 6)? != 0;
    if check == Check::Verify && has_checksum && fold(sum(pseudo(src_ip, dst_ip, udp_len), segment)) != 0xffff
    {
        return None;
    }
    Some(Datagram {
        src: SocketAddrV4::new(src_ip, field::u16(segment, 0)?),
        dst: SocketAddrV4::new(dst_ip, field::u16(segment, 2)?),
        payload,
    })
}

/// An IPv4 packet with a UDP datagram: both checksums filled in, TTL 64, not to be fragmented. A payload that does
/// not fit one packet (over 65 507 octets) is cut.
pub fn emit(src: SocketAddrV4, dst: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(usize::from(u16::MAX) - IP_HEADER - UDP_HEADER)];
    // Fits: the payload was cut to what is left of 65 535.
    let udp_len = u16::try_from(UDP_HEADER + payload.len()).unwrap_or(u16::MAX);
    let total_len = u16::try_from(IP_HEADER + UDP_HEADER + payload.len()).unwrap_or(u16::MAX);

    let mut out = vec![0; IP_HEADER + UDP_HEADER];
    out[0] = 0x45;
    out[2..4].copy_from_slice(&total_len.to_be_bytes());
    out[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
    out[8] = TTL;
    out[9] = PROTOCOL_UDP;
    out[12..16].copy_from_slice(&src.ip().octets());
    out[16..20].copy_from_slice(&dst.ip().octets());
    let checksum = !fold(sum(0, &out[..IP_HEADER]));
    out[10..12].copy_from_slice(&checksum.to_be_bytes());

    out[20..22].copy_from_slice(&src.port().to_be_bytes());
    out[22..24].copy_from_slice(&dst.port().to_be_bytes());
    out[24..26].copy_from_slice(&udp_len.to_be_bytes());
    out.extend_from_slice(payload);
    let checksum = match !fold(sum(pseudo(*src.ip(), *dst.ip(), udp_len), &out[IP_HEADER..])) {
        0 => 0xffff, // zero would say "no checksum"
        sum => sum,
    };
    out[26..28].copy_from_slice(&checksum.to_be_bytes());
    out
}

/// The sum over the pseudo header.
fn pseudo(src: Ipv4Addr, dst: Ipv4Addr, udp_len: u16) -> u32 {
    let start = sum(sum(0, &src.octets()), &dst.octets());
    start + u32::from(PROTOCOL_UDP) + u32::from(udp_len)
}

/// Adds big-endian 16-bit words, the last padded with zero. 64 KiB of them cannot overflow 32 bits.
fn sum(start: u32, bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(2);
    let total = words.by_ref().fold(start, |sum, w| sum + u32::from(u16::from_be_bytes([w[0], w[1]])));
    total + words.remainder().first().map_or(0, |&last| u32::from(last) << 8)
}

/// One's complement: carries go back in. Two rounds are enough for 32 bits.
fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    u16::try_from(sum & 0xffff).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn socket(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), port)
    }

    fn sample() -> Vec<u8> {
        emit(socket(1, 67), socket(10, 68), b"offer")
    }

    #[test]
    fn a_datagram_on_the_wire() {
        // Checksums by hand: IP words sum to 0x49d1 + carries, UDP over the pseudo header likewise.
        let bytes = sample();
        assert_eq!(&bytes[..10], &[0x45, 0, 0, 33, 0, 0, 0x40, 0, 64, 17]);
        assert_eq!(&bytes[20..26], &[0, 67, 0, 68, 0, 13]);
        assert_eq!(fold(sum(0, &bytes[..20])), 0xffff);
        let parsed = parse(&bytes, Check::Verify);
        assert_eq!(parsed, Some(Datagram { src: socket(1, 67), dst: socket(10, 68), payload: b"offer" }));
    }

    #[test]
    fn known_checksum() {
        // The worked example of an IPv4 header in many textbooks: 4500 0073 0000 4000 4011 [b861] c0a8 0001 c0a8 00c7.
        let header =
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(!fold(sum(0, &header)), 0xb861);
    }

    #[test]
    fn a_damaged_octet_is_noticed() {
        let good = sample();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(parse(&bad, Check::Verify), None, "octet {at}");
        }
    }

    #[test]
    fn an_unfinished_udp_checksum_is_accepted_when_told() {
        let mut bytes = sample();
        bytes[26] ^= 0xff;
        assert_eq!(parse(&bytes, Check::Verify), None);
        assert!(parse(&bytes, Check::Skip).is_some());
        bytes[26..28].fill(0);
        assert!(parse(&bytes, Check::Verify).is_some(), "none at all");
    }

    fn with_header(change: impl Fn(&mut Vec<u8>)) -> Option<Vec<u8>> {
        let mut bytes = sample();
        change(&mut bytes);
        bytes[10..12].fill(0);
        let header_len = usize::from(bytes[0] & 15) * 4;
        let checksum = !fold(sum(0, bytes.get(..header_len)?));
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        parse(&bytes, Check::Skip).map(|d| d.payload.to_vec())
    }

    #[test]
    fn header_cases() {
        assert_eq!(with_header(|_| ()).as_deref(), Some(&b"offer"[..]));
        assert_eq!(with_header(|b| b.extend([0; 20])).as_deref(), Some(&b"offer"[..]), "padding");
        assert_eq!(with_header(|b| b[6] = 0x20), None, "more fragments");
        assert_eq!(with_header(|b| b[7] = 1), None, "a later fragment");
        assert_eq!(with_header(|b| b[9] = 6), None, "TCP");
        assert_eq!(with_header(|b| b[0] = 0x44), None, "short header");
        assert_eq!(with_header(|b| b[0] = 0x65), None, "version 6");
        assert_eq!(with_header(|b| b[3] = 34), None, "longer than what came");
        assert_eq!(with_header(|b| b[3] = 27), None, "no room for UDP");
        assert_eq!(with_header(|b| b[25] = 7), None, "UDP length below its header");
        assert_eq!(with_header(|b| b[25] = 14), None, "UDP length beyond the packet");
        let options = with_header(|b| {
            b[0] = 0x46;
            b[3] += 4;
            b.splice(20..20, [1, 1, 1, 0]);
        });
        assert_eq!(options.as_deref(), Some(&b"offer"[..]), "IP options");
    }

    proptest! {
        #[test]
        fn round_trips(a: u8, b: u8, ports: [u16; 2], payload in prop::collection::vec(any::<u8>(), 0..1500)) {
            let (src, dst) = (socket(a, ports[0]), socket(b, ports[1]));
            let bytes = emit(src, dst, &payload);
            prop_assert_eq!(parse(&bytes, Check::Verify), Some(Datagram { src, dst, payload: &payload }));
        }

        #[test]
        fn any_bytes_are_fine(mut bytes in prop::collection::vec(any::<u8>(), 0..128), plausible: bool) {
            if plausible && bytes.len() > 9 {
                bytes[0] = 0x45;
                bytes[9] = PROTOCOL_UDP;
            }
            let _ = parse(&bytes, Check::Verify);
            let _ = parse(&bytes, Check::Skip);
        }
    }
}
