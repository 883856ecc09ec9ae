//! Messages about endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use landline_options::{EndpointId, NetworkId};
use landline_types::{IfName, Mac};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::fields::{Options, nullable, text, write_text};

/// A request that names an endpoint and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EndpointRequest {
    /// The network it is on.
    #[serde(rename = "NetworkID")]
    pub network: NetworkId,
    /// The endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: EndpointId,
}

/// The addresses of an endpoint: in a request those that Docker or the user chose, in an answer those that we chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointInterface {
    /// IPv4 address and prefix length.
    #[serde(deserialize_with = "text", serialize_with = "write_text")]
    pub address: Option<Ipv4Net>,
    /// IPv6 address and prefix length.
    #[serde(rename = "AddressIPv6", deserialize_with = "text", serialize_with = "write_text")]
    pub address_ipv6: Option<Ipv6Net>,
    /// Hardware address.
    #[serde(rename = "MacAddress", deserialize_with = "text", serialize_with = "write_text")]
    pub mac: Option<Mac>,
}

impl EndpointInterface {
    /// Without what `request` has already: Docker refuses an answer that gives it again.
    #[must_use]
    pub(crate) fn beyond(self, request: &Self) -> Self {
        Self {
            address: self.address.filter(|_| request.address.is_none()),
            address_ipv6: self.address_ipv6.filter(|_| request.address_ipv6.is_none()),
            mac: self.mac.filter(|_| request.mac.is_none()),
        }
    }
}

/// A container is about to get an interface.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateEndpointRequest {
    /// The network it is on.
    #[serde(rename = "NetworkID")]
    pub network: NetworkId,
    /// The endpoint. New at every start; which container it is for is not said.
    #[serde(rename = "EndpointID")]
    pub endpoint: EndpointId,
    /// The addresses that are decided already.
    #[serde(default, deserialize_with = "nullable")]
    pub interface: EndpointInterface,
    #[serde(default, deserialize_with = "nullable")]
    options: Options,
}

impl CreateEndpointRequest {
    /// The ports the container exposes or publishes: IP protocol number and port.
    pub fn ports(&self) -> BTreeSet<(u8, u16)> {
        // Lists of `{"Proto": 6, "Port": 80, …}`.
        let lists = ["com.docker.network.endpoint.exposedports", "com.docker.network.portmap"];
        let entries = lists.iter().filter_map(|name| self.options.get(*name)?.as_array()).flatten();
        entries
            .filter_map(|entry| {
                let number = |name: &str| entry.get(name)?.as_u64();
                Some((number("Proto")?.try_into().ok()?, number("Port")?.try_into().ok()?))
            })
            .collect()
    }

    /// The ports that are published (`-p`), each with where.
    pub fn published(&self) -> Vec<PublishedPort> {
        let list = self.options.get("com.docker.network.portmap").and_then(|list| list.as_array());
        let entries = list.into_iter().flatten().filter_map(|entry| {
            let number = |name: &str| entry.get(name)?.as_u64();
            let port = |name| u16::try_from(number(name)?).ok().filter(|port| *port != 0);
            let address = entry.get("HostIP").and_then(|text| text.as_str()?.parse().ok());
            Some(PublishedPort {
                protocol: number("Proto")?.try_into().ok()?,
                port: port("Port")?,
                host_port: port("HostPort"),
                host_address: address,
            })
        });
        entries.collect()
    }

    /// Those options whose values are text: the user's (`--network name=N,driver-opt=K=V`) and some of Docker's.
    pub fn text_options(&self) -> BTreeMap<String, String> {
        let text = self.options.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
        text.map(|(name, value)| (name.clone(), value.to_owned())).collect()
    }
}

/// A port that is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    /// IP protocol number.
    pub protocol: u8,
    /// The container's port.
    pub port: u16,
    /// The host's port; `None`: any. Of a range the first.
    pub host_port: Option<u16>,
    /// The host's address; `None`: any.
    pub host_address: Option<IpAddr>,
}

/// The answer to `CreateEndpoint`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateEndpointResponse {
    pub(crate) interface: EndpointInterface,
}

/// The answer to `EndpointOperInfo`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EndpointInfoResponse {
    pub(crate) value: BTreeMap<String, String>,
}

