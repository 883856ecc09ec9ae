//! Big-endian fields of a packet.

use std::net::Ipv4Addr;

/// `N` octets at `at`, if they are there.
pub(crate) fn octets<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A 16-bit number at `at`.
pub(crate) fn u16(bytes: &[u8], at: usize) -> Option<u16> {
    octets(bytes, at).map(u16::from_be_bytes)
}

/// A 32-bit number at `at`.
pub(crate) fn u32(bytes: &[u8], at: usize) -> Option<u32> {
    octets(bytes, at).map(u32::from_be_bytes)
}

/// An IPv4 address at `at`.
pub(crate) fn ipv4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    octets::<4>(bytes, at).map(Ipv4Addr::from)
}
