//! Where a network's user said that its addresses come from.

use std::collections::BTreeMap;

use crate::error::OptionError;
use crate::given::Given;
use crate::words::Addressing;

/// The word of the network option `addressing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressesFrom {
    /// From the DHCP server on the LAN.
    Dhcp,
    /// From the pool of Landline's IPAM driver.
    Pool,
    /// Each container's user names it, or Docker's IPAM gives it.
    Static,
    /// From nowhere: the link only.
    None,
}

impl AddressesFrom {
    const WORDS: [(&'static str, Self); 4] =
        [("dhcp", Self::Dhcp), ("pool", Self::Pool), ("static", Self::Static), ("none", Self::None)];

    /// What the network's options say; `None`: nothing.
    ///
    /// # Errors
    /// It is another word.
    pub fn given(options: &BTreeMap<String, String>) -> Result<Option<Self>, OptionError> {
        Self::read(Given(options))
    }

    pub(crate) fn read(given: Given<'_>) -> Result<Option<Self>, OptionError> {
        given.word("addressing", &Self::WORDS)
    }
}

impl From<AddressesFrom> for Addressing {
    /// An endpoint does not ask anybody for an address that a pool gives.
    fn from(word: AddressesFrom) -> Self {
        match word {
            AddressesFrom::Dhcp => Self::Dhcp,
            AddressesFrom::Pool | AddressesFrom::Static => Self::Static,
            AddressesFrom::None => Self::None,
        }
    }
}
