//! The options of Landline's IPAM driver.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{OptionError, cut};
use crate::given::Given;
use crate::keys;

/// Where the IPAM driver takes addresses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolSource {
    /// From the subnet the user gave.
    Pool,
    /// From the DHCP server on the LAN.
    Dhcp,
}

impl PoolSource {
    /// The word users write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Dhcp => "dhcp",
        }
    }
}

/// What was asked of the IPAM driver (`docker network create --ipam-opt name=value`, Compose `ipam.options`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IpamOptions {
    /// `addressing`: where addresses come from. `None`: from the pool if a subnet was given, else from the LAN.
    pub addressing: Option<PoolSource>,
}

impl IpamOptions {
    /// Reads the options. Docker's own (`com.docker.*`) are none of ours; an empty value is the same as none.
    ///
    /// # Errors
    /// An unknown name, or a value the option cannot have.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        options.keys().try_for_each(|name| check_name(name))?;
        let words = [("pool", PoolSource::Pool), ("dhcp", PoolSource::Dhcp)];
        Ok(Self { addressing: Given(options).word("addressing", &words)? })
    }
}

fn check_name(name: &str) -> Result<(), OptionError> {
    if name.starts_with(keys::DOCKER) || keys::IPAM.contains(&name) {
        return Ok(());
    }
    Err(match keys::nearest(name, &keys::IPAM) {
        Some(nearest) => OptionError::Misspelt { name: cut(name), nearest },
        None => OptionError::Unknown { name: cut(name), known: &keys::IPAM },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(options: &[(&str, &str)]) -> Result<IpamOptions, OptionError> {
        IpamOptions::parse(&options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn reads_the_words() {
        assert_eq!(parse(&[]).unwrap().addressing, None);
        assert_eq!(parse(&[("addressing", "")]).unwrap().addressing, None);
        assert_eq!(parse(&[("addressing", "pool")]).unwrap().addressing, Some(PoolSource::Pool));
        assert_eq!(parse(&[("addressing", "DHCP")]).unwrap().addressing, Some(PoolSource::Dhcp));
        assert!(parse(&[("com.docker.network.ipam.serial", "true")]).is_ok());
    }

    #[test]
    fn refuses_others_by_name() {
        let error = |options| parse(options).unwrap_err().to_string();
        assert!(error(&[("adressing", "pool")]).contains("did you mean addressing"));
        assert!(error(&[("colour", "red")]).contains("there are addressing"));
        assert!(error(&[("addressing", "static")]).contains("write pool or dhcp"));
    }

    proptest! {
        #[test]
        fn never_panics(options in prop::collection::btree_map("\\PC{0,12}", ".{0,40}", 0..6)) {
            let _ = IpamOptions::parse(&options);
        }
    }
}
