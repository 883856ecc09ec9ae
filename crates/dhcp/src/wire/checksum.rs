//! The Internet checksum (RFC 1071) over IPv6's pseudo header (RFC 8200 section 8.1).

use std::net::Ipv6Addr;

/// What the checksum field of an upper-layer packet is to hold, given the packet with zero there. Of a packet whose
/// field is filled in right this gives zero.
pub(super) fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8, packet: &[u8]) -> u16 {
    let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    let start = sum(sum(0, &src.octets()), &dst.octets()) + u64::from(len) + u64::from(next_header);
    !fold(sum(start, packet))
}

/// Adds big-endian 16-bit words, the last padded with zero.
fn sum(start: u64, bytes: &[u8]) -> u64 {
    let (words, last) = bytes.as_chunks::<2>();
    let total = words.iter().fold(start, |sum, word| sum + u64::from(u16::from_be_bytes(*word)));
    total + last.first().map_or(0, |&octet| u64::from(octet) << 8)
}

/// One's complement: carries go back in.
fn fold(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return folded,
            Err(_) => sum = (sum >> 16) + (sum & 0xffff),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_until_nothing_is_carried() {
        // 2001:db8::1 sums to 0x2dba, 1 + 1 for the other address and length, 0xfffe for the words: by hand.
        let (src, dst) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), Ipv6Addr::LOCALHOST);
        assert_eq!(fold(0x2001 + 0xdb8 + 1), 0x2dba);
        assert_eq!(ipv6(src, dst, 58, &[]), !(0x2dba + 1 + 58));
        assert_eq!(ipv6(src, dst, 58, &[0xff]), !fold(0x2dba + 1 + 58 + 1 + 0xff00), "odd length");
        assert_eq!(fold(0x1_fffe), 0xffff);
        assert_eq!(fold(u64::from(u32::MAX) << 16), 0xffff);
    }
}
