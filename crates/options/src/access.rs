//! Host access to a network, as it is asked for.

use std::net::IpAddr;

use ipnet::IpNet;
use landline_types::IfName;
use serde::{Deserialize, Serialize};

use crate::error::cut;

/// What the user typed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AccessRequest {
    /// The network's name or id.
    pub network: String,
    /// Addresses for the shim, with or without the length of a prefix.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Further destinations.
    #[serde(default)]
    pub routes: Vec<String>,
    /// What the shim is to be called.
    #[serde(default)]
    pub interface: Option<String>,
    /// Whether `rp_filter` of the parent may be set to 2.
    #[serde(default)]
    pub loosen: bool,
}

/// A network whose containers the host is to reach, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The network's name, or its id.
    pub network: String,
    /// Addresses of the shim's own, at most one of each family; without any it is unnumbered.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
    /// Further destinations that are reached through the shim.
    #[serde(default)]
    pub routes: Vec<IpNet>,
    /// What a shim with addresses is called.
    #[serde(default)]
    pub interface: Option<IfName>,
    /// Whether the user allowed to set `rp_filter` of the parent to 2.
    #[serde(default)]
    pub loosen: bool,
}

/// What makes no sense by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessSpecError {
    /// Not a network.
    #[error("{0:?} cannot be the name of a Docker network; docker network ls shows those there are")]
    Network(String),
    /// Not an address.
    #[error("{0:?} is not an address of a machine; write one like 192.0.2.50 or 192.0.2.50/24")]
    Address(String),
    /// Not a destination.
    #[error("{0:?} is not an address or a network; write one like 198.51.100.0/24")]
    Route(String),
    /// Two of one family.
    #[error("{0} and {1} are both for the interface; give one IPv4 and one IPv6 address at most")]
    TwoAddresses(IpNet, IpNet),
    /// Not a name of an interface.
    #[error("{0:?} cannot be the name of an interface; write at most 15 letters and digits")]
    Interface(String),
    /// A name for an interface that several networks share.
    #[error(
        "an interface without an address is shared by all networks of its NIC and named by Landline; leave out the \
         interface's name or give it an ip"
    )]
    InterfaceUnnumbered,
    /// Destinations beyond the containers are asked for by ARP, which takes an address.
    #[error(
        "{route} can only be reached from an interface with an {family} address of its own; give it an ip"
    )]
    RouteUnnumbered {
        /// The destination.
        route: IpNet,
        /// Which protocol.
        family: &'static str,
    },
}

impl Access {
    /// Access with an unnumbered shim.
    pub fn new(network: impl Into<String>) -> Self {
        Self {
            network: network.into(),
            addresses: Vec::new(),
            routes: Vec::new(),
            interface: None,
            loosen: false,
        }
    }

    /// The same, if its parts go together.
    pub(crate) fn checked(self) -> Result<Self, AccessSpecError> {
        let like = |net: &IpNet| {
            let v4 = net.addr().is_ipv4();
            move |other: &&IpNet| other.addr().is_ipv4() == v4
        };
        for (at, address) in self.addresses.iter().enumerate() {
            if let Some(other) = self.addresses[..at].iter().find(like(address)) {
                return Err(AccessSpecError::TwoAddresses(*other, *address));
            }
        }
        if let Some(route) = self.routes.iter().find(|route| !self.addresses.iter().any(|a| like(route)(&a)))
        {
            let family = if route.addr().is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(AccessSpecError::RouteUnnumbered { route: *route, family });
        }
        if self.interface.is_some() && self.addresses.is_empty() {
            return Err(AccessSpecError::InterfaceUnnumbered);
        }
        Ok(self)
    }
}

impl AccessRequest {
    /// What it says.
    ///
    /// # Errors
    /// What of it makes no sense by itself.
    pub fn read(&self) -> Result<Access, AccessSpecError> {
        let name = self.interface.as_ref().filter(|name| !name.is_empty());
        let access = Access {
            network: network(&self.network)?,
            addresses: self.addresses.iter().map(|text| address(text)).collect::<Result<_, _>>()?,
            routes: self.routes.iter().map(|text| route(text)).collect::<Result<_, _>>()?,
            interface: name.map(|name| interface(name)).transpose()?,
            loosen: self.loosen,
        };
        access.checked()
    }
}

