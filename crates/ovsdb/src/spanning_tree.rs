//! What the spanning tree protocols of a bridge make of its ports (`ovs-vswitchd.conf.db(5)`, tables Bridge and Port).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::switch::{column, rows};
use crate::value::{Datum, Uuid};

/// The protocol that a bridge runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// IEEE 802.1D-1998 (`stp_enable`).
    Stp,
    /// IEEE 802.1D-2004 (`rstp_enable`).
    Rstp,
}

/// What a bridge does with frames of one of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// It carries them.
    Yes,
    /// It does not: the port is down, or the protocol leaves it out.
    Disabled,
    /// It does not yet, and waits for word of other bridges; or the port would close a loop.
    Discarding,
    /// It does not yet, and learns addresses.
    Learning,
}

/// A port of a bridge that runs such a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePort {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub external_ids: BTreeMap<String, String>,
    /// What is done with its frames.
    pub forwarding: Forwarding,
}

/// A bridge that runs such a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanningTree {
    /// Which of them.
    pub protocol: Protocol,
    /// How long a port waits for word of other bridges, and then learns.
    pub forward_delay: Duration,
    /// The bridge's ports, except for its own.
    pub ports: Vec<TreePort>,
}

// IEEE 802.1D-1998 section 8.10.2 (table 8-3), in seconds.
const FORWARD_DELAY: u64 = 15;
const LONGEST_DELAY: u64 = 30;
const MAX_AGE: u64 = 20;

impl SpanningTree {
    /// Reads the rows of the tables Bridge and Port as `select` gives them; `None`: the bridge runs no such protocol.
    fn read(bridges: &Value, ports: &Value) -> Option<Self> {
        let bridge = rows(bridges).next()?;
        let is_on = |name: &str| column(bridge, name).and_then(Datum::into_boolean) == Some(true);
        let (protocol, prefix) = match (is_on("rstp_enable"), is_on("stp_enable")) {
            (true, _) => (Protocol::Rstp, "rstp"),
            (false, true) => (Protocol::Stp, "stp"),
            (false, false) => return None,
        };
        let settings = texts(bridge, "other_config");
        let seconds = |what: &str, default: u64| {
            settings.get(&format!("{prefix}-{what}")).and_then(|value| value.parse().ok()).unwrap_or(default)
        };
        // What the switch makes of a delay that is too short for the age of messages: 2 * (delay - 1) is to be no less.
        let (delay, age) = (seconds("forward-delay", FORWARD_DELAY), seconds("max-age", MAX_AGE));
        let least = age.div_ceil(2) + 1;
        let delay = match protocol {
            Protocol::Stp => delay.max(least),
            Protocol::Rstp if delay < least => FORWARD_DELAY,
            Protocol::Rstp => delay,
        };
        let own = column(bridge, "name").and_then(Datum::into_text);
        let members: Vec<Uuid> = column(bridge, "ports").map(Datum::into_rows).unwrap_or_default();
        let is_member = |row: &&Value| {
            column(row, "_uuid")
                .map(Datum::into_rows)
                .is_some_and(|id| id.iter().all(|id| members.contains(id)))
        };
        let ports = rows(ports).filter(is_member).filter_map(|row| port(row, protocol));
        Some(Self {
            protocol,
            forward_delay: Duration::from_secs(delay.min(LONGEST_DELAY)),
            ports: ports.filter(|port| Some(&port.name) != own.as_ref()).collect(),
        })
    }
}

/// A port whose state is not known yet has just been made.
fn port(row: &Value, protocol: Protocol) -> Option<TreePort> {
    let (status, key, switch) = match protocol {
        Protocol::Stp => ("status", "stp_state", "stp-enable"),
        Protocol::Rstp => ("rstp_status", "rstp_port_state", "rstp-enable"),
    };
    let left_out = texts(row, "other_config").get(switch).is_some_and(|value| value == "false");
    let forwarding = match texts(row, status).get(key).map(|state| state.to_lowercase()).as_deref() {
        _ if left_out => Forwarding::Yes,
        Some("forwarding") => Forwarding::Yes,
        Some("learning") => Forwarding::Learning,
        Some("disabled") => Forwarding::Disabled,
        _ => Forwarding::Discarding,
    };
    Some(TreePort {
        name: column(row, "name")?.into_text()?,
        external_ids: texts(row, "external_ids"),
        forwarding,
    })
}

fn texts(row: &Value, name: &str) -> BTreeMap<String, String> {
    column(row, name).map(Datum::into_texts).unwrap_or_default()
}

impl Client {
    /// The spanning tree of this bridge; `None`: it runs no such protocol, or is not there.
    ///
    /// # Errors
    /// The connection failed, or the server knows no such protocols.
    pub async fn spanning_tree(&mut self, bridge: &str) -> Result<Option<SpanningTree>, Error> {
        let bridges = json!({"op": "select", "table": "Bridge", "where": [["name", "==", bridge]],
                             "columns": ["name", "ports", "stp_enable", "rstp_enable", "other_config"]});
        let ports = json!({"op": "select", "table": "Port", "where": [],
                           "columns": ["_uuid", "name", "external_ids", "other_config", "status", "rstp_status"]});
        let results = self.transact(vec![bridges, ports]).await?;
        let [bridges, ports] = results.as_slice() else {
            return Err(Error::Nonsense("one result an operation"));
        };
        Ok(SpanningTree::read(bridges, ports))
    }

