//! The words an option may have, one enum each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hostname::Hostname;

/// Where the addresses of a network come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Addressing {
    /// The DHCP server on the LAN.
    #[default]
    Dhcp,
    /// The address the user, or Docker's IPAM, gave.
    Static,
    /// Nowhere: the link only.
    None,
}

impl Addressing {
    /// The word users write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Static => "static",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Addressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a network does about IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ipv6Mode {
    /// Nothing.
    #[default]
    Off,
    /// As the routers on the LAN say: autoconfiguration, `DHCPv6` or both; `DHCPv6` where there is no router.
    Auto,
    /// Addresses by `DHCPv6`, whatever the routers say.
    Dhcp,
    /// Autoconfigured addresses, and no others.
    Slaac,
}

/// How the lower halves of autoconfigured and link-local IPv6 addresses are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ipv6Address {
    /// Of a secret: the same for the same container and prefix, and nothing to be learned from them (RFC 7217).
    #[default]
    Stable,
    /// Of the hardware address (RFC 4291 appendix A).
    Eui64,
}

/// How the macvlan children of one parent reach each other (ip-link(8), "MACVLAN and MACVTAP Type Support").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Directly.
    #[default]
    Bridge,
    /// Not at all.
    Private,
    /// Through the switch outside, which must reflect frames (802.1Qbg).
    Vepa,
    /// There is one child only, and the parent is its own.
    Passthru,
}

/// How an address is checked for another user before and after it is taken (RFC 5227).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictCheck {
    /// A short bounded look before the answer, the whole of RFC 5227 behind it.
    #[default]
    Fast,
    /// The whole of RFC 5227 before the answer: several seconds.
    Wait,
    /// None.
    Off,
}

/// What becomes of a start that gets no address in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    /// It fails.
    #[default]
    Fail,
    /// The container starts without an address and gets it when a server answers.
    Continue,
}

/// Where the identities of a network's containers come from: hardware address, client identifier, DUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentitySource {
    /// Drawn at random at a container's first start.
    Drawn,
    /// Derived from the site's key, the network's name and the container's.
    Derived,
}

/// What becomes of a start whose derived identity another host uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDuplicate {
    /// It fails.
    #[default]
    Fail,
    /// The container has a fresh identity for that run.
    Fresh,
}

/// What becomes of a start while nothing tells which container it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenUnsure {
    /// The container has a fresh identity for that run.
    #[default]
    Fresh,
    /// Docker is told no address; the container gets its own once its sandbox tells which one it is.
    Late,
}

/// When an address is given back to the DHCP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// Never: its lease runs out.
    Never,
    /// After its container was removed.
    #[default]
    OnRemove,
    /// As soon as its container stops.
    OnStop,
}

/// Which name the DHCP server is told (option 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostnameMode {
    /// The container's own.
    #[default]
    Container,
    /// None.
    Off,
}

/// Whether the DHCP server is asked to put the container's name into DNS (option 81, RFC 4702).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fqdn {
    /// No: it is told the host name (option 12).
    #[default]
    Off,
    /// Yes; it knows the domain.
    Name,
    /// Yes, in this domain.
    Domain(Hostname),
}

/// What becomes of the servers and domains that the LAN hands out for names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsMode {
    /// Nothing: Docker's own resolver, with what the host uses.
    #[default]
    Off,
    /// The domains are searched; questions go to Docker's resolver.
    Search,
    /// Servers and domains take the place of Docker's, whose names for containers are given up.
    Replace,
}

/// What the MTU of container interfaces is, if not the parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LinkMtu {
    /// So many bytes.
    Fixed(Mtu),
    /// What somebody else says.
    From(MtuSource),
}

impl LinkMtu {
    /// The number of bytes, if it is a fixed one.
    pub const fn fixed(self) -> Option<u32> {
        match self {
            Self::Fixed(mtu) => Some(mtu.get()),
            Self::From(_) => None,
        }
    }
}

/// Who says what the MTU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MtuSource {
    /// The DHCP server (option 26).
    Dhcp,
}

/// A VLAN's number: 1 to 4094 (IEEE 802.1Q keeps 0 and 4095 for itself).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Vlan(u16);

/// Why a number is not a VLAN's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a VLAN: 1 to 4094")]
pub struct VlanError(u16);

impl Vlan {
    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Reads decimal digits.
    pub(crate) fn read(text: &str) -> Option<Self> {
        // `parse` would take a plus sign.
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()?.try_into().ok()
    }
}

impl TryFrom<u16> for Vlan {
    type Error = VlanError;

    fn try_from(id: u16) -> Result<Self, VlanError> {
        if (1..=4094).contains(&id) { Ok(Self(id)) } else { Err(VlanError(id)) }
    }
}

impl From<Vlan> for u16 {
    fn from(vlan: Vlan) -> Self {
        vlan.0
    }
}

/// A link's MTU in bytes: 68 (RFC 791, what every IPv4 hop must carry) to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Mtu(u32);

/// Why a number is not an MTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an MTU: 68 to 65535 bytes")]
pub struct MtuError(u32);

impl Mtu {
    /// Bytes.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Mtu {
    type Error = MtuError;

    fn try_from(bytes: u32) -> Result<Self, MtuError> {
        if (68..=65535).contains(&bytes) { Ok(Self(bytes)) } else { Err(MtuError(bytes)) }
    }
}

impl From<Mtu> for u32 {
    fn from(mtu: Mtu) -> Self {
        mtu.0
    }
}
