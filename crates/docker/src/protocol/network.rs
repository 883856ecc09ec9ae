//! Messages about the plugin and its networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use landline_options::NetworkId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ipam::AddressSpaces;
use crate::fields::{Options, nullable, scalar, text};

/// Where the user's `-o name=value` options are.
const GENERIC: &str = "com.docker.network.generic";

/// Why Docker's options cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The user's network options are not a map.
    #[error("Docker sent network options that are no names with values")]
    NotAMap,
    /// The value of one of them is not text.
    #[error("the value of option {0:?} is not text; put it in quotes")]
    NotText(String),
}

/// The answer to `Plugin.Activate`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Activation {
    pub(crate) implements: &'static [&'static str],
}

impl Activation {
    pub(crate) const BOTH: Self = Self { implements: &["NetworkDriver", "IpamDriver"] };
    pub(crate) const IPAM: Self = Self { implements: &["IpamDriver"] };
}

/// The answer to `GetCapabilities`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Capabilities {
    /// Where a network exists: on one host.
    pub(crate) scope: &'static str,
    /// What it connects: other hosts too.
    pub(crate) connectivity_scope: &'static str,
    /// Whether there is anything to ask `GwAllocCheck` for.
    pub(crate) gw_alloc_checker: bool,
}

impl Capabilities {
    pub(crate) const OURS: Self =
        Self { scope: "local", connectivity_scope: "global", gw_alloc_checker: false };
}

/// The answer to `GwAllocCheck`, which engines from 28.0 ask drivers that say they have one: which gateway
/// addresses Docker's IPAM need not set aside. It sets both aside.
#[derive(Debug, Serialize)]
pub(crate) struct GatewayAllocation {
    #[serde(rename = "SkipIPv4")]
    skip_ipv4: bool,
    #[serde(rename = "SkipIPv6")]
    skip_ipv6: bool,
}

impl GatewayAllocation {
    pub(crate) const OURS: Self = Self { skip_ipv4: false, skip_ipv6: false };
}

/// `docker network create`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateNetworkRequest {
    /// Docker's id for it. Its name does not come with the request.
    #[serde(rename = "NetworkID")]
    pub network: NetworkId,
    #[serde(default, deserialize_with = "nullable")]
    options: Options,
    /// The IPv4 pools of Docker's IPAM.
    #[serde(rename = "IPv4Data", default, deserialize_with = "nullable")]
    pub ipv4: Vec<IpamData>,
    /// The IPv6 pools of Docker's IPAM.
    #[serde(rename = "IPv6Data", default, deserialize_with = "nullable")]
    pub ipv6: Vec<IpamData>,
}

impl CreateNetworkRequest {
    /// What the user gave with `-o name=value` (Compose: `driver_opts`).
    pub fn user_options(&self) -> Result<BTreeMap<String, String>, OptionsError> {
        user_options(&self.options)
    }

    /// Whether the user gave `--ipv6`.
    pub fn wants_ipv6(&self) -> bool {
        self.flag("com.docker.network.enable_ipv6")
    }

    /// Whether the user gave `--internal`.
    pub fn is_internal(&self) -> bool {
        self.flag("com.docker.network.internal")
    }

    fn flag(&self, name: &str) -> bool {
        match self.options.get(name) {
            Some(Value::Bool(on)) => *on,
            Some(Value::String(text)) => text == "true",
            _ => false,
        }
    }
}

/// One pool of Docker's IPAM.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamData {
    /// Who keeps the pool: `null` for `--ipam-driver null`, `LocalDefault` for Docker's own, `landline` for ours.
    #[serde(default, deserialize_with = "nullable")]
    pub address_space: String,
    /// The pool. `--ipam-driver null` says 0.0.0.0/0.
    #[serde(default, deserialize_with = "text")]
    pub pool: Option<IpNet>,
    /// The gateway's address and prefix length, if one was set aside.
    #[serde(default, deserialize_with = "text")]
    pub gateway: Option<IpNet>,
    /// Addresses set aside by name (`--aux-address`), as text.
    #[serde(default, deserialize_with = "nullable")]
    pub aux_addresses: BTreeMap<String, String>,
}

