//! Client identifiers (option 61).

use std::fmt;

use landline_types::Mac;

/// Type octet of an identifier that is no hardware address (RFC 2132 section 9.14).
const OPAQUE: u8 = 0;
/// Type octet of an Ethernet address (RFC 2132 section 9.14).
const ETHERNET: u8 = 1;
/// Type octet of IAID and DUID (RFC 4361 section 6.1).
const RFC4361: u8 = 255;

/// What a server tells clients apart by: the whole value of option 61, type octet first, 2 to 255 octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Vec<u8>);

/// Why some octets are no client identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a client identifier is 2 to 255 octets with its type, this one would be {0}")]
pub struct ClientIdError(usize);

impl ClientId {
    /// The identifier with these octets, of which the first is the type.
    pub fn new(octets: impl Into<Vec<u8>>) -> Result<Self, ClientIdError> {
        let octets = octets.into();
        match octets.len() {
            2..=255 => Ok(Self(octets)),
            len => Err(ClientIdError(len)),
        }
    }

    /// What most clients send: type 1 and the hardware address.
    pub fn from_mac(mac: Mac) -> Self {
        Self([&[ETHERNET][..], &mac.octets()].concat())
    }

    /// A text of 1 to 254 octets that means something to its user, as type 0.
    pub fn opaque(text: &str) -> Result<Self, ClientIdError> {
        Self::new([&[OPAQUE], text.as_bytes()].concat())
    }

    /// IAID and DUID as RFC 4361 section 6.1 has them: one identity for DHCPv4 and DHCPv6.
    pub fn rfc4361(iaid: [u8; 4], duid: &[u8]) -> Result<Self, ClientIdError> {
        Self::new([&[RFC4361], &iaid[..], duid].concat())
    }

    /// The value of option 61.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ClientId {
    /// As hex octets with colons, the way server configurations write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.0.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms() {
        let mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);
        assert_eq!(format!("{:?}", ClientId::from_mac(mac)), "01:02:42:c0:00:02:0a");
        assert_eq!(ClientId::opaque("web").map(|id| id.0), Ok(b"\0web".to_vec()));
        let duid = [0, 3, 0, 1, 2, 0x42, 0xc0, 0, 2, 10];
        let id = ClientId::rfc4361([1, 2, 3, 4], &duid).map(|id| id.0);
        assert_eq!(id, Ok(vec![255, 1, 2, 3, 4, 0, 3, 0, 1, 2, 0x42, 0xc0, 0, 2, 10]));
    }

    #[test]
    fn lengths() {
        assert_eq!(ClientId::opaque(""), Err(ClientIdError(1)));
        assert!(ClientId::opaque(&"x".repeat(254)).is_ok());
        assert_eq!(ClientId::opaque(&"x".repeat(255)), Err(ClientIdError(256)));
        assert_eq!(ClientId::new([]), Err(ClientIdError(0)));
    }
}
