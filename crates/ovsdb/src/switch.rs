//! What the database says about bridges and ports.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::value::{Datum, Uuid, clean};

/// A bridge (`ovs-vswitchd.conf.db(5)`, table Bridge).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its row.
    pub uuid: Uuid,
    /// Its name, and that of its local port.
    pub name: String,
    /// `netdev`: in `ovs-vswitchd` itself; empty or `system`: in the kernel.
    pub datapath_type: String,
    /// Its number for flow rules; `None` as long as it does not work.
    pub datapath_id: Option<String>,
    /// Whose it is.
    pub external_ids: BTreeMap<String, String>,
    ports: Vec<Uuid>,
}

impl Bridge {
    /// Whether `ovs-vswitchd` forwards its packets itself.
    pub fn in_user_space(&self) -> bool {
        self.datapath_type == "netdev"
    }
}

/// A port (table Port).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its row.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// The bridge it is on.
    pub bridge: String,
    /// Its VLAN, for an access port.
    pub tag: Option<i64>,
    /// The VLANs of a trunk; empty: all.
    pub trunks: Vec<i64>,
    /// Whose it is.
    pub external_ids: BTreeMap<String, String>,
    /// What it is made of: one interface, or several of a bond.
    pub interfaces: Vec<Interface>,
}

impl Port {
    /// What keeps it from carrying packets; `None`: it works.
    pub fn trouble(&self) -> Option<String> {
        let interface = match self.interfaces.as_slice() {
            [] => return Some("it has no interface".into()),
            [interface] => interface,
            // A bond works as long as one of them does; none is made here.
            _ => return None,
        };
        match (interface.ofport, interface.ifindex) {
            // An interface whose device went away keeps its number; only the index shows it.
            (Some(1..), Some(0)) => Some("its network device is gone".into()),
            (Some(1..), _) => None,
            _ => Some(interface.error.clone().unwrap_or_else(|| "it got no port number".into())),
        }
    }
}

/// An interface (table Interface).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The network device's name.
    pub name: String,
    /// Its number for flow rules: positive if it works, -1 if it does not.
    pub ofport: Option<i64>,
    /// The network device's index; 0: there is none.
    pub ifindex: Option<i64>,
    /// What is wrong with it, in one line.
    pub error: Option<String>,
}

/// All bridges and ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switch {
    /// The bridges.
    pub bridges: Vec<Bridge>,
    /// Their ports.
    pub ports: Vec<Port>,
}

impl Switch {
    /// The bridge of this name.
    pub fn bridge(&self, name: &str) -> Option<&Bridge> {
        self.bridges.iter().find(|bridge| bridge.name == name)
    }

    /// The port of this name.
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == name)
    }

    /// Reads the rows of the tables Bridge, Port and Interface as `select` gives them. Rows that make no sense are
    /// left out.
    pub fn read(bridges: &Value, ports: &Value, interfaces: &Value) -> Self {
        let interfaces: BTreeMap<Uuid, Interface> = rows(interfaces).filter_map(interface).collect();
        let bridges: Vec<Bridge> = rows(bridges).filter_map(bridge).collect();
        let owners: BTreeMap<&Uuid, &str> =
            bridges.iter().flat_map(|b| b.ports.iter().map(|port| (port, b.name.as_str()))).collect();
        let ports = rows(ports).filter_map(|row| port(row, &owners, &interfaces)).collect();
        Self { bridges, ports }
    }
}

impl Client {
    /// All bridges and ports there are.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn switch(&mut self) -> Result<Switch, Error> {
        let select = |table: &str, columns: &[&str]| json!({"op": "select", "table": table, "where": [], "columns": columns});
        let results = self
            .transact(vec![
                select("Bridge", &["_uuid", "name", "datapath_type", "datapath_id", "external_ids", "ports"]),
                select("Port", &["_uuid", "name", "tag", "trunks", "external_ids", "interfaces"]),
                select("Interface", &["_uuid", "name", "ofport", "ifindex", "error"]),
            ])
            .await?;
        let [bridges, ports, interfaces] = results.as_slice() else {
            return Err(Error::Nonsense("one result an operation"));
        };
        Ok(Switch::read(bridges, ports, interfaces))
    }
}

