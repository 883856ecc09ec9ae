//! What was asked for, and what is shown of it.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use landline_types::IfName;
use serde::{Deserialize, Serialize};

/// A container's address on the LAN, as `landline nat` was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatRecord {
    /// The container's name.
    pub container: String,
    /// The address.
    pub address: Ipv4Addr,
    /// The NIC it is on.
    pub interface: IfName,
    /// What is passed on to the container.
    #[serde(default)]
    pub ports: NatPorts,
    /// Whether the user allowed to open the host's firewall for that.
    #[serde(default)]
    pub open_firewall: bool,
    /// `net.ipv4.ip_forward` was set for this one.
    #[serde(default)]
    pub forwarding: bool,
    /// The container's port on its bridge, if it was put into hairpin mode.
    #[serde(default)]
    pub hairpin: Option<IfName>,
}

impl NatRecord {
    /// A container's address, all else as it is by default.
    pub fn new(container: String, address: Ipv4Addr, interface: IfName) -> Self {
        let ports = NatPorts::default();
        Self { container, address, interface, ports, open_firewall: false, forwarding: false, hairpin: None }
    }
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

/// Why a text is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a port; write 80, 80:8080 (the container's behind the colon), 53/udp, or all")]
pub struct PortsError(String);

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

/// A container's address, as people want to see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatView {
    /// The container's name.
    pub container: String,
    /// Its address on the LAN.
    pub address: Ipv4Addr,
    /// The NIC that is on.
    pub interface: IfName,
    /// The container's own address, while it runs.
    pub inside: Option<Ipv4Addr>,
    /// What is passed on, as `80/tcp` or `80:8080/tcp`, or `all`.
    pub ports: Vec<String>,
    /// `ready`, `waits for its container`, or what is wrong.
    pub state: String,
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
