//! Addresses of the LAN on the host, and what of them is passed on (`mode=nat`, `landline nat`).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::OptionError;
use crate::given::{Given, Value};
use crate::modes::Mode;
use crate::network::{NetworkOptions, host_address};

/// The options that have a meaning with `mode=nat` only.
const ONLY_NAT: [&str; 2] = ["lan_ip", "ports"];

/// Where a container's address on the LAN comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LanIp {
    /// The LAN's DHCP server, which knows the container by a client identifier of its own.
    #[default]
    Dhcp,
    /// The user.
    Static(Ipv4Addr),
}

/// The LAN's side of a `mode=nat` network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NatOptions {
    /// The containers' addresses. A static one is the network's, and one container's at a time.
    #[serde(default)]
    pub lan_ip: LanIp,
    /// What is passed on to them.
    #[serde(default)]
    pub ports: NatPorts,
}

impl NatOptions {
    /// Reads the options of this mode; with another one they must not be given.
    pub(crate) fn parse(given: Given<'_>, mode: Mode) -> Result<Self, OptionError> {
        if mode != Mode::Nat {
            return match ONLY_NAT.into_iter().find(|option| given.get(option).is_some()) {
                Some(option) => Err(OptionError::WrongMode { option, needs: Mode::Nat }),
                None => Ok(Self::default()),
            };
        }
        Ok(Self {
            lan_ip: given.get("lan_ip").map(lan_ip).transpose()?.unwrap_or_default(),
            ports: given.get("ports").map(ports).transpose()?.unwrap_or_default(),
        })
    }
}

impl NetworkOptions {
    /// Whether the host asks the LAN's DHCP server for addresses on behalf of the network's containers.
    pub fn host_has_leases(&self) -> bool {
        self.mode.rules().translated && self.nat.lan_ip == LanIp::Dhcp
    }
}

/// `dhcp`, or an address.
pub(crate) fn lan_ip(value: Value<'_>) -> Result<LanIp, OptionError> {
    let read = |text: &str| match text {
        dhcp if dhcp.eq_ignore_ascii_case("dhcp") => Some(LanIp::Dhcp),
        address => host_address(address).map(LanIp::Static),
    };
    value.read(read, || "write a free IPv4 address of the LAN, like 192.0.2.117, or dhcp".into())
}

/// `all`, or ports with commas or spaces between them.
pub(crate) fn ports(value: Value<'_>) -> Result<NatPorts, OptionError> {
    // More than there are ports of both protocols is a mistake, however many it is.
    const MOST: usize = 2 * 65_536;
    let words = value.text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(MOST).map(str::to_lowercase).collect();
    NatPorts::read(&words).map_err(|_| value.error(PORTS.into()))
}

/// What of an address is passed on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NatPorts {
    /// The ports the container exposes or publishes.
    #[default]
    Exposed,
    /// Everything.
    All,
    /// These.
    Only(Vec<NatPort>),
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
}

impl Transport {
    /// Its IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The one with this IP protocol number.
    pub fn of(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp].into_iter().find(|transport| transport.number() == number)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the address, and the container's port behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NatPort {
    /// The protocol.
    pub transport: Transport,
    /// The port on the LAN.
    pub outside: u16,
    /// The container's.
    pub inside: u16,
}

impl fmt::Display for NatPort {
    /// `80/tcp`, or `80:8080/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, outside, inside } = self;
        if outside == inside {
            write!(f, "{outside}/{transport}")
        } else {
            write!(f, "{outside}:{inside}/{transport}")
        }
    }
}

/// Why a text is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a port; {PORTS}")]
pub struct PortsError(String);

/// What to write.
const PORTS: &str = "write 80, 80:8080 (the container's behind the colon), 53/udp, or all";

impl FromStr for NatPort {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let wrong = || PortsError(text.chars().take(32).collect());
        let (ports, transport) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Transport::Tcp),
            Some((ports, "udp")) => (ports, Transport::Udp),
            Some(_) => return Err(wrong()),
        };
        let port = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten().filter(|port| *port != 0).ok_or_else(wrong)
        };
        let (outside, inside) = ports.split_once(':').unwrap_or((ports, ports));
        Ok(Self { transport, outside: port(outside)?, inside: port(inside)? })
    }
}