/// The name of a network: Docker's older engines take nearly everything, but not what its API could not be asked for.
pub(crate) fn network(text: &str) -> Result<String, AccessSpecError> {
    let sane =
        !text.trim().is_empty() && text.len() <= 255 && !text.contains(|c: char| c.is_control() || c == '/');
    if sane && !matches!(text, "." | "..") {
        Ok(text.to_owned())
    } else {
        Err(AccessSpecError::Network(cut(text)))
    }
}

/// An address of the shim's own.
pub(crate) fn address(text: &str) -> Result<IpNet, AccessSpecError> {
    let machine = |net: &IpNet| {
        let address = net.addr();
        let whole = net.prefix_len() == net.max_prefix_len();
        let end = address == net.network() || (address.is_ipv4() && address == net.broadcast());
        let short = net.max_prefix_len() - net.prefix_len() < 2;
        !(address.is_unspecified() || address.is_multicast() || address.is_loopback())
            && (whole || short || !end)
    };
    net(text).filter(machine).ok_or_else(|| AccessSpecError::Address(cut(text)))
}

/// A further destination.
pub(crate) fn route(text: &str) -> Result<IpNet, AccessSpecError> {
    let found = net(text).filter(|net| net.prefix_len() > 0);
    found.map(|net| net.trunc()).ok_or_else(|| AccessSpecError::Route(cut(text)))
}

/// A name without anything that means something in a rule of nft.
pub(crate) fn interface(text: &str) -> Result<IfName, AccessSpecError> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name = text.parse().ok().filter(|_| text.chars().all(harmless));
    name.ok_or_else(|| AccessSpecError::Interface(cut(text)))
}

fn net(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(addresses: &[&str], routes: &[&str], interface: Option<&str>) -> Result<Access, String> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let request = AccessRequest {
            network: "lan".into(),
            addresses: texts(addresses),
            routes: texts(routes),
            interface: interface.map(str::to_owned),
            loosen: false,
        };
        request.read().map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_may_lack_a_length_and_routes_keep_theirs() {
        let access =
            read(&["192.0.2.50", "2001:db8::50/64"], &["198.51.100.9/24", "203.0.113.7"], None).unwrap();
        let texts = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&access.addresses), ["192.0.2.50/32", "2001:db8::50/64"]);
        assert_eq!(texts(&access.routes), ["198.51.100.0/24", "203.0.113.7/32"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_a_sentence() {
        for address in ["", "192.0.2.50/33", "192.0.2.0/24", "192.0.2.255/24", "224.0.0.1", "0.0.0.0", "lan"]
        {
            assert!(
                read(&[address], &[], None).unwrap_err().contains("is not an address of a machine"),
                "{address}"
            );
        }
        assert!(
            read(&["192.0.2.50", "192.0.2.51"], &[], None)
                .unwrap_err()
                .contains("are both for the interface")
        );
        assert!(
            read(&["192.0.2.50"], &["198.51.100.0/99"], None)
                .unwrap_err()
                .contains("is not an address or a network")
        );
        assert!(read(&["192.0.2.50"], &["0.0.0.0/0"], None).is_err());
        assert!(read(&[], &["198.51.100.0/24"], None).unwrap_err().contains("give it an ip"));
        assert!(
            read(&["192.0.2.50"], &["2001:db8:9::/64"], None)
                .unwrap_err()
                .contains("IPv6 address of its own")
        );
        assert!(read(&["192.0.2.50"], &[], Some("x\"accept")).unwrap_err().contains("at most 15"));
        assert!(read(&["192.0.2.50"], &[], Some("far too long a name")).unwrap_err().contains("at most 15"));
        assert!(read(&[], &[], Some("lan0")).unwrap_err().contains("leave out the interface's name"));
    }

    #[test]
    fn names_that_no_network_has_are_refused() {
        for name in ["", " ", "..", "a/b", "../../etc", "a\nb", &"n".repeat(10_000)] {
            let error =
                AccessRequest { network: name.into(), ..AccessRequest::default() }.read().unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("cannot be the name") && text.len() < 300 && !text.contains('\n'),
                "{text}"
            );
        }
    }
}
