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
        let count = operations.len();
        let params = std::iter::once(json!("Open_vSwitch")).chain(operations).collect();
        let Value::Array(results) = self.call("transact", params).await? else {
            return Err(Error::Nonsense("a transaction's result is a list"));
        };
        if let Some(error) = results.iter().find(|result| result.get("error").is_some_and(|e| !e.is_null())) {
            return Err(Error::Refused(refusal(error)));
        }
        // A failure to commit is one result more, so with as many as operations there was none.
        if results.len() == count { Ok(results) } else { Err(Error::Nonsense("one result an operation")) }
    }

    /// As [`transact`](Self::transact), for operations that begin with `guards` waits: the number of the first
    /// that does not hold is `Ok(Err(number))`.
    pub(crate) async fn transact_guarded(
        &mut self,
        guards: usize,
        operations: Vec<Value>,
    ) -> Result<Result<Vec<Value>, usize>, Error> {
        let count = operations.len();
        let params = std::iter::once(json!("Open_vSwitch")).chain(operations).collect();
        let Value::Array(results) = self.call("transact", params).await? else {
            return Err(Error::Nonsense("a transaction's result is a list"));
        };
        match results.iter().position(|result| result.get("error").is_some_and(|e| !e.is_null())) {
            Some(at) if at < guards && results[at]["error"] == "timed out" => Ok(Err(at)),
            Some(at) => Err(Error::Refused(refusal(&results[at]))),
            None if results.len() == count => Ok(Ok(results)),
            None => Err(Error::Nonsense("one result an operation")),
        }
    }

    /// Waits until `ovs-vswitchd` has carried out the configuration of this number.
    pub(crate) async fn applied(&mut self, number: i64, patience: Duration) -> Result<(), Error> {
        if self.configured.is_none() {
            let tables = json!({"Open_vSwitch": {"columns": ["cur_cfg"]}});
            let first = self.call("monitor", vec![json!("Open_vSwitch"), json!(CONFIGURED), tables]).await?;
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
        self.call("monitor", vec![json!("Open_vSwitch"), json!(CHANGES), tables]).await?;
        Ok(())
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
            if let Some(object) = self.decoder.next_object()? {
                break object;
            }
            while !self.outgoing.is_empty() {
                let sent = self.stream.write(&self.outgoing).await?;
                self.outgoing.drain(..sent);
            }
            if self.stream.read_buf(self.decoder.buffer()).await? == 0 {
                return Err(Error::Closed);
            }
        };
        match Message::read(&object).ok_or(Error::Nonsense("it is no JSON"))? {
            Message::Answer { id, result } => return Ok(Some((id, result))),
            Message::Echo { params, id } => self.say(&json!({"result": params, "error": null, "id": id})),
            Message::Update { monitor, tables } if monitor == CONFIGURED => {
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

/// An `<error>` (section 3.1) as people read it.
fn refusal(error: &Value) -> String {
    let text = |name: &str| error.get(name).and_then(Value::as_str).map(clean);
    match (text("error"), text("details")) {
        (Some(error), Some(details)) => format!("{error}: {details}"),
        (Some(error), None) => error,
        _ => "without saying why".into(),
    }
}
