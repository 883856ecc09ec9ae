//! What is wrong with an option.

use crate::modes::Mode;
use crate::words::Addressing;

/// Why options were refused. Each message is one sentence that says what to type instead; text that came from
/// outside appears in it quoted, escaped and cut to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No option has this name, but one has a name much like it.
    #[error("there is no option {name:?}; did you mean {nearest}?")]
    Misspelt {
        /// As it was written.
        name: String,
        /// The option that was probably meant.
        nearest: &'static str,
    },
    /// No option has a name like this.
    #[error("there is no option {name:?}; there are {}", known.join(", "))]
    Unknown {
        /// As it was written.
        name: String,
        /// All there are.
        known: &'static [&'static str],
    },
    /// The option is known, its value is not one it can have.
    #[error("{option}={value:?} cannot be used; {hint}")]
    Value {
        /// The option, as it was written.
        option: String,
        /// Its value.
        value: String,
        /// What to write instead.
        hint: String,
    },
    /// The option or this value of it is planned, and this version cannot do it.
    #[error("{what} is not available in this version; {hint}")]
    NotYet {
        /// `option` or `option=value`.
        what: String,
        /// What to write instead.
        hint: &'static str,
    },
    /// No parent is named.
    #[error("{}", missing_parent(*.mode))]
    NoParent {
        /// The mode that needs it.
        mode: Mode,
    },
    /// Two names of one option were given, with different values.
    #[error(
        "{first}={first_value:?} and {second}={second_value:?} mean the same option; give only one of them"
    )]
    Twice {
        /// One name.
        first: &'static str,
        /// Its value.
        first_value: String,
        /// The other name.
        second: &'static str,
        /// Its value.
        second_value: String,
    },
    /// The option needs another mode.
    #[error("{option} has a meaning only with mode={needs}; remove it or use that mode")]
    WrongMode {
        /// The option.
        option: &'static str,
        /// The mode it belongs to.
        needs: Mode,
    },
    /// There is nothing to give access to.
    #[error("host_access has no effect with mode={mode}, where the host reaches its containers; remove it")]
    HostAccessOnBridge {
        /// The mode.
        mode: Mode,
    },
    /// The children keep apart from one another, and the host's end would be one of them.
    #[error(
        "host_access needs macvlan_mode=bridge: the other modes keep containers from whatever else is on the host; \
         remove one of the two"
    )]
    HostAccessApart,
    /// Nothing without a tag goes through, and DHCP is asked without one.
    #[error(
        "trunks={trunks:?} alone lets nothing without a VLAN tag through, so no DHCP server would be found; add \
         vlan=N for what has no tag, or addressing=none"
    )]
    TrunksAlone {
        /// As it was written.
        trunks: String,
    },
    /// Links of this mode carry IPv4 only.
    #[error(
        "mode={mode} supports IPv4 only; leave out ipv6, or use mode=bridge, mode=macvlan or mode=ipvlan"
    )]
    NoIpv6InMode {
        /// The mode.
        mode: Mode,
    },
    /// Links of this mode carry one address.
    #[error("mode={mode} supports one IPv4 address for each interface, and no IPv6; leave out the others")]
    OneAddress {
        /// The mode.
        mode: Mode,
    },
    /// The option has no meaning in this mode.
    #[error("{option} has no meaning with mode={mode}; remove it")]
    NotInMode {
        /// The option.
        option: &'static str,
        /// The mode.
        mode: Mode,
    },
    /// Where the addresses of a `mode=nat` network come from is said in other words.
    #[error(
        "with mode=nat containers' own addresses are private, from --subnet or wherever Docker takes them; leave out \
         addressing (lan_ip=dhcp asks the LAN's DHCP server for their addresses on the LAN)"
    )]
    NatAddressing,
    /// There is no IPv6 with `mode=nat`.
    #[error(
        "mode=nat translates IPv4 only; leave out ipv6, or use mode=bridge, mode=macvlan or mode=ipvlan, where \
         containers have IPv6 as the LAN gives it"
    )]
    NatV6,
    /// The option is about DHCP and there will be none.
    #[error("{option} has no effect with addressing={addressing}; remove one of them")]
    NoDhcp {
        /// The option.
        option: &'static str,
        /// What was asked for instead of DHCP.
        addressing: Addressing,
    },
    /// The option is about IPv6 and there will be none.
    #[error("{option} has no effect without IPv6; remove it or add ipv6=true")]
    NoIpv6 {
        /// The option.
        option: &'static str,
    },
    /// A client identifier for a whole network that is the same for all of its containers.
    #[error(
        "client_id={value:?} would give every container the same address; put {{mac}} or {{hostname}} into it, \
         or give it to one container with --driver-opt client_id={value}"
    )]
    SharedClientId {
        /// As it was written.
        value: String,
    },
    /// A client identifier for a whole ipvlan network that is made of the hardware address, which is the same for all
    /// of its containers.
    #[error(
        "client_id={value:?} would give every container the same address, because with mode=ipvlan they share one \
         hardware address; put {{hostname}} or {{endpoint}} into it, or leave it out"
    )]
    ClientIdOfMac {
        /// As it was written.
        value: String,
    },
}

fn missing_parent(mode: Mode) -> &'static str {
    mode.rules().missing_parent.unwrap_or("this mode has no parent")
}

/// Text from outside, short enough for a message.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}