/// An endpoint is about to be put into a sandbox.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JoinRequest {
    /// The network it is on.
    #[serde(rename = "NetworkID")]
    pub network: NetworkId,
    /// The endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: EndpointId,
    /// Where the sandbox's namespace is bound in the file system, an absolute path. Before engine 28 it may not
    /// exist yet.
    #[serde(rename = "SandboxKey", default, deserialize_with = "sandbox_key")]
    pub sandbox: Option<PathBuf>,
}

/// An absolute path without detours, or nothing.
fn sandbox_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let Some(key) = text::<String, D>(deserializer)? else { return Ok(None) };
    let straight = key.starts_with('/') && key.len() < 4096 && !key.contains('\0');
    if straight && key.split('/').all(|part| part != "..") {
        Ok(Some(key.into()))
    } else {
        Err(D::Error::custom("SandboxKey is not an absolute path"))
    }
}

/// How Docker is to put the link into the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct JoinResponse {
    /// The link; without one Docker moves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_name: Option<InterfaceName>,
    /// The IPv4 default gateway. The unspecified address is written as none: engine 29 would look for a route to it.
    #[serde(serialize_with = "write_gateway")]
    pub gateway: Option<Ipv4Addr>,
    /// The IPv6 default gateway, likewise.
    #[serde(rename = "GatewayIPv6", serialize_with = "write_gateway")]
    pub gateway_ipv6: Option<Ipv6Addr>,
    /// Other routes.
    pub static_routes: Vec<StaticRoute>,
    /// Whether Docker must not make up a gateway where there is none (it would add an interface on
    /// `docker_gwbridge`).
    pub disable_gateway_service: bool,
}

// serde passes the field by reference.
#[allow(clippy::ref_option)]
fn write_gateway<T: Into<IpAddr> + Copy, S: Serializer>(
    gateway: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    write_text(&gateway.map(Into::into).filter(|gateway| !gateway.is_unspecified()), serializer)
}

/// What the link is called, here and there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InterfaceName {
    /// Its name on the host.
    #[serde(rename = "SrcName")]
    pub source: IfName,
    /// What its name in the container begins with; Docker adds a number.
    #[serde(rename = "DstPrefix")]
    pub prefix: String,
    /// Its whole name in the container, which engines from 29.8 heed and others ignore.
    #[serde(rename = "DstName", skip_serializing_if = "Option::is_none")]
    pub name: Option<IfName>,
}

/// A route in the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticRoute {
    /// Where to.
    pub destination: IpNet,
    /// Through whom; `None`: it is directly on the link.
    pub next_hop: Option<IpAddr>,
}

