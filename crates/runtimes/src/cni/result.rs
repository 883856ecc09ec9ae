//! The result of ADD.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use landline_model::RuntimeInterface;
use serde_json::{Map, Value, json};

use super::Version;

/// What ADD answers: what earlier plugins of the list made, and this interface.
pub fn result(
    version: Version,
    previous: Option<Map<String, Value>>,
    interface: &RuntimeInterface,
    netns: &Path,
    dns: Option<Value>,
) -> Value {
    let mut result = previous.unwrap_or_default();
    result.insert("cniVersion".into(), version.as_str().into());
    let mut own = json!({ "name": interface.name, "sandbox": netns });
    if let Some(mac) = interface.mac {
        own["mac"] = mac.to_string().into();
    }
    if version >= Version::V1_1_0 {
        own["mtu"] = interface.mtu.into();
    }
    let interfaces = list(&mut result, "interfaces");
    let index = interfaces.len();
    interfaces.push(own);
    let ips = list(&mut result, "ips");
    ips.extend(interface.addresses.iter().map(|address| ip(version, index, interface, address)));
    let routes = list(&mut result, "routes");
    routes.extend(interface.routes.iter().map(|(to, router)| match router {
        Some(router) => json!({ "dst": to, "gw": router }),
        None => json!({ "dst": to }),
    }));
    let has_names = |dns: &Value| dns.as_object().is_some_and(|dns| !dns.is_empty());
    if !result.get("dns").is_some_and(has_names) {
        result.insert("dns".into(), dns.unwrap_or_else(|| of_lan(interface)));
    }
    Value::Object(result)
}

fn ip(version: Version, index: usize, interface: &RuntimeInterface, address: &IpNet) -> Value {
    let mut ip = json!({ "interface": index, "address": address });
    if version < Version::V1_0_0 {
        ip["version"] = if address.addr().is_ipv4() { "4" } else { "6" }.into();
    }
    if let Some(gateway) = interface.gateway(address) {
        ip["gateway"] = gateway.to_string().into();
    }
    ip
}

/// The names that the LAN hands out.
fn of_lan(interface: &RuntimeInterface) -> Value {
    let mut dns = Map::new();
    if !interface.dns.is_empty() {
        let written = |server: &IpAddr| match server {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => format!("{v6}%{}", interface.name),
            server => server.to_string(),
        };
        dns.insert("nameservers".into(), interface.dns.iter().map(written).collect());
    }
    if !interface.search.is_empty() {
        dns.insert("search".into(), interface.search.iter().map(String::as_str).collect());
    }
    Value::Object(dns)
}

/// The list of this name in a result. What is there and no list is replaced.
fn list<'a>(result: &'a mut Map<String, Value>, name: &str) -> &'a mut Vec<Value> {
    let value = result.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!("it was made one"),
    }
}
