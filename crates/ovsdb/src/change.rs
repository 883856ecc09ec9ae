//! Making and removing ports and bridges.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::switch::{Bridge, Port};
use crate::value::{Datum, Uuid, texts};

/// How long `ovs-vswitchd` may take over a change: usually milliseconds, more when it adds a thousand ports at once.
const APPLIED: Duration = Duration::from_secs(10);

/// How long it is waited for when something was removed: nothing depends on it.
const REMOVED: Duration = Duration::from_secs(2);

/// Which VLANs a port carries (table Port, columns `tag`, `trunks`, `vlan_mode`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Vlans {
    /// All of them, tagged, and what has no tag.
    #[default]
    All,
    /// An access port: one of them, without its tag.
    Access(u16),
    /// A trunk: these, tagged.
    Trunk(Vec<u16>),
    /// A trunk of these, and of the first one without its tag (`native-untagged`).
    Native(u16, Vec<u16>),
}

/// A port to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPort {
    /// The network device's name, and the port's.
    pub name: String,
    /// The bridge it goes to.
    pub bridge: String,
    /// Its VLANs.
    pub vlans: Vlans,
    /// Whose it is.
    pub external_ids: BTreeMap<String, String>,
    /// Whether Open vSwitch's own start scripts may remove it (`other_config:transient`).
    pub transient: bool,
}

/// A bridge to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBridge {
    /// Its name.
    pub name: String,
    /// `netdev`: forwarded by `ovs-vswitchd` itself; empty: by the kernel.
    pub datapath_type: String,
    /// Its hardware address, six octets with colons; `None`: the switch chooses.
    pub mac: Option<String>,
    /// Its own MTU, which ports then do not change; `None`: that of its ports.
    pub mtu: Option<u32>,
    /// Whose it is.
    pub external_ids: BTreeMap<String, String>,
}

impl Client {
    /// Makes a port and waits until it carries packets; returns the bridge it is on. If it does not work it is
    /// removed again.
    ///
    /// # Errors
    /// No such bridge, a port of that name, or what the switch says is wrong with it.
    pub async fn add_port(&mut self, port: &NewPort) -> Result<Bridge, Error> {
        let NewPort { name, bridge, .. } = port;
        let operations = vec![
            guard("Port", name, &json!([])),
            guard("Bridge", bridge, &json!([{"name": bridge}])),
            json!({"op": "insert", "table": "Interface", "uuid-name": "interface", "row": {"name": name}}),
            json!({"op": "insert", "table": "Port", "uuid-name": "port", "row": row(port)}),
            json!({"op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]],
                   "mutations": [["ports", "insert", ["named-uuid", "port"]]]}),
        ];
        let made = match self.commit(2, operations).await? {
            Ok(made) => made,
            Err(0) => return Err(Error::PortExists(name.clone())),
            Err(_) => return Err(self.no_bridge(bridge).await?),
        };
        let row = made.inserted(3)?;
        let works = self.port_works(port, &row, made.number).await;
        if works.is_err() {
            // What is wrong with it is the news, and not what may be wrong with removing it.
            let _ = self.take_port(&row, Vec::new()).await;
        }
        works
    }

    /// What came of a new port.
    async fn port_works(&mut self, port: &NewPort, row: &Uuid, number: i64) -> Result<Bridge, Error> {
        self.applied(number, APPLIED).await?;
        let switch = self.switch().await?;
        let Some(bridge) = switch.bridge(&port.bridge) else {
            return Err(self.no_bridge(&port.bridge).await?);
        };
        let made = switch.ports.iter().find(|made| made.uuid == *row);
        let trouble = made.map_or_else(|| Some("somebody removed it at once".into()), Port::trouble);
        match trouble {
            None => Ok(bridge.clone()),
            Some(_) if bridge.datapath_id.is_none() => Err(Error::NoDatapath(bridge.name.clone())),
            Some(why) => Err(Error::Port { port: port.name.clone(), why }),
        }
    }

