//! Messages of the IPAM driver (`libnetwork/ipams/remote/api`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::fields::{Options, nullable, scalar, text};

/// What Docker puts the gateway under, in an answer about a pool and as the purpose of an address.
const GATEWAY: &str = "com.docker.network.gateway";

/// The answer to `GetCapabilities`.
#[derive(Debug, Serialize)]
pub(crate) struct IpamCapabilities {
    /// With `true` Docker invents a hardware address for whoever was given none, at every start.
    #[serde(rename = "RequiresMACAddress")]
    requires_mac: bool,
    /// Whether Docker must repeat everything when it starts. What was answered is stored.
    #[serde(rename = "RequiresRequestReplay")]
    requires_replay: bool,
}

impl IpamCapabilities {
    pub(crate) const OURS: Self = Self { requires_mac: false, requires_replay: false };
}

/// The answer to `GetDefaultAddressSpaces`: all pools are in one, and may overlap.
#[derive(Debug, Serialize)]
pub(crate) struct AddressSpaces {
    #[serde(rename = "LocalDefaultAddressSpace")]
    local: &'static str,
    #[serde(rename = "GlobalDefaultAddressSpace")]
    global: &'static str,
}

impl AddressSpaces {
    pub(crate) const NAME: &str = "landline";
    pub(crate) const OURS: Self = Self { local: Self::NAME, global: Self::NAME };
}

/// A network that is about to be created wants a pool, one for IPv4 and one for IPv6.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PoolRequest {
    /// `--subnet`.
    #[serde(default, deserialize_with = "text")]
    pub pool: Option<IpNet>,
    /// `--ip-range`.
    #[serde(default, deserialize_with = "text")]
    pub sub_pool: Option<IpNet>,
    /// Whether it is one for IPv6.
    #[serde(default, deserialize_with = "nullable")]
    pub v6: bool,
    #[serde(default, deserialize_with = "nullable")]
    options: Options,
}

impl PoolRequest {
    /// What the user gave with `--ipam-opt name=value` (Compose: `ipam.options`).
    pub fn user_options(&self) -> BTreeMap<String, String> {
        let text = self.options.iter().filter_map(|(name, value)| Some((name.clone(), scalar(value)?)));
        text.collect()
    }
}

/// The answer to `RequestPool`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAnswer {
    /// What the pool is called from now on.
    pub id: String,
    /// The subnet.
    pub subnet: IpNet,
}

impl PoolAnswer {
    pub(crate) fn to_json(&self) -> serde_json::Value {
        // Docker asks for a gateway's address unless it has one. That of nobody keeps it from asking, unless its user
        // named one.
        let nobody = match self.subnet {
            IpNet::V4(_) => "0.0.0.0/0",
            IpNet::V6(_) => "::/0",
        };
        serde_json::json!({ "PoolID": self.id, "Pool": self.subnet, "Data": { GATEWAY: nobody } })
    }
}

/// A request that names a pool and nothing else.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct ReleasePoolRequest {
    #[serde(rename = "PoolID")]
    pub(crate) pool: String,
}

/// Somebody wants an address.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddressRequest {
    /// The pool it is from.
    #[serde(rename = "PoolID")]
    pub pool: String,
    /// The address that was named (`--ip`, `--gateway`, `--aux-address`).
    #[serde(default, deserialize_with = "text")]
    pub address: Option<IpAddr>,
    #[serde(default, deserialize_with = "nullable")]
    options: Options,
}

impl AddressRequest {
    /// Whether it is the network's gateway's, and not one to be used.
    pub fn is_gateway(&self) -> bool {
        self.option("RequestAddressType") == Some(GATEWAY)
    }

    /// The endpoint's name, which is its container's. Engines say it from 29.0.
    pub fn endpoint_name(&self) -> Option<&str> {
        self.option("com.docker.network.endpoint.name")
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name)?.as_str().filter(|text| !text.is_empty())
    }
}

/// The answer to `RequestAddress`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AddressResponse {
    pub(crate) address: IpNet,
}

/// An address is not needed any more.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReleaseAddressRequest {
    /// The pool it is from.
    #[serde(rename = "PoolID")]
    pub pool: String,
    /// The address.
    #[serde(default, deserialize_with = "text")]
    pub address: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_engines_send() {
        let pool = json!({"AddressSpace": "landline", "Pool": "192.0.2.0/24", "SubPool": "192.0.2.64/26",
            "Options": {"addressing": "pool", "n": 1, "list": []}, "V6": false});
        let pool: PoolRequest = serde_json::from_value(pool).unwrap();
        assert_eq!(pool.pool.unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(
            pool.user_options(),
            [("addressing", "pool"), ("n", "1")].map(|(k, v)| (k.into(), v.into())).into()
        );
        let empty: PoolRequest =
            serde_json::from_value(json!({"Pool": "", "SubPool": "", "Options": null})).unwrap();
        assert_eq!((empty.pool, empty.sub_pool, empty.v6), (None, None, false));

        let gateway =
            json!({"PoolID": "p", "Address": "192.0.2.1", "Options": {"RequestAddressType": GATEWAY}});
        let gateway: AddressRequest = serde_json::from_value(gateway).unwrap();
        assert!(gateway.is_gateway() && gateway.endpoint_name().is_none());
        let endpoint =
            json!({"PoolID": "p", "Address": "", "Options": {"com.docker.network.endpoint.name": "web"}});
        let endpoint: AddressRequest = serde_json::from_value(endpoint).unwrap();
        assert_eq!((endpoint.is_gateway(), endpoint.address), (false, None));
        assert_eq!(endpoint.endpoint_name(), Some("web"));
        assert!(serde_json::from_value::<AddressRequest>(json!({"PoolID": "p", "Address": "x"})).is_err());
        assert!(serde_json::from_value::<ReleaseAddressRequest>(json!({"Address": "192.0.2.1"})).is_err());
    }

    #[test]
    fn writes_pools_as_docker_reads_them() {
        let answer = |subnet: &str| PoolAnswer { id: "p".into(), subnet: subnet.parse().unwrap() }.to_json();
        assert_eq!(
            answer("192.0.2.0/24"),
            json!({"PoolID": "p", "Pool": "192.0.2.0/24", "Data": {GATEWAY: "0.0.0.0/0"}})
        );
        assert_eq!(answer("2001:db8::/64")["Data"][GATEWAY], "::/0");
    }
}
