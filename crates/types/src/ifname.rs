//! Names of network interfaces.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name the kernel accepts for an interface: 1 to 15 bytes, no `/`, `:` or white space, not `.` or `..`
/// (`dev_valid_name` in the kernel's `net/core/dev.c`). Landline also wants printable ASCII.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);

/// Why a text cannot name an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name an interface: 1 to 15 printable characters without '/', ':' or spaces")]
pub struct IfNameError(String);

impl IfName {
    /// The longest name, in bytes (`IFNAMSIZ` less its NUL).
    pub const MAX: usize = 15;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = IfNameError;

    fn from_str(text: &str) -> Result<Self, IfNameError> {
        let fits = (1..=Self::MAX).contains(&text.len());
        let clean = text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
        if fits && clean && text != "." && text != ".." {
            Ok(Self(text.to_owned()))
        } else {
            Err(IfNameError(text.chars().take(64).collect()))
        }
    }
}

crate::parsed_text!(IfName, IfNameError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_kernel_accepts() {
        for name in ["br0", "enp0s31f6", "eth0.12", "a", "wlx00c0ca123456"] {
            assert_eq!(name.parse::<IfName>().map(String::from), Ok(name.to_owned()));
        }
    }

    #[test]
    fn refuses_the_rest() {
        for name in ["", ".", "..", "a b", "a/b", "a:b", "sixteen-letters!", "br\n", "é"] {
            assert!(name.parse::<IfName>().is_err(), "{name:?}");
        }
    }
}
