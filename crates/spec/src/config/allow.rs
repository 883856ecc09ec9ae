//! What containers may ask for.

use std::fmt;

use ipnet::IpNet;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{Deserialize, IntoDeserializer as _};

use super::Containers;
use crate::attach::AttachSpec;
use crate::words::Mode;

/// `[containers.allow.PARENT]`: how containers may hang on a parent.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allowed {
    /// The kinds of links; empty: what the parent has by itself, which is never the parent itself.
    pub kinds: Vec<KindWord>,
    /// Where static addresses must be; empty: anywhere.
    pub subnets: Vec<IpNet>,
    /// The VLANs they may be in beside the untagged one.
    pub vlans: Vec<u16>,
}

/// A kind of link: a network's mode, `nic` for the parent itself, or `dummy`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct KindWord(String);

impl KindWord {
    /// The parent itself goes into the container.
    pub const NIC: &'static str = "nic";
    /// An interface that goes nowhere.
    pub const DUMMY: &'static str = "dummy";
    /// A port of a VDE switch.
    pub const VDE: &'static str = "vde";

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KindWord {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let deserializer: StrDeserializer<'_, ValueError> = text.as_str().into_deserializer();
        match Mode::deserialize(deserializer) {
            Ok(_) => Ok(Self(text)),
            Err(_) if text == Self::NIC || text == Self::DUMMY => Ok(Self(text)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What would have to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The words after `landline allow`.
    pub needs: Vec<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "landline allow {}", self.needs.join(" "))
    }
}

impl Containers {
    /// Whether a container may have this: `kind` is what the link would be, `followed` whether that is what the
    /// parent has by itself.
    ///
    /// # Errors
    /// What the administrator would have to allow first, all of it.
    pub fn judge(&self, parent: &str, kind: &str, followed: bool, spec: &AttachSpec) -> Result<(), Refusal> {
        let allowed = self.allow.get(parent);
        let nothing = Allowed::default();
        let rules = allowed.unwrap_or(&nothing);
        let mut needs = vec![parent.to_string()];
        let listed = rules.kinds.iter().any(|word| word.as_str() == kind);
        let by_itself = rules.kinds.is_empty() && followed && kind != KindWord::NIC;
        if !(listed || by_itself) {
            needs.extend(["--kind".to_owned(), kind.to_owned()]);
        }
        for address in &spec.addresses {
            let within = |subnet: &IpNet| subnet.contains(&address.net.addr());
            if !rules.subnets.is_empty() && !rules.subnets.iter().any(within) {
                needs.extend(["--subnet".to_owned(), address.net.trunc().to_string()]);
            }
        }
        let tags = ["vlan", "trunks"].into_iter().filter_map(|option| spec.options.get(option));
        for vlan in tags.flat_map(|text| text.split([',', ' '])).filter(|tag| !tag.is_empty()) {
            if !rules.vlans.iter().any(|known| known.to_string() == *vlan) {
                needs.extend(["--vlan".to_owned(), vlan.to_owned()]);
            }
        }
        if allowed.is_some() && needs.len() == 1 { Ok(()) } else { Err(Refusal { needs }) }
    }

    /// Whether a container may change its own routes, rules and queues.
    ///
    /// # Errors
    /// What the administrator would have to allow first.
    pub fn judge_change(&self) -> Result<(), Refusal> {
        if self.changes { Ok(()) } else { Err(Refusal { needs: vec!["--changes".into()] }) }
    }
}