    /// Removes a port, unless it has got another owner or is gone.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn remove_port(&mut self, port: &Port) -> Result<(), Error> {
        self.take_port(&port.uuid, vec![same_owner("Port", &port.uuid, &port.external_ids)]).await
    }

    /// Removes a port if these guards hold. A switch that is not there will not find it when it is back.
    async fn take_port(&mut self, port: &Uuid, guards: Vec<Value>) -> Result<(), Error> {
        let (count, uuid, mut operations) = (guards.len(), port.to_value(), guards);
        operations.push(json!({"op": "mutate", "table": "Bridge", "where": [["ports", "includes", uuid]],
                               "mutations": [["ports", "delete", uuid]]}));
        let Ok(made) = self.commit(count, operations).await? else { return Ok(()) };
        match self.applied(made.number, REMOVED).await {
            Err(Error::NotApplied(_)) => Ok(()),
            other => other,
        }
    }

    /// Writes one of a port's `external_ids`, unless the port is gone.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn set_external_id(&mut self, port: &Port, key: &str, value: &str) -> Result<(), Error> {
        let at = json!([["_uuid", "==", port.uuid.to_value()]]);
        let operation = json!({"op": "mutate", "table": "Port", "where": at, "mutations": [
            ["external_ids", "delete", ["set", [key]]],
            ["external_ids", "insert", ["map", [[key, value]]]],
        ]});
        self.transact(vec![operation]).await.map(drop)
    }

    /// Makes a bridge and waits until it works.
    ///
    /// # Errors
    /// There is one of that name, or it has no datapath (it is removed again then).
    pub async fn add_bridge(&mut self, bridge: &NewBridge) -> Result<(), Error> {
        let NewBridge { name, datapath_type, mac, mtu, external_ids } = bridge;
        let other: BTreeMap<String, String> =
            mac.iter().map(|mac| ("hwaddr".to_owned(), mac.clone())).collect();
        let mut interface = json!({"name": name, "type": "internal"});
        if let Some(mtu) = mtu {
            interface["mtu_request"] = json!(mtu);
        }
        let operations = vec![
            guard("Bridge", name, &json!([])),
            json!({"op": "insert", "table": "Interface", "uuid-name": "interface", "row": interface}),
            json!({"op": "insert", "table": "Port", "uuid-name": "port",
                   "row": {"name": name, "interfaces": ["named-uuid", "interface"]}}),
            json!({"op": "insert", "table": "Bridge", "uuid-name": "bridge",
                   "row": {"name": name, "datapath_type": datapath_type, "ports": ["named-uuid", "port"],
                           "external_ids": texts(external_ids), "other_config": texts(&other)}}),
            json!({"op": "mutate", "table": "Open_vSwitch", "where": [],
                   "mutations": [["bridges", "insert", ["named-uuid", "bridge"]]]}),
        ];
        match self.commit(1, operations).await? {
            Ok(made) => self.applied(made.number, APPLIED).await?,
            Err(_) => return Err(Error::BridgeExists(name.clone())),
        }
        let switch = self.switch().await?;
        match switch.bridge(name) {
            Some(made) if made.datapath_id.is_none() => {
                self.remove_bridge(made).await?;
                Err(Error::NoDatapath(name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Removes a bridge and all its ports, unless it has got another owner or is gone.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn remove_bridge(&mut self, bridge: &Bridge) -> Result<(), Error> {
        match self.forget_bridge(bridge).await? {
            Some(number) => self.applied(number, APPLIED).await,
            None => Ok(()),
        }
    }

    /// As [`remove_bridge`](Self::remove_bridge), without waiting for `ovs-vswitchd`, which need not run: the number of
    /// the configuration without it.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn forget_bridge(&mut self, bridge: &Bridge) -> Result<Option<i64>, Error> {
        let operations = vec![
            same_owner("Bridge", &bridge.uuid, &bridge.external_ids),
            json!({"op": "mutate", "table": "Open_vSwitch", "where": [],
                   "mutations": [["bridges", "delete", bridge.uuid.to_value()]]}),
        ];
        Ok(self.commit(1, operations).await?.ok().map(|made| made.number))
    }

    /// Takes one of a bridge's `external_ids` away.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn clear_bridge_id(&mut self, bridge: &Bridge, key: &str) -> Result<(), Error> {
        let at = json!([["_uuid", "==", bridge.uuid.to_value()]]);
        let operation = json!({"op": "mutate", "table": "Bridge", "where": at,
                               "mutations": [["external_ids", "delete", ["set", [key]]]]});
        self.transact(vec![operation]).await.map(drop)
    }

    /// Carries out operations and asks `ovs-vswitchd` for them: what came of it, or the guard that failed.
    async fn commit(
        &mut self,
        guards: usize,
        mut operations: Vec<Value>,
    ) -> Result<Result<Committed, usize>, Error> {
        operations.push(json!({"op": "mutate", "table": "Open_vSwitch", "where": [],
                               "mutations": [["next_cfg", "+=", 1]]}));
        operations
            .push(json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]}));
        let results = match self.transact_guarded(guards, operations).await? {
            Ok(results) => results,
            Err(guard) => return Ok(Err(guard)),
        };
        let number = results.last().and_then(|result| result.get("rows")?.get(0)?.get("next_cfg"));
        let number = number.and_then(|value| Datum::read(value)?.into_integer());
        let number = number.ok_or(Error::Nonsense("next_cfg is a number"))?;
        Ok(Ok(Committed { number, results }))
    }

    async fn no_bridge(&mut self, name: &str) -> Result<Error, Error> {
        let there = self.switch().await?.bridges.into_iter().map(|bridge| bridge.name).collect();
        Ok(Error::NoBridge { name: name.to_owned(), there })
    }
}

