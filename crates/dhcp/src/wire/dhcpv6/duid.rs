//! DHCP unique identifiers (RFC 9915 section 11).

use std::fmt;

use landline_types::Mac;
use serde::{Deserialize, Serialize};

/// Type: link-layer address (RFC 9915 section 11.4).
const LINK_LAYER: u16 = 3;
/// Type: UUID (RFC 6355).
const UUID: u16 = 4;
/// Hardware type Ethernet.
const ETHERNET: u16 = 1;

/// What a server tells clients apart by, and a client servers: the type and what it says, 3 to 130 octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Duid(Vec<u8>);

/// Why some octets are no DUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a DUID is 3 to 130 octets with its type, this one would be {0}")]
pub struct DuidError(usize);

impl Duid {
    /// The DUID with these octets, of which the first two are the type.
    pub fn new(octets: impl Into<Vec<u8>>) -> Result<Self, DuidError> {
        let octets = octets.into();
        match octets.len() {
            3..=130 => Ok(Self(octets)),
            len => Err(DuidError(len)),
        }
    }

    /// The DUID of a hardware address that stays (DUID-LL).
    pub fn from_mac(mac: Mac) -> Self {
        Self([&LINK_LAYER.to_be_bytes()[..], &ETHERNET.to_be_bytes(), &mac.octets()].concat())
    }

    /// The DUID of a UUID (DUID-UUID), for what has no hardware address of its own.
    pub fn from_uuid(uuid: [u8; 16]) -> Self {
        Self([&UUID.to_be_bytes()[..], &uuid].concat())
    }

    /// The octets, type first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Duid {
    type Error = DuidError;

    fn try_from(octets: Vec<u8>) -> Result<Self, DuidError> {
        Self::new(octets)
    }
}

impl From<Duid> for Vec<u8> {
    fn from(duid: Duid) -> Self {
        duid.0
    }
}

impl fmt::Debug for Duid {
    /// As hex octets with colons, the way server configurations write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.0.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms() {
        let mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);
        assert_eq!(Duid::from_mac(mac).to_string(), "00:03:00:01:02:42:c0:00:02:0a");
        assert_eq!(Duid::from_uuid([7; 16]).as_bytes()[..3], [0, 4, 7]);
        assert_eq!(Duid::new([0, 3]), Err(DuidError(2)));
        assert!(Duid::new([0; 130]).is_ok());
        assert_eq!(Duid::new([0; 131]), Err(DuidError(131)));
    }
}