impl Serialize for StaticRoute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut route = serializer.serialize_struct("StaticRoute", 3)?;
        route.serialize_field("Destination", &self.destination)?;
        // 0: there is a next hop; 1: directly connected (libnetwork/types, `NEXTHOP` and `CONNECTED`).
        route.serialize_field("RouteType", &u8::from(self.next_hop.is_none()))?;
        match self.next_hop {
            Some(hop) => route.serialize_field("NextHop", &hop)?,
            None => route.serialize_field("NextHop", "")?,
        }
        route.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn create(json: serde_json::Value) -> Result<CreateEndpointRequest, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn reads_what_an_engine_sends() {
        let request = create(json!({
            "NetworkID": "n1", "EndpointID": "e1",
            "Interface": {"Address": "", "AddressIPv6": "", "MacAddress": "02:42:C0:00:02:0A"},
            "Options": {"com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": null,
                        "landline.id": "web", "n": 1},
        }))
        .unwrap();
        assert_eq!(request.interface.mac, Some(Mac::new([2, 0x42, 0xc0, 0, 2, 0x0a])));
        assert_eq!(request.interface.address, None);
        assert_eq!(request.text_options(), BTreeMap::from([("landline.id".to_owned(), "web".to_owned())]));
    }

    #[test]
    fn published_ports_say_where() {
        let request = create(json!({
            "NetworkID": "n1", "EndpointID": "e1",
            "Options": {"com.docker.network.portmap": [
                {"Proto": 6, "IP": "", "Port": 80, "HostIP": "192.0.2.117", "HostPort": 8080, "HostPortEnd": 8080},
                {"Proto": 17, "IP": null, "Port": 53, "HostIP": "", "HostPort": 0, "HostPortEnd": 0},
                {"Proto": 6, "Port": 0}, {"Port": 1}, 7,
            ]},
        }))
        .unwrap();
        let port = |protocol, port, host_port, address: Option<&str>| PublishedPort {
            protocol,
            port,
            host_port,
            host_address: address.map(|text| text.parse().unwrap()),
        };
        assert_eq!(
            request.published(),
            [port(6, 80, Some(8080), Some("192.0.2.117")), port(17, 53, None, None)]
        );
    }

    #[test]
    fn null_and_missing_are_nothing() {
        for rest in
            [json!({}), json!({"Interface": null, "Options": null}), json!({"Interface": {"Address": null}})]
        {
            let mut request = json!({"NetworkID": "n1", "EndpointID": "e1"});
            request.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            assert_eq!(create(request).unwrap().interface, EndpointInterface::default());
        }
    }

    #[test]
    fn malformed_addresses_are_errors_that_show_them() {
        for (field, value) in
            [("Address", "192.0.2.1/33"), ("AddressIPv6", "192.0.2.1/24"), ("MacAddress", "02:42")]
        {
            let request = json!({"NetworkID": "n1", "EndpointID": "e1", "Interface": {field: value}});
            let error = create(request).unwrap_err().to_string();
            assert!(error.contains(value), "{error}");
        }
    }

    #[test]
    fn an_answer_never_repeats_the_request() {
        let mac = Mac::new([2, 0, 0, 0, 0, 1]);
        let ours =
            EndpointInterface { address: "192.0.2.9/24".parse().ok(), address_ipv6: None, mac: Some(mac) };
        let given = EndpointInterface { mac: Some(Mac::new([2; 6])), ..EndpointInterface::default() };
        let answer = CreateEndpointResponse { interface: ours.beyond(&given) };
        assert_eq!(
            serde_json::to_value(&answer).unwrap(),
            json!({"Interface": {"Address": "192.0.2.9/24", "AddressIPv6": "", "MacAddress": ""}})
        );
    }

    #[test]
    fn sandbox_keys_are_absolute_paths() {
        let join = |key: serde_json::Value| {
            let request = json!({"NetworkID": "n1", "EndpointID": "e1", "SandboxKey": key, "Options": {}});
            serde_json::from_value::<JoinRequest>(request).map(|request| request.sandbox)
        };
        let key = "/var/run/docker/netns/0123456789ab";
        assert_eq!(join(json!(key)).unwrap(), Some(key.into()));
        assert_eq!(join(json!("")).unwrap(), None);
        assert_eq!(join(json!(null)).unwrap(), None);
        for bad in ["netns/x", "/var/run/../../etc", "/a\0b", "/".repeat(5000).as_str()] {
            assert!(join(json!(bad)).is_err());
        }
    }

    #[test]
    fn an_unspecified_gateway_is_never_written() {
        let answer = JoinResponse {
            gateway: Some(Ipv4Addr::UNSPECIFIED),
            gateway_ipv6: Some(Ipv6Addr::UNSPECIFIED),
            ..JoinResponse::default()
        };
        let answer = serde_json::to_value(&answer).unwrap();
        assert_eq!((&answer["Gateway"], &answer["GatewayIPv6"]), (&json!(""), &json!("")));
    }

    #[test]
    fn writes_joins_as_docker_reads_them() {
        let answer = JoinResponse {
            interface_name: Some(InterfaceName {
                source: "llcabc".parse().unwrap(),
                prefix: "eth".into(),
                name: None,
            }),
            gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
            static_routes: vec![
                StaticRoute {
                    destination: "198.51.100.0/24".parse().unwrap(),
                    next_hop: "192.0.2.2".parse().ok(),
                },
                StaticRoute { destination: "203.0.113.0/24".parse().unwrap(), next_hop: None },
            ],
            ..JoinResponse::default()
        };
        assert_eq!(
            serde_json::to_value(&answer).unwrap(),
            json!({
                "InterfaceName": {"SrcName": "llcabc", "DstPrefix": "eth"},
                "Gateway": "192.0.2.1", "GatewayIPv6": "", "DisableGatewayService": false,
                "StaticRoutes": [
                    {"Destination": "198.51.100.0/24", "RouteType": 0, "NextHop": "192.0.2.2"},
                    {"Destination": "203.0.113.0/24", "RouteType": 1, "NextHop": ""},
                ],
            })
        );
    }
}