impl IpamData {
    /// Whether this is the absence of a pool: Docker's IPAM gives no addresses (`--ipam-driver null`).
    pub fn is_null(&self) -> bool {
        !self.is_ours() && self.pool.is_none_or(|pool| pool.prefix_len() == 0)
    }

    /// Whether the pool is of Landline's own IPAM driver.
    pub fn is_ours(&self) -> bool {
        self.address_space == AddressSpaces::NAME
    }

    /// The gateway, unless it is the nobody whom our own IPAM driver names.
    pub fn gateway_address(&self) -> Option<IpAddr> {
        self.gateway.map(|net| net.addr()).filter(|address| !address.is_unspecified())
    }
}

/// `docker network rm`: a request that names a network and nothing else.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct NetworkRequest {
    #[serde(rename = "NetworkID")]
    pub(crate) network: NetworkId,
}

fn user_options(options: &Options) -> Result<BTreeMap<String, String>, OptionsError> {
    match options.get(GENERIC) {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, value)| {
                let value =
                    scalar(value).ok_or_else(|| OptionsError::NotText(name.chars().take(64).collect()))?;
                Ok((name.clone(), value))
            })
            .collect(),
        Some(_) => Err(OptionsError::NotAMap),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Result<CreateNetworkRequest, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn reads_what_an_engine_sends() {
        let request = request(
            r#"{"NetworkID":"n1","Options":{"com.docker.network.enable_ipv4":true,"com.docker.network.enable_ipv6":false,
            "com.docker.network.generic":{"bridge":"br0","mtu":1400,"empty":null}},
            "IPv4Data":[{"AddressSpace":"null","Pool":"0.0.0.0/0"}],"IPv6Data":null,"OfALaterEngine":[1]}"#,
        )
        .unwrap();
        let expected = [("bridge", "br0"), ("empty", ""), ("mtu", "1400")];
        let expected = expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        assert_eq!(request.user_options(), Ok(expected));
        assert!(!request.wants_ipv6() && !request.is_internal());
        assert!(request.ipv4[0].is_null());
        assert!(request.ipv6.is_empty());
    }

    #[test]
    fn reads_a_pool() {
        let request = request(
            r#"{"NetworkID":"n1","Options":{"com.docker.network.internal":true},"IPv4Data":[{"AddressSpace":"LocalDefault",
            "Pool":"192.0.2.0/24","Gateway":"192.0.2.1/24","AuxAddresses":{"nas":"192.0.2.5/24"}}]}"#,
        )
        .unwrap();
        let pool = &request.ipv4[0];
        assert!(!pool.is_null());
        assert_eq!(pool.gateway.unwrap().to_string(), "192.0.2.1/24");
        assert!(request.is_internal());
        assert!(request.user_options().unwrap().is_empty());
    }

    #[test]
    fn everything_but_the_id_may_be_missing() {
        assert!(request(r#"{"NetworkID":"n1"}"#).is_ok());
        assert!(request(r#"{"NetworkID":"n1","Options":null,"IPv4Data":[{}]}"#).is_ok());
        for json in
            ["{}", r#"{"NetworkID":null}"#, r#"{"NetworkID":""}"#, r#"{"NetworkID":"../x"}"#, "[]", "null"]
        {
            assert!(request(json).is_err(), "{json}");
        }
    }

    #[test]
    fn options_that_are_not_text_are_errors() {
        let options = |generic: &str| {
            let json =
                format!(r#"{{"NetworkID":"n1","Options":{{"com.docker.network.generic":{generic}}}}}"#);
            request(&json).unwrap().user_options()
        };
        assert_eq!(options("[]"), Err(OptionsError::NotAMap));
        assert_eq!(options(r#"{"mode":{}}"#), Err(OptionsError::NotText("mode".into())));
        assert_eq!(options("null"), Ok(BTreeMap::new()));
    }
}
