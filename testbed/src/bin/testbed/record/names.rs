//! What is different in every run, made the same: ids become names, lists without an order are sorted.

use std::collections::BTreeMap;

use serde_json::Value;

/// The names given so far: the first network is `<network-1>`, and so on.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_id: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, u32>,
}

impl Names {
    /// A request's body with names for ids, wherever in a text they stand.
    pub(super) fn in_place_of_ids(&mut self, path: &str, mut body: Value) -> Value {
        for (member, kind) in [("NetworkID", "network"), ("EndpointID", "endpoint")] {
            if let Some(id) = body[member].as_str().map(str::to_owned) {
                self.give(&id, kind);
            }
        }
        // The last part of a sandbox's path is its id, cut short.
        let sandbox = body["SandboxKey"].as_str().and_then(|key| key.rsplit('/').next()).map(str::to_owned);
        if let (true, Some(id)) = (path.ends_with(".Join"), sandbox) {
            self.give(&id, "sandbox");
        }
        self.replace(&mut body);
        // Engines keep ports in a map and send them in any order.
        for ports in ["com.docker.network.endpoint.exposedports", "com.docker.network.portmap"] {
            if let Some(list) = body
                .get_mut("Options")
                .and_then(|options| options.get_mut(ports))
                .and_then(Value::as_array_mut)
            {
                list.sort_by_key(Value::to_string);
            }
        }
        body
    }

    fn give(&mut self, id: &str, kind: &'static str) {
        if !id.is_empty() && !self.by_id.contains_key(id) {
            let count = self.counts.entry(kind).or_default();
            *count += 1;
            self.by_id.insert(id.to_owned(), format!("<{kind}-{count}>"));
        }
    }

    fn replace(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                for (id, name) in &self.by_id {
                    if text.contains(id) {
                        *text = text.replace(id, name);
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.replace(value)),
            Value::Object(members) => members.values_mut().for_each(|value| self.replace(value)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_ports_is_none() {
        let body = |first: u16, second: u16| json!({"Options": {"com.docker.network.endpoint.exposedports": [{"Port": first}, {"Port": second}]}});
        let mut names = Names::default();
        let path = "/NetworkDriver.CreateEndpoint";
        assert_eq!(names.in_place_of_ids(path, body(80, 443)), names.in_place_of_ids(path, body(443, 80)));
    }

    #[test]
    fn the_same_id_has_the_same_name_everywhere() {
        let mut names = Names::default();
        let first = names.in_place_of_ids("/NetworkDriver.CreateNetwork", json!({"NetworkID": "aa11"}));
        assert_eq!(first, json!({"NetworkID": "<network-1>"}));
        let join = json!({
            "NetworkID": "aa11", "EndpointID": "bb22", "SandboxKey": "/var/run/docker/netns/cc33",
            "Options": {"of": ["bb22"]},
        });
        assert_eq!(
            names.in_place_of_ids("/NetworkDriver.Join", join),
            json!({
                "NetworkID": "<network-1>", "EndpointID": "<endpoint-1>",
                "SandboxKey": "/var/run/docker/netns/<sandbox-1>", "Options": {"of": ["<endpoint-1>"]},
            })
        );
        let second = names.in_place_of_ids("/NetworkDriver.CreateNetwork", json!({"NetworkID": "dd44"}));
        assert_eq!(second["NetworkID"], "<network-2>");
    }
}
