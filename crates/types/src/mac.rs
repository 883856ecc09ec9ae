//! Ethernet hardware addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 48-bit Ethernet address (IEEE 802). Text form: six lower-case hex octets with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// Why a text is not a usable hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a hardware address; write six hex octets, like 02:42:c0:00:02:0a")]
pub struct MacError(String);

impl Mac {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address made of these octets, in transmission order.
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// The octets in transmission order.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether this is a group address (I/G bit), which no interface may carry.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether all octets are zero.
    pub fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Accepts `:` or `-` between octets, either case.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let bad = || MacError(text.chars().take(64).collect());
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            *octet = u8::from_str_radix(part.ok_or_else(bad)?, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(octets)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_both_separators_and_cases() {
        let mac = Mac::new([0x02, 0x42, 0xc0, 0, 2, 0x0a]);
        assert_eq!("02:42:c0:00:02:0a".parse(), Ok(mac));
        assert_eq!("02-42-C0-00-02-0A".parse(), Ok(mac));
        assert_eq!(mac.to_string(), "02:42:c0:00:02:0a");
    }

    #[test]
    fn refuses_what_is_not_six_octets() {
        for text in [
            "",
            "02:42:c0:00:02",
            "02:42:c0:00:02:0a:0b",
            "2:42:c0:0:2:a",
            "02:42:c0:00:02:0g",
            "+2:42:c0:00:02:0a",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(octets: [u8; 6]) {
            let mac = Mac::new(octets);
            prop_assert_eq!(mac.to_string().parse::<Mac>(), Ok(mac));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = text.parse::<Mac>();
        }
    }
}