pub(crate) fn rows(result: &Value) -> impl Iterator<Item = &Value> {
    result.get("rows").and_then(Value::as_array).into_iter().flatten()
}

pub(crate) fn column(row: &Value, name: &str) -> Option<Datum> {
    Datum::read(row.get(name)?)
}

fn uuid(row: &Value) -> Option<Uuid> {
    column(row, "_uuid")?.into_rows().pop()
}

fn texts(row: &Value) -> BTreeMap<String, String> {
    column(row, "external_ids").map(Datum::into_texts).unwrap_or_default()
}

fn bridge(row: &Value) -> Option<Bridge> {
    Some(Bridge {
        uuid: uuid(row)?,
        name: column(row, "name")?.into_text()?,
        datapath_type: column(row, "datapath_type").and_then(Datum::into_text).unwrap_or_default(),
        datapath_id: column(row, "datapath_id").and_then(Datum::into_text),
        external_ids: texts(row),
        ports: column(row, "ports").map(Datum::into_rows).unwrap_or_default(),
    })
}

fn port(row: &Value, owners: &BTreeMap<&Uuid, &str>, all: &BTreeMap<Uuid, Interface>) -> Option<Port> {
    let uuid = uuid(row)?;
    let interfaces = column(row, "interfaces")?.into_rows();
    let trunks = column(row, "trunks").map(Datum::into_atoms).unwrap_or_default();
    Some(Port {
        bridge: (*owners.get(&uuid)?).to_owned(),
        name: column(row, "name")?.into_text()?,
        tag: column(row, "tag").and_then(Datum::into_integer),
        trunks: trunks.into_iter().filter_map(|atom| Datum::Set(vec![atom]).into_integer()).collect(),
        external_ids: texts(row),
        interfaces: interfaces.iter().filter_map(|id| all.get(id).cloned()).collect(),
        uuid,
    })
}

fn interface(row: &Value) -> Option<(Uuid, Interface)> {
    let interface = Interface {
        name: column(row, "name")?.into_text()?,
        ofport: column(row, "ofport").and_then(Datum::into_integer),
        ifindex: column(row, "ifindex").and_then(Datum::into_integer),
        error: column(row, "error").and_then(Datum::into_text).map(|text| clean(&text)),
    };
    Some((uuid(row)?, interface))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "00000001-0000-4000-8000-000000000000";

    /// A port on a bridge, with an interface of which this is said.
    fn port(interface: &Value) -> Port {
        let id = json!(["uuid", ROW]);
        let bridges = json!({"rows": [{"_uuid": id, "name": "br0", "ports": id}]});
        let ports = json!({"rows": [{"_uuid": id, "name": "p0", "interfaces": id}]});
        let mut row = json!({"_uuid": id, "name": "p0"});
        for (column, value) in interface.as_object().unwrap() {
            row[column] = value.clone();
        }
        let switch = Switch::read(&bridges, &ports, &json!({"rows": [row]}));
        switch.port("p0").unwrap().clone()
    }

    #[test]
    fn a_port_works_if_it_has_a_number_and_a_device() {
        let none = json!(["set", []]);
        for (interface, trouble) in [
            (json!({"ofport": 3, "ifindex": 7}), None),
            // The index comes a moment later.
            (json!({"ofport": 3, "ifindex": none}), None),
            (json!({"ofport": 3, "ifindex": 0}), Some("its network device is gone")),
            (json!({"ofport": none, "error": none}), Some("it got no port number")),
            (json!({"ofport": -1, "ifindex": 7, "error": none}), Some("it got no port number")),
            (json!({"ofport": -1, "error": "could not open p0\n"}), Some("could not open p0 ")),
            (json!({"ofport": 0, "ifindex": 7}), Some("it got no port number")),
            (json!({"ofport": "3", "ifindex": 7}), Some("it got no port number")),
        ] {
            assert_eq!(port(&interface).trouble().as_deref(), trouble, "{interface}");
        }
        let mut bare = port(&json!({"ofport": 3}));
        bare.interfaces.clear();
        assert_eq!(bare.trouble().as_deref(), Some("it has no interface"));
    }
}
