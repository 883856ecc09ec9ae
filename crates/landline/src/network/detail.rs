//! `landline network inspect`.

use landline_engine::EndpointView;
use landline_options::NetworkOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{NetworkRow, in_docker};
use crate::cli::InspectOptions;
use crate::control::{Answer, Context, Request, call};
use crate::ls::span;
use crate::output::{CommandError, dash, show};

/// A network, with its options and its containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NetworkDetail {
    #[serde(flatten)]
    row: NetworkRow,
    /// Its options.
    options: NetworkOptions,
    /// Its endpoints.
    endpoints: Vec<EndpointView>,
}

/// Prints it.
pub(super) async fn inspect(options: &InspectOptions) -> Result<(), CommandError> {
    let request = Request::InspectNetwork { network: options.target.clone() };
    match call(&options.control.control_socket, &request).await? {
        Answer::Network(detail) => show(&*detail, options.json, text),
        _ => Err(CommandError::Unexpected),
    }
}

/// The daemon's side.
pub(crate) async fn detail(context: &Context, called: &str) -> Answer {
    let engine = &context.parts.engine;
    let id = match engine.find_network(called) {
        Ok(id) => id,
        Err(error) => return Answer::NotFound(landline_types::chain(&error)),
    };
    let row = context.lost.rows().into_iter().find(|row| row.network.id == id.as_str());
    let options = engine.networks().get(&id).map(|network| network.options.clone());
    let (Some(row), Some(options)) = (row, options) else {
        return Answer::NotFound(format!("network {called} is gone"));
    };
    let mut endpoints = engine.endpoint_views().await;
    endpoints.retain(|endpoint| endpoint.network_id == id.as_str());
    Answer::Network(Box::new(NetworkDetail { row, options, endpoints }))
}

fn text(detail: &NetworkDetail) -> String {
    let NetworkDetail { row, options, endpoints } = detail;
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(format!("{name:<24}{value}"));
    line("network", row.network.name.clone().unwrap_or_else(dash));
    line("id", row.network.id.clone());
    line("mode", row.network.mode.clone());
    line("parent", row.network.parent.to_string());
    line("in docker", in_docker(row));
    for (name, value) in chosen(options) {
        line(&format!("option {name}"), value);
    }
    for endpoint in endpoints {
        let name = endpoint.container.clone().unwrap_or_else(|| endpoint.endpoint.clone());
        let address = endpoint.address.map_or_else(dash, |address| address.to_string());
        line("container", format!("{name} {address} {}", endpoint.state));
    }
    lines.join("\n")
}

/// The options that are not as they are by default, by the names of the JSON.
fn chosen(options: &NetworkOptions) -> Vec<(String, String)> {
    let json = |options: &NetworkOptions| match serde_json::to_value(options) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (own, default) = (json(options), json(&NetworkOptions::new(options.parent.clone())));
    let own = own.into_iter().filter(|(name, value)| !value.is_null() && default.get(name) != Some(value));
    own.filter(|(name, _)| name != "mode").map(|(name, value)| (name, word(&value))).collect()
}

fn word(value: &Value) -> String {
    match (value, value.get("secs").and_then(Value::as_u64)) {
        (_, Some(seconds)) => span(seconds),
        (Value::String(text), None) => text.clone(),
        (other, None) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use landline_engine::NetworkView;

    use super::*;

    #[test]
    fn options_are_shown_where_they_were_chosen() {
        let given = [("bridge", "br0"), ("lease_timeout", "90s"), ("ipv6", "slaac")];
        let options = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = NetworkOptions::parse(&options).unwrap();
        let network = NetworkView {
            id: "n".repeat(64),
            name: Some("lan".into()),
            mode: "bridge".into(),
            parent: "br0".parse().unwrap(),
        };
        let row = NetworkRow { network, in_docker: Some(true), removed_in_s: None };
        let text = text(&NetworkDetail { row, options, endpoints: Vec::new() });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "network                 lan");
        assert_eq!(lines[4], "in docker               yes");
        assert!(lines.contains(&"option ipv6             slaac"), "{text}");
        assert!(lines.contains(&"option lease_timeout    1m30s"), "{text}");
        assert_eq!(lines.len(), 7, "{text}");
    }
}
