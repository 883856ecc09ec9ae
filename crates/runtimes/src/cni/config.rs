//! A network's configuration, as it comes on standard input.

use std::collections::BTreeMap;

use landline_types::Shown;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::environment::is_identifier;
use super::{CniError, Failure, Version};

/// Keys that the specification and its conventions define. All others are network options.
const OF_CNI: [&str; 17] = [
    "cniVersion",
    "cniVersions",
    "name",
    "type",
    "args",
    "ipMasq",
    "ipam",
    "capabilities",
    "runtimeConfig",
    "prevResult",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
    "plugins",
    "cni.dev/valid-attachments",
    "cni.dev/attachments",
    "delegates",
];

/// What a runtime may ask for that would silently not happen.
const NOT_SERVED: [(&str, &str); 4] = [
    (
        "deviceID",
        "Landline attaches no device of a device plugin: remove the capability deviceID, or move a network card into the \
         container with parent and mode=nic",
    ),
    ("infinibandGUID", "Landline attaches no InfiniBand device: remove the capability infinibandGUID"),
    (
        "bandwidth",
        "Landline limits no bandwidth: remove the capability bandwidth here, and add the plugin bandwidth to the list",
    ),
    (
        "ipRanges",
        "addresses come from the DHCP server of the LAN: remove the capability ipRanges, or use addressing=static and the \
         capability ips",
    ),
];

/// A configuration whose version is known.
pub(super) struct Config {
    pub(super) version: Version,
    all: Map<String, Value>,
}

/// An interface that is to be kept (`cni.dev/valid-attachments`).
#[derive(Deserialize)]
pub(super) struct Valid {
    #[serde(rename = "containerID")]
    pub(super) container: String,
    pub(super) ifname: String,
}

impl Config {
    /// Reads it. One without a version is of a time before versions that the plugin speaks.
    pub(super) fn read(input: &[u8]) -> Result<Self, Failure> {
        let failed = |error| Failure { version: Version::NEWEST, error };
        let all: Map<String, Value> = serde_json::from_slice(input).map_err(|error| {
            failed(CniError::decode(format!(
                "the configuration on standard input is not a JSON object: {error}"
            )))
        })?;
        let version = all.get("cniVersion").and_then(Value::as_str).unwrap_or("0.1.0");
        match Version::read(version) {
            Some(version) => Ok(Self { version, all }),
            None => Err(failed(CniError::version(format!(
                "cniVersion {:?} is not supported; write one of 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0",
                format!("{:.64}", Shown(version))
            )))),
        }
    }

    pub(super) fn fail(&self, error: CniError) -> Failure {
        Failure { version: self.version, error }
    }

    /// The network's name.
    pub(super) fn name(&self) -> Result<String, CniError> {
        match self.all.get("name").and_then(Value::as_str) {
            Some(name) if is_identifier(name) => Ok(name.to_owned()),
            Some(name) => Err(CniError::config(format!(
                "the name {:?} cannot be used; write letters, digits, '_', '.' and '-'",
                format!("{:.64}", Shown(name))
            ))),
            None => Err(CniError::config("the configuration has no name")),
        }
    }

    /// What an earlier plugin of the list, or an earlier ADD, made.
    pub(super) fn previous(&self) -> Result<Option<Map<String, Value>>, CniError> {
        match self.all.get("prevResult") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(result)) => Ok(Some(result.clone())),
            Some(_) => Err(CniError::decode("prevResult is not a JSON object")),
        }
    }

    /// The attachments that GC is to keep.
    pub(super) fn valid(&self) -> Result<Vec<Valid>, CniError> {
        let list = self.all.get("cni.dev/valid-attachments").cloned().unwrap_or_default();
        serde_json::from_value(list).map_err(|_| {
            // Without it everything would end.
            CniError::config(
                "cni.dev/valid-attachments is missing, or is not a list of containerID and ifname",
            )
        })
    }

    /// The network options among the keys.
    pub(super) fn options(&self) -> Result<BTreeMap<String, String>, CniError> {
        match self.all.get("ipam").and_then(|ipam| ipam.get("type")).and_then(Value::as_str) {
            None | Some("" | "dhcp" | "landline") => {}
            Some(other) => {
                return Err(CniError::config(format!(
                    "ipam: Landline calls no other plugin for addresses ({:.64}): remove ipam, and use addressing=static for \
                     addresses that the runtime gives",
                    Shown(other)
                )));
            }
        }
        let mut options = BTreeMap::new();
        for (key, value) in &self.all {
            // The servers of a network are an object; the option of the same name is a word.
            let of_cni = OF_CNI.contains(&key.as_str()) || key == "dns" && value.is_object();
            if of_cni || value.is_null() {
                continue;
            }
            let text = match value {
                Value::Array(list) => {
                    list.iter().map(scalar).collect::<Option<Vec<_>>>().map(|l| l.join(","))
                }
                value => scalar(value),
            };
            let text = text.ok_or_else(|| {
                CniError::config(format!(
                    "{:.64}: write a text, a number, true or false, or a list of these",
                    Shown(key)
                ))
            })?;
            options.insert(key.clone(), text);
        }
        Ok(options)
    }

    /// What the runtime asks for by this capability, or in `args`.
    pub(super) fn capability(&self, name: &str) -> Option<&Value> {
        let in_args = || self.all.get("args")?.get("cni")?.get(name);
        self.runtime(name).or_else(in_args)
    }

    fn runtime(&self, name: &str) -> Option<&Value> {
        self.all.get("runtimeConfig")?.get(name).filter(|value| is_something(value))
    }

    /// Refuses what the runtime asks for and would silently not happen.
    pub(super) fn refuse_not_served(&self) -> Result<(), CniError> {
        match NOT_SERVED.into_iter().find(|(name, _)| self.runtime(name).is_some()) {
            Some((_, sentence)) => Err(CniError::config(sentence)),
            None => Ok(()),
        }
    }

    /// The DNS settings that the runtime or the configuration names, as a result has them.
    pub(super) fn dns(&self) -> Option<Value> {
        let asked = self.runtime("dns").and_then(|dns| {
            let mut own = Map::new();
            for (from, to) in [("servers", "nameservers"), ("searches", "search"), ("options", "options")] {
                if let Some(list) = dns.get(from).filter(|list| is_something(list)) {
                    own.insert(to.into(), list.clone());
                }
            }
            (!own.is_empty()).then_some(Value::Object(own))
        });
        asked.or_else(|| self.all.get("dns").filter(|dns| dns.is_object() && is_something(dns)).cloned())
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Whether a value says anything.
fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}
