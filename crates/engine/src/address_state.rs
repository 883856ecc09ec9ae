//! What an endpoint does about its IPv4 address, as people and programs see it.

use std::fmt;
use std::str::FromStr;

use landline_dhcp::v4::StateName;
use serde::{Deserialize, Serialize};

/// What an endpoint does about its IPv4 address. It is written `link only`, `static`, or as the DHCP client's state (RFC 2131 figure 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AddressState {
    /// It has none from Landline.
    LinkOnly,
    /// It has one that does not come from DHCP.
    Static,
    /// The state of its DHCP client.
    Dhcp(StateName),
}

/// There is no such state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no state {0:?}")]
pub struct UnknownState(String);

const CLIENT: [StateName; 9] = [
    StateName::Stopped,
    StateName::Init,
    StateName::Selecting,
    StateName::Requesting,
    StateName::Rebooting,
    StateName::Checking,
    StateName::Bound,
    StateName::Renewing,
    StateName::Rebinding,
];

impl fmt::Display for AddressState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkOnly => f.write_str("link only"),
            Self::Static => f.write_str("static"),
            Self::Dhcp(state) => state.fmt(f),
        }
    }
}

impl FromStr for AddressState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let all = [Self::LinkOnly, Self::Static].into_iter().chain(CLIENT.map(Self::Dhcp));
        all.into_iter().find(|state| state.to_string() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

impl TryFrom<String> for AddressState {
    type Error = UnknownState;

    fn try_from(text: String) -> Result<Self, UnknownState> {
        text.parse()
    }
}

impl From<AddressState> for String {
    fn from(state: AddressState) -> Self {
        state.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_they_are_written() {
        for (text, state) in [
            ("link only", AddressState::LinkOnly),
            ("static", AddressState::Static),
            ("STOPPED", AddressState::Dhcp(StateName::Stopped)),
            ("INIT", AddressState::Dhcp(StateName::Init)),
            ("SELECTING", AddressState::Dhcp(StateName::Selecting)),
            ("REQUESTING", AddressState::Dhcp(StateName::Requesting)),
            ("REBOOTING", AddressState::Dhcp(StateName::Rebooting)),
            ("CHECKING", AddressState::Dhcp(StateName::Checking)),
            ("BOUND", AddressState::Dhcp(StateName::Bound)),
            ("RENEWING", AddressState::Dhcp(StateName::Renewing)),
            ("REBINDING", AddressState::Dhcp(StateName::Rebinding)),
        ] {
            assert_eq!(text.parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), text);
            assert_eq!(serde_json::from_value::<AddressState>(text.into()).unwrap(), state);
        }
        assert!("stopped".parse::<AddressState>().is_err());
    }
}
