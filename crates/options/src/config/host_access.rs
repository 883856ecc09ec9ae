//! Networks the host is to reach.

use std::collections::BTreeMap;

use ipnet::IpNet;
use landline_types::IfName;
use serde::Deserialize;

use crate::access::{self, Access, AccessSpecError};

/// A network's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(String);

/// `[host_access.NETWORK]`: as `landline host-access enable` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Table")]
pub(super) struct Reached(Access);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Table {
    ip: Vec<Address>,
    routes: Vec<Route>,
    interface: Option<Interface>,
    loosen_rp_filter: bool,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Address(IpNet);

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Route(IpNet);

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Interface(IfName);

impl TryFrom<String> for Name {
    type Error = AccessSpecError;

    fn try_from(text: String) -> Result<Self, AccessSpecError> {
        access::network(&text).map(Self)
    }
}

impl TryFrom<String> for Address {
    type Error = AccessSpecError;

    fn try_from(text: String) -> Result<Self, AccessSpecError> {
        access::address(&text).map(Self)
    }
}

impl TryFrom<String> for Route {
    type Error = AccessSpecError;

    fn try_from(text: String) -> Result<Self, AccessSpecError> {
        access::route(&text).map(Self)
    }
}

impl TryFrom<String> for Interface {
    type Error = AccessSpecError;

    fn try_from(text: String) -> Result<Self, AccessSpecError> {
        access::interface(&text).map(Self)
    }
}

impl TryFrom<Table> for Reached {
    type Error = AccessSpecError;

    fn try_from(table: Table) -> Result<Self, AccessSpecError> {
        let access = Access {
            network: String::new(),
            addresses: table.ip.into_iter().map(|address| address.0).collect(),
            routes: table.routes.into_iter().map(|route| route.0).collect(),
            interface: table.interface.map(|interface| interface.0),
            loosen: table.loosen_rp_filter,
        };
        access.checked().map(Self)
    }
}

/// All of them, each with its name.
pub(super) fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Access>, D::Error> {
    let tables = BTreeMap::<Name, Reached>::deserialize(deserializer)?;
    Ok(tables.into_iter().map(|(name, reached)| Access { network: name.0, ..reached.0 }).collect())
}

#[cfg(test)]
mod tests {
    use super::super::ConfigFile;
    use super::super::tests::refused_at;

    #[test]
    fn networks_the_host_is_to_reach() {
        let file = ConfigFile::parse(
            "[host_access.lan]\n[host_access.\"far net\"]\nip = [\"192.0.2.50\", \"2001:db8::50/64\"]\n\
             routes = [\"198.51.100.7/24\"]\ninterface = \"lan0\"\nloosen_rp_filter = true\n",
        );
        let networks = file.unwrap().host_access;
        assert_eq!(networks.len(), 2);
        assert_eq!((networks[0].network.as_str(), networks[0].addresses.len()), ("far net", 2));
        assert_eq!(networks[0].routes[0].to_string(), "198.51.100.0/24");
        assert!(networks[0].loosen && !networks[1].loosen);
        assert_eq!(networks[1], super::Access::new("lan"));
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        for (text, line, column, part) in [
            ("[host_access.lan]\nipp = []", 2, 1, "unknown field `ipp`"),
            ("[host_access.lan]\nip = [\"192.0.2.50\", \"192.0.2\"]", 2, 6, "is not an address of a machine"),
            ("[host_access.lan]\nip = \"192.0.2.50\"", 2, 6, "a sequence"),
            ("[host_access.lan]\nroutes = [\"198.51.100.0/99\"]", 2, 10, "is not an address or a network"),
            ("[host_access.lan]\ninterface = \"../../x\"", 2, 13, "cannot be the name of an interface"),
            ("\n[host_access.lan]\nroutes = [\"198.51.100.0/24\"]", 2, 1, "address of its own"),
            ("[host_access]\n\"a/b\" = {}", 2, 1, "cannot be the name of a Docker network"),
            ("[host_access.\"a\\nb\"]\n", 1, 14, "cannot be the name of a Docker network"),
            ("[host_access.lan]\n[host_access.lan]\n", 2, 14, "duplicate key"),
        ] {
            refused_at(text, (line, column), part);
        }
    }
}
