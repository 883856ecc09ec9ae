//! Ids of networks and endpoints, as the front end gave them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest id, in bytes.
const MAX: usize = 128;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what} id: 1 to 128 letters, digits, '_' or '-'")]
pub struct IdError {
    what: &'static str,
    text: String,
}

fn check(what: &'static str, text: &str) -> Result<(), IdError> {
    let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if clean && (1..=MAX).contains(&text.len()) {
        Ok(())
    } else {
        Err(IdError { what, text: text.chars().take(64).collect() })
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// Docker's are 64 hex digits; other front ends make their own. 1 to 128 letters, digits, `_` or `-`,
        /// so an id is safe in a file name, a link alias and a log line.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The whole id.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first 12 characters (or all, if there are fewer): what Docker prints.
            pub fn short(&self) -> &str {
                self.0.get(..12).unwrap_or(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check($what, text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                check($what, &text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Which network: a Docker network's id.
    NetworkId,
    "a network"
);
id!(
    /// Which endpoint: one container interface on one network.
    EndpointId,
    "an endpoint"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_docker_ids_and_short_ones() {
        let id: NetworkId = "0123456789abcdef".repeat(4).parse().unwrap();
        assert_eq!(id.short(), "0123456789ab");
        assert_eq!(id.as_str().len(), 64);
        let id: EndpointId = "web_1-a".parse().unwrap();
        assert_eq!(id.short(), "web_1-a");
    }

    #[test]
    fn refuses_what_could_leave_its_place() {
        for text in ["", ".", "../etc", "a/b", "a:b", "a b", "a\n", "é", "\0", &"a".repeat(129)] {
            assert!(text.parse::<EndpointId>().is_err(), "{text:?}");
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<NetworkId>(&json).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_message_is_bounded() {
        let error = "/".repeat(100_000).parse::<NetworkId>().unwrap_err();
        assert!(error.to_string().len() < 200);
    }

    proptest! {
        #[test]
        fn never_panics(text: String) {
            if let Ok(id) = text.parse::<NetworkId>() {
                prop_assert_eq!(id.as_str(), &text);
                prop_assert!(id.short().len() <= 12);
            }
        }
    }
}
