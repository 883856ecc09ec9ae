//! One connection to the database.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::error::Error;
use crate::framing::Decoder;
use crate::message::Message;
use crate::value::{Datum, clean};

/// Where Debian's, Fedora's and most others' Open vSwitch listens.
pub const DEFAULT_SOCKET: &str = "/run/openvswitch/db.sock";

/// How long the database may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The monitor of `cur_cfg`, and the one that tells that something has changed.
const CONFIGURED: &str = "cur_cfg";
const CHANGES: &str = "changes";

/// A connection. Its futures may be dropped at any await; what was asked may have been done then.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    decoder: Decoder,
    /// What is still to be sent.
    outgoing: Vec<u8>,
    last_id: u64,
    /// The newest `cur_cfg` seen, while it is monitored.
    configured: Option<i64>,
    /// Whether a monitored row has changed since it was asked last.
    changed: bool,
}

impl Client {
    /// Connects to the server that listens on this socket.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub async fn connect(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Connect { path: path.into(), source };
        let stream = UnixStream::connect(path).await.map_err(failed)?;
        Ok(Self {
            stream,
            decoder: Decoder::default(),
            outgoing: Vec::new(),
            last_id: 0,
            configured: None,
            changed: false,
        })
    }

    /// Carries out these operations, all or none (section 4.1.3): the result of each.
    ///
    /// # Errors
    /// The connection failed, or an operation was refused ([`Error::Refused`]).
    pub(crate) async fn transact(&mut self, operations: Vec<Value>) -> Result<Vec<Value>, Error> {
        self.results(operations).await?.map_err(Refusal::into_error)
    }

    /// As [`transact`](Self::transact), for operations that begin with `guards` waits: the number of the first
    /// that does not hold is `Ok(Err(number))`.
    pub(crate) async fn transact_guarded(
        &mut self,
        guards: usize,
        operations: Vec<Value>,
    ) -> Result<Result<Vec<Value>, usize>, Error> {
        match self.results(operations).await? {
            Ok(results) => Ok(Ok(results)),
            Err(refusal) if refusal.at < guards && refusal.result["error"] == "timed out" => {
                Ok(Err(refusal.at))
            }
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    async fn results(&mut self, operations: Vec<Value>) -> Result<Result<Vec<Value>, Refusal>, Error> {
        let count = operations.len();
        let params = std::iter::once(json!("Open_vSwitch")).chain(operations).collect();
        let Value::Array(mut results) = self.call("transact", params).await? else {
            return Err(Error::Nonsense("a transaction's result is a list"));
        };
        match results.iter().position(|result| result.get("error").is_some_and(|e| !e.is_null())) {
            Some(at) => Ok(Err(Refusal { at, result: results.swap_remove(at) })),
            // A failure to commit is one result more, so with as many as operations there was none.
            None if results.len() == count => Ok(Ok(results)),
            None => Err(Error::Nonsense("one result an operation")),
        }
    }

    /// Waits until `ovs-vswitchd` has carried out the configuration of this number.
    pub(crate) async fn applied(&mut self, number: i64, patience: Duration) -> Result<(), Error> {
        if self.configured.is_none() {
            let tables = json!({"Open_vSwitch": {"columns": ["cur_cfg"]}});
            // Another name each time: if this future was dropped once, the server has a monitor already.
            let name = format!("{CONFIGURED}{}", self.last_id);
            let first = self.call("monitor", vec![json!("Open_vSwitch"), json!(name), tables]).await?;
            self.configured = Some(configured(&first).unwrap_or(0));
        }
        let wait = async {
            while self.configured.is_none_or(|done| done < number) {
                self.receive().await?;
            }
            Ok(())
        };
        tokio::time::timeout(patience, wait).await.unwrap_or(Err(Error::NotApplied(patience)))
    }

    /// Begins to notice changes of bridges, ports and interfaces.
    ///
    /// # Errors
    /// The connection failed, or the server does not know these tables.
    pub async fn watch(&mut self) -> Result<(), Error> {
        let columns = |names: &[&str]| json!({"columns": names, "select": {"initial": false}});
        let tables = json!({
            "Open_vSwitch": columns(&["bridges"]),
            "Bridge": columns(&["name", "ports", "datapath_type", "datapath_id"]),
            "Port": columns(&["name", "interfaces", "external_ids"]),
            "Interface": columns(&["name", "ofport", "ifindex", "error"]),
        });
        self.monitor(CHANGES, tables).await
    }

    /// Has [`changed`](Self::changed) notice changes of these columns.
    pub(crate) async fn monitor(&mut self, name: &str, tables: Value) -> Result<(), Error> {
        self.call("monitor", vec![json!("Open_vSwitch"), json!(name), tables]).await.map(drop)
    }

    /// Waits until something [`watch`](Self::watch)ed changes; at once if it has since the last time.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn changed(&mut self) -> Result<(), Error> {
        while !self.changed {
            self.receive().await?;
        }
        self.changed = false;
        Ok(())
    }

    async fn call(&mut self, method: &str, params: Vec<Value>) -> Result<Value, Error> {
        self.last_id += 1;
        let id = self.last_id;
        self.say(&json!({"method": method, "params": params, "id": id}));
        let answer = async {
            loop {
                if let Some((_, result)) = self.receive().await?.filter(|(answered, _)| *answered == id) {
                    return result.map_err(|error| Error::Refused(clean(&error.to_string())));
                }
            }
        };
        within(ANSWER, answer).await
    }

    fn say(&mut self, message: &Value) {
        self.outgoing.extend_from_slice(message.to_string().as_bytes());
    }

    /// Sends what there is to send and takes one message: an answer, with the number of its request, is returned;
    /// anything else is dealt with.
    async fn receive(&mut self) -> Result<Option<(u64, Result<Value, Value>)>, Error> {
        let object = loop {
            // First, so that a server that asks and asks is answered, and not remembered.
            while !self.outgoing.is_empty() {
                let sent = self.stream.write(&self.outgoing).await?;
                self.outgoing.drain(..sent);
            }
            if let Some(object) = self.decoder.next_object()? {
                break object;
            }
            if self.stream.read_buf(self.decoder.buffer()).await? == 0 {
                return Err(Error::Closed);
            }
        };
        match Message::read(&object).ok_or(Error::Nonsense("it is no JSON"))? {
            Message::Answer { id, result } => return Ok(Some((id, result))),
            Message::Echo { params, id } => self.say(&json!({"result": params, "error": null, "id": id})),
            Message::Update { monitor, tables } if monitor.starts_with(CONFIGURED) => {
                self.configured = configured(&tables).or(self.configured);
            }
            Message::Update { .. } => self.changed = true,
            Message::Other => {}
        }
        Ok(None)
    }
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(patience, work).await.unwrap_or(Err(Error::Silent(patience)))
}

/// `cur_cfg` in a `<table-updates>`.
fn configured(tables: &Value) -> Option<i64> {
    let rows = tables.get("Open_vSwitch")?.as_object()?;
    rows.values().find_map(|row| Datum::read(row.get("new")?.get("cur_cfg")?)?.into_integer())
}

/// An operation that was refused.
struct Refusal {
    /// Which.
    at: usize,
    /// The `<error>` in the place of its result (section 3.1).
    result: Value,
}

impl Refusal {
    /// As people read it.
    fn into_error(self) -> Error {
        let text = |name: &str| self.result.get(name).and_then(Value::as_str).map(clean);
        Error::Refused(match (text("error"), text("details")) {
            (Some(error), Some(details)) => format!("{error}: {details}"),
            (Some(error), None) => error,
            _ => "without saying why".into(),
        })
    }
}
