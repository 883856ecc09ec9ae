//! CHECK: whether an interface is as ADD said.

use ipnet::IpNet;
use landline_model::RuntimeInterface;
use landline_types::Shown;
use serde_json::{Map, Value};

/// What is different now from the result of ADD; `None`: nothing that counts.
pub fn difference(previous: &Map<String, Value>, interface: &RuntimeInterface) -> Option<String> {
    let list = |name: &str| previous.get(name).and_then(Value::as_array).into_iter().flatten();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_inside = |one: &Value| text(one, "sandbox").is_some_and(|sandbox| !sandbox.is_empty());
    let is_it = |one: &Value| text(one, "name").as_deref() == Some(interface.name.as_str()) && is_inside(one);
    let Some((index, made)) = list("interfaces").enumerate().find(|(_, one)| is_it(one)) else {
        return Some(format!("prevResult has no interface {}", interface.name));
    };
    let mac = text(made, "mac").filter(|mac| !mac.is_empty());
    let now = interface.mac.map(|mac| mac.to_string());
    if let Some(mac) = mac.filter(|mac| !now.as_deref().is_some_and(|now| now.eq_ignore_ascii_case(mac))) {
        return Some(format!("{} has another hardware address than {:.64}", interface.name, Shown(mac)));
    }
    let of_it = |ip: &&Value| ip.get("interface").and_then(Value::as_u64) == u64::try_from(index).ok();
    let addresses = list("ips").filter(of_it).filter_map(|ip| text(ip, "address"));
    let has = |address: &str| address.parse::<IpNet>().is_ok_and(|net| interface.addresses.contains(&net));
    let lost: Vec<String> = addresses.filter(|address| !has(address)).collect();
    let lost = lost.first()?;
    Some(format!("{} does not have the address {:.64} any more", interface.name, Shown(lost)))
}