impl NatPorts {
    /// Reads what a user wrote: nothing, `all`, or ports.
    ///
    /// # Errors
    /// The first that is none.
    pub fn read(texts: &[String]) -> Result<Self, PortsError> {
        match texts {
            [] => Ok(Self::Exposed),
            [all] if all == "all" => Ok(Self::All),
            texts => {
                let mut ports = texts.iter().map(|text| text.parse()).collect::<Result<Vec<NatPort>, _>>()?;
                ports.sort_unstable();
                ports.dedup();
                Ok(Self::Only(ports))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Addressing, NetworkOptions};

    fn parse(options: &[(&str, &str)]) -> Result<NetworkOptions, OptionError> {
        let options: BTreeMap<String, String> =
            options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        NetworkOptions::parse(&options)
    }

    #[test]
    fn ports_are_read_as_people_write_them() {
        let read =
            |texts: &[&str]| NatPorts::read(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        assert_eq!(read(&[]), Ok(NatPorts::Exposed));
        assert_eq!(read(&["all"]), Ok(NatPorts::All));
        let port = |transport, outside, inside| NatPort { transport, outside, inside };
        assert_eq!(
            read(&["80:8080", "53/udp", "22/tcp", "22"]),
            Ok(NatPorts::Only(vec![
                port(Transport::Tcp, 22, 22),
                port(Transport::Tcp, 80, 8080),
                port(Transport::Udp, 53, 53)
            ]))
        );
        for wrong in ["", "0", "65536", "+1", "80:", "80/sctp", "a", "all,80", "80:90:100"] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_network_has_addresses_by_dhcp_and_passes_on_what_is_exposed_unless_told_otherwise() {
        let network = parse(&[("mode", "nat"), ("parent", "em1")]).unwrap();
        assert_eq!((network.mode, network.addressing), (Mode::Nat, Addressing::Static));
        assert_eq!(network.nat, NatOptions { lan_ip: LanIp::Dhcp, ports: NatPorts::Exposed });
        let given =
            [("mode", "nat"), ("parent", "em1"), ("lan_ip", "192.0.2.117"), ("ports", "80,443/tcp 53/udp")];
        let nat = parse(&given).unwrap().nat;
        assert_eq!(nat.lan_ip, LanIp::Static(Ipv4Addr::new(192, 0, 2, 117)));
        let NatPorts::Only(ports) = nat.ports else { panic!("{:?}", nat.ports) };
        assert_eq!(
            ports.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["80/tcp", "443/tcp", "53/udp"]
        );
        let all = parse(&[("mode", "nat"), ("parent", "em1"), ("ports", "ALL")]).unwrap();
        assert_eq!(all.nat.ports, NatPorts::All);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_do() {
        let nat = |option, value| parse(&[("mode", "nat"), ("parent", "em1"), (option, value)]);
        for (option, value, said) in [
            ("lan_ip", "192.0.2.0/24", "write a free IPv4 address of the LAN, like 192.0.2.117, or dhcp"),
            ("lan_ip", "2001:db8::1", "write a free IPv4 address of the LAN"),
            ("ports", "80/sctp", "write 80, 80:8080"),
            ("addressing", "dhcp", "lan_ip=dhcp"),
            ("ipv6", "true", "IPv4 only"),
            ("vlan", "12", "vlan has no meaning with mode=nat"),
            ("host_access", "true", "host_access has no effect with mode=nat"),
        ] {
            let error = nat(option, value).unwrap_err().to_string();
            assert!(error.contains(said), "{option}={value}: {error}");
        }
        for option in ONLY_NAT {
            let error = parse(&[("bridge", "br0"), (option, "1")]).unwrap_err();
            assert_eq!(error, OptionError::WrongMode { option, needs: Mode::Nat });
        }
    }
}
