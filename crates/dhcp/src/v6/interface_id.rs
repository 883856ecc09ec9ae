//! The lower halves of addresses.

use std::fmt;
use std::net::Ipv6Addr;

use landline_types::Mac;
use sha2::{Digest as _, Sha256};

/// How interface identifiers are made.
#[derive(Clone, PartialEq, Eq)]
pub enum InterfaceId {
    /// Of the hardware address (RFC 4291 appendix A): the same on every network, and known to who knows the MAC.
    Eui64,
    /// Of a secret (RFC 7217): the same for the same prefix, another for another, and nothing to be learned from
    /// them. In case of a conflict there is a next one.
    Stable {
        /// Known to this host alone, at least 16 octets.
        secret: Vec<u8>,
        /// Which interface this is (`Net_Iface`): whatever stays the same for as long as the address is to stay.
        interface: Vec<u8>,
        /// Which network this is (`Network_ID`); may be empty.
        network: Vec<u8>,
    },
}

impl fmt::Debug for InterfaceId {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eui64 => f.write_str("Eui64"),
            Self::Stable { interface, network, .. } => f
                .debug_struct("Stable")
                .field("interface", interface)
                .field("network", network)
                .finish_non_exhaustive(),
        }
    }
}

impl InterfaceId {
    /// The address in the /64 that begins with this prefix, after so many conflicts. EUI-64 knows no other.
    pub(super) fn address(&self, mac: Mac, prefix: Ipv6Addr, conflicts: u8) -> Ipv6Addr {
        let id = match self {
            Self::Eui64 => eui64(mac),
            Self::Stable { secret, interface, network } => {
                // Reserved identifiers are passed over as if they were in conflict; one in 2^40 is.
                let candidates = (0..u16::MAX).map(|skip| {
                    stable(secret, interface, network, prefix, u32::from(conflicts) << 16 | u32::from(skip))
                });
                candidates.into_iter().find(|id| !is_reserved(*id)).unwrap_or(1)
            }
        };
        Ipv6Addr::from(u128::from(prefix) >> 64 << 64 | u128::from(id))
    }

    /// Whether a conflict leads to another address.
    pub(super) fn has_next(&self) -> bool {
        matches!(self, Self::Stable { .. })
    }
}

fn eui64(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.octets();
    u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The lowest 64 bits of a hash over everything, each part with its length so that parts cannot run into each other.
fn stable(secret: &[u8], interface: &[u8], network: &[u8], prefix: Ipv6Addr, counter: u32) -> u64 {
    let mut message = Vec::new();
    let high = &prefix.octets()[..8];
    for part in [high, interface, network, &counter.to_be_bytes(), secret] {
        message.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        message.extend_from_slice(part);
    }
    let hash: [u8; 32] = Sha256::digest(&message).into();
    let [.., a, b, c, d, e, f, g, h] = hash;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Identifiers that no host has: the routers' anycast address, IANA's Ethernet block, and subnet anycast (RFC 5453).
fn is_reserved(id: u64) -> bool {
    id == 0 || id >> 24 == 0x02_005e_fffe || (0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff).contains(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);
    const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0);

    fn stable_id(secret: u8, interface: &[u8], network: &[u8]) -> InterfaceId {
        InterfaceId::Stable {
            secret: vec![secret; 32],
            interface: interface.to_vec(),
            network: network.to_vec(),
        }
    }

    #[test]
    fn of_the_hardware_address() {
        let address = InterfaceId::Eui64.address(MAC, PREFIX, 0);
        assert_eq!(address.to_string(), "2001:db8:0:1:42:c0ff:fe00:20a");
        assert_eq!(InterfaceId::Eui64.address(MAC, PREFIX, 3), address);
    }

    #[test]
    fn of_a_secret() {
        let make = |id: InterfaceId, prefix, conflicts| id.address(MAC, prefix, conflicts);
        let first = make(stable_id(1, b"web", b"lan"), PREFIX, 0);
        assert_eq!(first, make(stable_id(1, b"web", b"lan"), PREFIX, 0));
        // Kept for ever: containers keep their addresses over an upgrade.
        assert_eq!(first.to_string(), "2001:db8:0:1:69ae:63de:4bfd:8211");
        let elsewhere = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 0);
        let others = [
            make(stable_id(2, b"web", b"lan"), PREFIX, 0),
            make(stable_id(1, b"db", b"lan"), PREFIX, 0),
            make(stable_id(1, b"web", b"dmz"), PREFIX, 0),
            make(stable_id(1, b"webl", b"an"), PREFIX, 0),
            make(stable_id(1, b"web", b"lan"), PREFIX, 1),
            make(stable_id(1, b"web", b"lan"), elsewhere, 0),
        ];
        let low = |address: Ipv6Addr| address.octets()[8..].to_vec();
        assert!(others.iter().all(|&other| low(other) != low(first)));
        assert_eq!(others[5].octets()[..8], elsewhere.octets()[..8]);
    }

    #[test]
    fn reserved_identifiers() {
        for id in
            [0, 0x0200_5eff_fe00_0000, 0x0200_5eff_feff_ffff, 0xfdff_ffff_ffff_ff80, 0xfdff_ffff_ffff_ffff]
        {
            assert!(is_reserved(id), "{id:x}");
        }
        for id in [1, 0x0200_5eff_ff00_0000, 0xfdff_ffff_ffff_ff7f, 0xfe00_0000_0000_0000] {
            assert!(!is_reserved(id), "{id:x}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert!(!format!("{:?}", stable_id(77, b"web", b"lan")).contains("77"));
    }
}