    /// Begins to notice changes of spanning trees ([`Client::changed`]).
    ///
    /// # Errors
    /// The connection failed, or the server knows no such protocols.
    pub async fn watch_spanning_trees(&mut self) -> Result<(), Error> {
        let columns = |names: &[&str]| json!({"columns": names, "select": {"initial": false}});
        let tables = json!({
            "Bridge": columns(&["stp_enable", "rstp_enable", "other_config"]),
            "Port": columns(&["status", "rstp_status"]),
        });
        self.monitor("spanning trees", tables).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Value {
        json!(["uuid", format!("0000000{n}-0000-4000-8000-000000000000")])
    }

    fn map(pairs: &[(&str, &str)]) -> Value {
        json!(["map", pairs.iter().map(|(key, value)| json!([key, value])).collect::<Vec<_>>()])
    }

    /// The states of the ports of a bridge with these settings.
    fn read(settings: &Value, ports: &[Value]) -> Option<SpanningTree> {
        let mut bridge = json!({"name": "br0", "ports": ["set", [id(1), id(2)]]});
        for (column, value) in settings.as_object().unwrap() {
            bridge[column] = value.clone();
        }
        SpanningTree::read(&json!({"rows": [bridge]}), &json!({"rows": ports}))
    }

    #[test]
    fn a_bridge_without_such_a_protocol_has_no_tree() {
        assert_eq!(read(&json!({"stp_enable": false, "rstp_enable": false}), &[]), None);
        assert_eq!(read(&json!({}), &[]), None);
        assert_eq!(SpanningTree::read(&json!({"rows": []}), &json!({"rows": []})), None);
    }

    #[test]
    fn states_are_read_as_either_protocol_writes_them() {
        let port = |n: u8, name: &str, column: &str, status: Value| {
            let mut row = json!({"_uuid": id(n), "name": name, "other_config": map(&[])});
            row[column] = status;
            row
        };
        let own = port(1, "br0", "status", map(&[]));
        for (state, forwarding) in [
            ("listening", Forwarding::Discarding),
            ("blocking", Forwarding::Discarding),
            ("learning", Forwarding::Learning),
            ("forwarding", Forwarding::Yes),
            ("disabled", Forwarding::Disabled),
        ] {
            let row = port(2, "eth0", "status", map(&[("stp_state", state), ("stp_sec_in_state", "3")]));
            let tree = read(&json!({"stp_enable": true, "rstp_enable": false}), &[own.clone(), row]).unwrap();
            assert_eq!((tree.protocol, tree.forward_delay), (Protocol::Stp, Duration::from_secs(15)));
            let [eth0] = tree.ports.as_slice() else { panic!("{tree:?}") };
            assert_eq!((eth0.name.as_str(), eth0.forwarding), ("eth0", forwarding), "{state}");
        }
        let settings = json!({"stp_enable": false, "rstp_enable": true, "other_config": map(&[("rstp-forward-delay", "4"), ("rstp-max-age", "6")])});
        for (state, forwarding) in [
            ("Discarding", Forwarding::Discarding),
            ("Learning", Forwarding::Learning),
            ("Forwarding", Forwarding::Yes),
            ("Disabled", Forwarding::Disabled),
        ] {
            let row = port(2, "eth0", "rstp_status", map(&[("rstp_port_state", state)]));
            let tree = read(&settings, &[row]).unwrap();
            assert_eq!((tree.protocol, tree.forward_delay), (Protocol::Rstp, Duration::from_secs(4)));
            assert_eq!(tree.ports[0].forwarding, forwarding, "{state}");
        }
        for (column, prefix, delay, seconds) in [
            ("stp_enable", "stp", "4", 11),
            ("rstp_enable", "rstp", "4", 15),
            ("stp_enable", "stp", "99", 30),
        ] {
            let settings =
                json!({column: true, "other_config": map(&[(&format!("{prefix}-forward-delay"), delay)])});
            assert_eq!(read(&settings, &[]).unwrap().forward_delay.as_secs(), seconds, "{column} {delay}");
        }
        // Of another bridge, just made, left out of it.
        let stp = json!({"stp_enable": true});
        let elsewhere = port(7, "eth7", "status", map(&[("stp_state", "learning")]));
        assert_eq!(read(&stp, &[elsewhere]).unwrap().ports, []);
        let mut new = port(2, "eth0", "status", map(&[]));
        assert_eq!(
            read(&stp, std::slice::from_ref(&new)).unwrap().ports[0].forwarding,
            Forwarding::Discarding
        );
        new["other_config"] = map(&[("stp-enable", "false")]);
        assert_eq!(read(&stp, &[new]).unwrap().ports[0].forwarding, Forwarding::Yes);
    }
}