/// What a transaction gave.
struct Committed {
    /// The configuration that has it all (`next_cfg`).
    number: i64,
    results: Vec<Value>,
}

impl Committed {
    /// The row that an operation, counted from 0, inserted.
    fn inserted(&self, at: usize) -> Result<Uuid, Error> {
        let row = self.results.get(at).and_then(|result| Datum::read(result.get("uuid")?)?.into_rows().pop());
        row.ok_or(Error::Nonsense("an inserted row has a name"))
    }
}

/// Fails the transaction unless this row is still there and whose it was.
fn same_owner(table: &str, row: &Uuid, external_ids: &BTreeMap<String, String>) -> Value {
    json!({"op": "wait", "table": table, "where": [["_uuid", "==", row.to_value()]],
           "columns": ["external_ids"], "until": "==", "rows": [{"external_ids": texts(external_ids)}],
           "timeout": 0})
}

/// Fails the transaction unless the rows of this name are these.
fn guard(table: &str, name: &str, rows: &Value) -> Value {
    json!({"op": "wait", "table": table, "where": [["name", "==", name]], "columns": ["name"],
           "until": "==", "rows": rows, "timeout": 0})
}

fn row(port: &NewPort) -> Value {
    let mut row = json!({
        "name": port.name,
        "interfaces": ["named-uuid", "interface"],
        "external_ids": texts(&port.external_ids),
    });
    let set = |ids: &[u16]| json!(["set", ids]);
    match &port.vlans {
        Vlans::All => {}
        Vlans::Access(tag) => row["tag"] = json!(tag),
        Vlans::Trunk(trunks) => row["trunks"] = set(trunks),
        Vlans::Native(tag, trunks) => {
            row["tag"] = json!(tag);
            row["trunks"] = set(trunks);
            row["vlan_mode"] = json!("native-untagged");
        }
    }
    if port.transient {
        row["other_config"] = json!(["map", [["transient", "true"]]]);
    }
    row
}

/// `ovs-vsctl`'s words for a port's VLANs.
impl std::fmt::Display for Vlans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |ids: &[u16]| ids.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        match self {
            Self::All => Ok(()),
            Self::Access(tag) => write!(f, " tag={tag}"),
            Self::Trunk(trunks) => write!(f, " trunks={}", list(trunks)),
            Self::Native(tag, trunks) => {
                write!(f, " tag={tag} trunks={} vlan_mode=native-untagged", list(trunks))
            }
        }
    }
}
