//! Identities computed from a key that several hosts share, so that a container is the same one to the LAN on each of them.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use landline_dhcp::v6::Duid;
use landline_types::Mac;
use sha2::Sha256;

use crate::Ipv6Identity;

/// What the identities of one site are derived from: 32 secret octets.
///
/// As text it is 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct SiteKey([u8; 32]);

/// A text that is not a site key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a site key has 64 hexadecimal digits, as landline identity key prints it")]
pub struct SiteKeyError;

impl SiteKey {
    /// The key with these octets.
    pub const fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The key of one of several sites that share this key. Without a name it is this key itself.
    #[must_use]
    pub fn of_site(&self, name: &str) -> Self {
        if name.is_empty() { self.clone() } else { Self(self.mac(&["site", name])) }
    }

    /// Who a container is on a network, by the network's name and the container's key (`landline.id`, else its name).
    ///
    /// Everything comes from two HMAC-SHA256 (RFC 2104) with the site key. The message is `landline`, a word, the network and
    /// the key, each with its length in octets in front as a 64-bit big-endian number. With the word `link`: five octets of
    /// the hardware address after `02`, four of the IAID, sixteen of the DUID's UUID (version 8, RFC 9562 section 5.8).
    /// With the word `address`: the secret of RFC 7217.
    pub fn identity(&self, network: &str, key: &str) -> DerivedIdentity {
        let link = self.mac(&["link", network, key]);
        let [a, b, c, d, e, f, g, h, i, ..] = link;
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&link[9..25]);
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        DerivedIdentity {
            mac: Mac::new([2, a, b, c, d, e]),
            iaid: [f, g, h, i],
            duid: Duid::from_uuid(uuid),
            secret: self.mac(&["address", network, key]).to_vec(),
        }
    }

    fn mac(&self, parts: &[&str]) -> [u8; 32] {
        // HMAC takes keys of every length.
        let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!("a key of 32 octets")
        };
        for part in ["landline"].iter().chain(parts) {
            hmac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hmac.update(part.as_bytes());
        }
        hmac.finalize().into_bytes().into()
    }
}

impl fmt::Display for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for SiteKey {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SiteKey")
    }
}

impl FromStr for SiteKey {
    type Err = SiteKeyError;

    fn from_str(text: &str) -> Result<Self, SiteKeyError> {
        let (pairs, []) = text.trim().as_bytes().as_chunks::<2>() else { return Err(SiteKeyError) };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let octets = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
        let octets: Vec<u8> = octets.collect::<Option<_>>().ok_or(SiteKeyError)?;
        octets.try_into().map(Self).map_err(|_| SiteKeyError)
    }
}

/// Who a container is to DHCP servers and in IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedIdentity {
    /// The hardware address: locally administered, 40 bits of it derived.
    pub mac: Mac,
    /// The number of its association.
    pub iaid: [u8; 4],
    /// Who it is to `DHCPv6` servers.
    pub duid: Duid,
    /// What autoconfigured addresses are made of (RFC 7217).
    pub secret: Vec<u8>,
}

impl DerivedIdentity {
    /// Option 61 as both families use it: 255, the IAID, the DUID (RFC 4361 section 6.1).
    pub fn client_id(&self) -> Vec<u8> {
        [&[255], &self.iaid[..], self.duid.as_bytes()].concat()
    }

    /// Who it is in IPv6.
    pub fn ipv6(&self) -> Ipv6Identity {
        Ipv6Identity { duid: self.duid.clone(), iaid: self.iaid, secret: self.secret.clone(), state: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn the_vectors_of_the_documentation() {
        // Computed with Python's hmac module.
        let key: SiteKey =
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f".parse().unwrap();
        let web = key.identity("lan", "web");
        assert_eq!(web.mac.to_string(), "02:6f:c5:96:aa:38");
        assert_eq!(hex(&web.client_id()), "ffbb0342ab0004767c44012bfb85e393f14e2287f4649e");
        assert_eq!(hex(&web.secret), "e04e9dbfb7feeccddf55ff13bde57b13af33e0677974b2d97235f2323d50854b");
        assert_eq!(key.of_site("lab").identity("lan", "web").mac.to_string(), "02:0e:e4:0d:ed:c6");
    }

    #[test]
    fn a_thousand_names_have_a_thousand_identities() {
        let key = SiteKey::new([7; 32]);
        let all: BTreeSet<_> = (0..1000).map(|n| key.identity("lan", &format!("web{n}")).mac).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|mac| mac.octets()[0] == 2));
    }

    #[test]
    fn every_part_counts_and_none_runs_into_the_next() {
        let key = SiteKey::new([7; 32]);
        let mac = |network, name| key.identity(network, name).mac;
        assert_ne!(mac("lan", "web"), mac("lan2", "web"));
        assert_ne!(mac("lan", "web"), mac("la", "nweb"));
        assert_ne!(mac("lan", "web"), SiteKey::new([8; 32]).identity("lan", "web").mac);
        assert_ne!(mac("lan", "web"), key.of_site("home").identity("lan", "web").mac);
        assert_eq!(key.of_site(""), key);
    }

    #[test]
    fn both_families_have_one_duid() {
        let web = SiteKey::new([7; 32]).identity("lan", "web");
        let id = web.client_id();
        assert_eq!((id[0], &id[1..5], &id[5..]), (255, &web.iaid[..], web.duid.as_bytes()));
        assert_eq!((web.ipv6().duid, web.ipv6().iaid), (web.duid, web.iaid));
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = SiteKey::new(std::array::from_fn(|at| u8::try_from(at * 7).unwrap_or(0)));
        assert_eq!(format!("{key}\n").parse(), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "SiteKey", "a secret that reaches a log");
        for wrong in ["", "00", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(wrong.parse::<SiteKey>(), Err(SiteKeyError), "{wrong}");
        }
    }
}
