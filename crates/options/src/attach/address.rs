//! Addresses that are set as they are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::error::AttachError;
use crate::network::host_address;

/// An address with its network's prefix, and the router that the default route goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StaticAddress {
    /// The address and the length of its network's prefix.
    pub net: IpNet,
    /// The router. It need not be in that network.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
}

impl fmt::Display for StaticAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.net)?;
        self.gateway.map_or(Ok(()), |gateway| write!(f, "@{gateway}"))
    }
}

const WHAT: &str = "an address";

/// Reads `ADDRESS/LENGTH[@GATEWAY]`.
pub(crate) fn parse(text: &str) -> Result<StaticAddress, AttachError> {
    let bad = |hint| AttachError::word(text, WHAT, hint);
    let (net, gateway) = text.split_once('@').map_or((text, None), |(net, gw)| (net, Some(gw)));
    let Some((address, length)) = net.split_once('/') else {
        return Err(bad(
            "write it with the length of its network's prefix, like 192.0.2.10/24, or write dhcp",
        ));
    };
    let length: u8 = Some(length)
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| bad("after the / comes the length of the network's prefix, like 24"))?;
    let address = usable(address).ok_or_else(|| bad("write one that a host can have, like 192.0.2.10/24"))?;
    let net = IpNet::new(address, length)
        .ok()
        .filter(|net| net.prefix_len() > 0)
        .ok_or_else(|| bad("the length of an IPv4 prefix is 1 to 32, of an IPv6 prefix 1 to 128"))?;
    if let IpAddr::V4(v4) = address
        && is_of_all(net, v4)
    {
        return Err(bad("that is the address of the whole network; write the container's own"));
    }
    let gateway = gateway
        .map(|text| usable(text).ok_or_else(|| bad("after the @ comes the router's address, like 192.0.2.1")))
        .transpose()?;
    match gateway {
        Some(gateway) if gateway.is_ipv4() != address.is_ipv4() => {
            Err(bad("the router's address is of the other family; give each address its own router"))
        }
        Some(gateway) if gateway == address => Err(bad("a container cannot be its own router")),
        Some(IpAddr::V4(gateway)) if is_of_all(net, gateway) => {
            Err(bad("the address after the @ is that of the whole network; write the router's own"))
        }
        gateway => Ok(StaticAddress { net, gateway }),
    }
}

/// Whether that is the address of the network itself, or the one by which all in it are meant.
fn is_of_all(net: IpNet, address: Ipv4Addr) -> bool {
    matches!(net, IpNet::V4(net) if net.prefix_len() < 31 && [net.network(), net.broadcast()].contains(&address))
}

/// An address a machine can have.
fn usable(text: &str) -> Option<IpAddr> {
    match text.parse().ok()? {
        IpAddr::V4(v4) => host_address(&Ipv4Addr::to_string(&v4)).map(IpAddr::V4),
        IpAddr::V6(v6) => {
            let odd = v6.is_unspecified() || v6.is_loopback() || v6.is_multicast();
            (!odd && v6.to_ipv4_mapped().is_none()).then_some(IpAddr::V6(Ipv6Addr::from(v6.octets())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_it_is_read() {
        for text in [
            "192.0.2.50/24",
            "192.0.2.50/24@192.0.2.1",
            "192.0.2.50/32@198.51.100.1",
            "192.0.2.50/24@198.51.100.255",
            "192.0.2.0/31",
            "2001:db8::5/64",
            "2001:db8::5/64@fe80::1",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_no_host_can_have() {
        for text in [
            "",
            "192.0.2.50",
            "192.0.2.50/",
            "192.0.2.50/33",
            "192.0.2.50/+4",
            "192.0.2.0/24",
            "192.0.2.255/24",
            "127.0.0.1/8",
            "224.0.0.1/24",
            "0.0.0.0/0",
            "192.0.2.5/0",
            "2001:db8::1/129",
            "::1/128",
            "ff02::1/64",
            "::ffff:192.0.2.1/96",
            "192.0.2.5/24@",
            "192.0.2.5/24@2001:db8::1",
            "192.0.2.5/24@192.0.2.5",
            "192.0.2.5/24@192.0.2.1@192.0.2.2",
            "192.0.2.5/24@192.0.2.255",
            "192.0.2.5/24@192.0.2.0",
            "192.0.2.5 /24",
            "$(id)/24",
            "a/24",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
