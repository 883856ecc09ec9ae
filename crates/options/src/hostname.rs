//! Host names, as far as a DHCP server may see them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A host name that may be sent to a DHCP server (option 12) or written to a file: labels of letters, digits and
/// inner hyphens, each 1 to 63 long, 253 characters in all (RFC 952 as relaxed by RFC 1123 section 2.1).
/// One final dot is dropped; case is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

/// Why a text is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name: use letters, digits and inner hyphens, at most 63 between dots")]
pub struct HostnameError(String);

impl Hostname {
    /// The longest name, in characters.
    pub const MAX: usize = 253;

    /// Reads a name that anybody may have written.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() <= Self::MAX && name.split('.').all(is_label) {
            Ok(Self(name.to_owned()))
        } else {
            Err(HostnameError(text.chars().take(64).collect()))
        }
    }

    /// The nearest name to one that may be too long: of each label the first 63 characters, and as many labels as there is
    /// room for. `None`: it is no name for another reason.
    pub fn nearest(text: &str) -> Option<Self> {
        let name = text.trim_matches('-');
        let mut nearest = String::new();
        for label in name.strip_suffix('.').unwrap_or(name).split('.') {
            // What is cut may end at a hyphen. All of it is ASCII, or it is no label.
            let label = label.get(..LABEL.min(label.len()))?.trim_end_matches('-');
            if !is_label(label) {
                return None;
            }
            let dot = usize::from(!nearest.is_empty());
            if nearest.len() + dot + label.len() > Self::MAX {
                break;
            }
            if dot == 1 {
                nearest.push('.');
            }
            nearest.push_str(label);
        }
        Self::parse(&nearest).ok()
    }

    /// The name as text, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The longest label, in octets (RFC 1035 section 2.3.4).
const LABEL: usize = 63;

fn is_label(label: &str) -> bool {
    (1..=LABEL).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        Self::parse(text)
    }
}

landline_types::parsed_text!(Hostname, HostnameError);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_names() {
        for name in ["web", "Web-1", "3com", "0123456789ab", "a.b.c", "x"] {
            assert_eq!(Hostname::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(Hostname::parse("web.lan.").unwrap().as_str(), "web.lan");
        assert!(Hostname::parse(&["a"; 127].join(".")).is_ok());
    }

    #[test]
    fn refuses_the_rest() {
        let long_label = "a".repeat(64);
        let long_name = ["a"; 128].join(".");
        for name in [
            "",
            ".",
            "..",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a_b",
            "a b",
            "a\n",
            "a;b",
            "$(x)",
            "é",
            "*",
            "a/b",
            "a\0",
            &long_label,
            &long_name,
        ] {
            assert!(Hostname::parse(name).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_clean(text: String) {
            if let Ok(name) = Hostname::parse(&text) {
                let clean = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
                prop_assert!(name.as_str().chars().all(clean));
            }
        }

        #[test]
        fn round_trips(text in "[a-z0-9]{1,20}(\\.[A-Z0-9]{1,20}){0,3}") {
            let name = Hostname::parse(&text).unwrap();
            let json = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(serde_json::from_str::<Hostname>(&json).unwrap(), name);
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_cut() {
        let nearest = |text: &str| Hostname::nearest(text).map(String::from);
        assert_eq!(nearest("web"), Some("web".to_owned()));
        assert_eq!(nearest("-web.lan-"), Some("web.lan".to_owned()));
        assert_eq!(nearest("we b"), None, "no other mistakes are mended");
        assert_eq!(nearest(&"n".repeat(80)), Some("n".repeat(63)));
        let hyphen = format!("{}-{}", "n".repeat(62), "m".repeat(20));
        assert_eq!(nearest(&hyphen), Some("n".repeat(62)), "not at a hyphen");
        assert_eq!(
            nearest(&format!("web.{}.lan", "n".repeat(80))),
            Some(format!("web.{}.lan", "n".repeat(63)))
        );
        let many = vec!["n".repeat(63); 5].join(".");
        assert_eq!(nearest(&many), Some(vec!["n".repeat(63); 3].join(".")), "253 characters are the most");
        assert_eq!(nearest(&"\u{e9}".repeat(80)), None);
    }
}
