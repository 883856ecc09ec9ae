//! What the spanning tree protocol (IEEE 802.1D) makes of a bridge and of its ports.

use std::fmt;
use std::time::Duration;

use super::attr::{Attrs, Value};
use super::uapi::{
    BR_STATE_BLOCKING, BR_STATE_DISABLED, BR_STATE_FORWARDING, BR_STATE_LEARNING, BR_STATE_LISTENING,
    IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BRPORT_STATE,
};

/// What a bridge does with frames of one of its ports. Only a forwarding port carries any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortState {
    /// It is down, or has no carrier.
    Disabled,
    /// It waits for word of other bridges, for the forward delay.
    Listening,
    /// It learns addresses, for the forward delay again.
    Learning,
    /// It carries frames.
    Forwarding,
    /// It would close a loop.
    Blocking,
}

impl PortState {
    /// Whether the protocol keeps the port from carrying frames, for now or for good.
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Listening | Self::Learning | Self::Blocking)
    }

    fn read(state: u8) -> Option<Self> {
        match state {
            BR_STATE_DISABLED => Some(Self::Disabled),
            BR_STATE_LISTENING => Some(Self::Listening),
            BR_STATE_LEARNING => Some(Self::Learning),
            BR_STATE_FORWARDING => Some(Self::Forwarding),
            BR_STATE_BLOCKING => Some(Self::Blocking),
            _ => None,
        }
    }
}

impl fmt::Display for PortState {
    /// iproute2's word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
        })
    }
}

/// The state in the attributes of a port (`IFLA_INFO_SLAVE_DATA`, or `IFLA_PROTINFO` of a bridge's own messages).
pub(super) fn port_state(port: &Attrs<'_>) -> Option<PortState> {
    let value = port.clone().find(|(kind, _)| *kind == IFLA_BRPORT_STATE).map(|(_, value)| value);
    value.and_then(Value::u8).and_then(PortState::read)
}

/// The forward delay in the data of a bridge, if it runs the protocol.
pub(super) fn forward_delay(bridge: &Attrs<'_>) -> Option<Duration> {
    let value = |wanted| bridge.clone().find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let runs = value(IFLA_BR_STP_STATE).and_then(Value::u32).is_some_and(|state| state != 0);
    // Hundredths of a second (USER_HZ), whatever the kernel's own clock.
    let delay = value(IFLA_BR_FORWARD_DELAY).and_then(Value::u32)?;
    runs.then(|| Duration::from_millis(u64::from(delay) * 10))
}
