//! Versions of the specification.

use std::fmt;

use serde_json::{Value, json};

/// A version that this plugin speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.3.0
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0, which has CHECK
    V0_4_0,
    /// 1.0.0, whose addresses do not say their family
    V1_0_0,
    /// 1.1.0, which has GC and STATUS
    V1_1_0,
}

impl Version {
    /// The newest one.
    pub const NEWEST: Self = Self::V1_1_0;

    const ALL: [Self; 5] = [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version that is written like this, if the plugin speaks it.
    pub(super) fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer to VERSION, in the caller's version where that is known.
pub fn versions(version: Version) -> Value {
    json!({ "cniVersion": version.as_str(), "supportedVersions": Version::ALL.map(Version::as_str) })
}
