//! The client against a server that says what no good one would, or what Open vSwitch says on a bad day.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use landline_ovsdb::{Client, Decoder, Error, FramingError, NewPort, Vlans};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROW: &str = "00000001-0000-4000-8000-000000000000";

/// What a server does about a message.
enum Reply {
    Say(Vec<u8>),
    SayAndHangUp(Vec<u8>),
}

/// A server that does about each message what `answer` makes of it.
struct Fake {
    dir: tempfile::TempDir,
    /// What it was sent.
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Fake {
    fn new(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let fake = Self { dir: tempfile::tempdir()?, heard: Arc::default() };
        let (listener, heard) = (UnixListener::bind(fake.socket())?, Arc::clone(&fake.heard));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = talk(stream, &heard, &answer).await;
            }
        });
        Ok(fake)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("db.sock")
    }

    async fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.socket()).await?)
    }

    fn heard(&self, wanted: impl Fn(&Value) -> bool) -> usize {
        self.heard.lock().map_or(0, |heard| heard.iter().filter(|said| wanted(said)).count())
    }
}

async fn talk(
    mut stream: UnixStream,
    heard: &Mutex<Vec<Value>>,
    answer: &(impl Fn(&Value) -> Reply + Sync),
) -> Result {
    let mut decoder = Decoder::default();
    while stream.read_buf(decoder.buffer()).await? > 0 {
        while let Some(object) = decoder.next_object()? {
            let said: Value = serde_json::from_slice(&object)?;
            if let Ok(mut heard) = heard.lock() {
                heard.push(said.clone());
            }
            match answer(&said) {
                Reply::Say(bytes) => stream.write_all(&bytes).await?,
                Reply::SayAndHangUp(bytes) => return Ok(stream.write_all(&bytes).await?),
            }
        }
    }
    Ok(())
}

/// The answer to a request.
fn result(said: &Value, result: &Value) -> Reply {
    Reply::Say(json!({"id": said["id"], "error": null, "result": result}).to_string().into_bytes())
}

fn no_rows() -> Value {
    json!([{"rows": []}, {"rows": []}, {"rows": []}])
}

#[tokio::test]
async fn an_answer_is_found_among_everything_else() -> Result {
    let fake = Fake::new(|said| {
        if said["result"] == json!(["are you there"]) {
            // Now that the echo was answered.
            return result(&json!({"id": 1}), &no_rows());
        }
        let before = [
            json!({"id": 0, "error": null, "result": []}),
            json!({"id": 2, "error": "not yours", "result": null}),
            json!({"id": "1", "error": null, "result": []}),
            json!({"id": null, "method": "locked", "params": ["x"]}),
            json!({"id": null, "method": "update", "params": ["x", {}]}),
            json!({"id": "echo", "method": "echo", "params": ["are you there"]}),
        ];
        Reply::Say(before.map(|message| format!("{message}\n")).concat().into_bytes())
    })?;
    let switch = fake.client().await?.switch().await?;
    assert!(switch.bridges.is_empty());
    assert_eq!(fake.heard(|said| said["id"] == "echo"), 1);
    Ok(())
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() -> Result {
    for (bytes, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "not JSON-RPC"),
        (b"{\"id\":1,\"result\":nonsense}", "it is no JSON"),
        (b"", "closed the connection"),
        (b"{\"id\":1,\"result\":[{}", "closed the connection"),
        (b"{\"id\":1,\"error\":\"unknown\\ndatabase\",\"result\":null}", "refused: \"unknown\\ndatabase\""),
        (b"{\"id\":1,\"error\":null,\"result\":{}}", "a transaction's result is a list"),
        (b"{\"id\":1,\"error\":null,\"result\":[{}]}", "one result an operation"),
        (b"{\"id\":1,\"error\":null,\"result\":[{},{},{},{}]}", "one result an operation"),
        (
            b"{\"id\":1,\"error\":null,\"result\":[{},{},{},{\"error\":\"io\",\"details\":\"disk\\nfull\"}]}",
            "refused: io: disk full",
        ),
    ] {
        let fake = Fake::new(|_| Reply::SayAndHangUp(bytes.to_vec()))?;
        let error = fake.client().await?.switch().await.err().ok_or("no error")?;
        let said = chain(&error);
        assert!(said.contains(expected), "{said} for {}", String::from_utf8_lossy(bytes));
    }
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

#[tokio::test]
async fn an_endless_answer_ends() -> Result {
    let endless = || [b"{\"id\":1,\"result\":[".as_slice(), &b"[],".repeat(2 << 20)].concat();
    let fake = Fake::new(move |_| Reply::Say(endless()))?;
    let error = fake.client().await?.switch().await.err().ok_or("no error")?;
    assert!(matches!(error, Error::Framing(FramingError::TooMany)), "{error}");
    Ok(())
}

/// A switch that takes every port, and says of the new one and its bridge what it is told.
fn switch_with(bridge: Value, interface: Value) -> Result<Fake> {
    Fake::new(move |said| {
        let row = json!(["uuid", ROW]);
        let operations: Vec<&str> = said["params"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|operation| operation["op"].as_str())
            .collect();
        match operations.as_slice() {
            [] => result(said, &json!({"Open_vSwitch": {ROW: {"new": {"cur_cfg": 9}}}})),
            ["select", "select", "select"] => {
                let port = json!({"_uuid": row, "name": "p0", "interfaces": row});
                result(said, &json!([{"rows": [bridge]}, {"rows": [port]}, {"rows": [interface]}]))
            }
            several => {
                let mut results = vec![json!({"uuid": row}); several.len()];
                if let Some(last) = results.last_mut() {
                    *last = json!({"rows": [{"next_cfg": 9}]});
                }
                result(said, &json!(results))
            }
        }
    })
}

#[tokio::test]
async fn a_port_that_does_not_work_is_taken_back() -> Result {
    let none = json!(["set", []]);
    let bridge = |name: &str, datapath: Value| json!({"_uuid": ["uuid", ROW], "name": name, "datapath_id": datapath, "ports": ["uuid", ROW]});
    let interface = |ofport: Value, ifindex: Value, error: Value| json!({"_uuid": ["uuid", ROW], "name": "p0", "ofport": ofport, "ifindex": ifindex, "error": error});
    let works = interface(json!(3), json!(7), none.clone());
    let fine = bridge("br0", json!("0000020000000099"));
    for (bridge, interface, expected) in [
        (fine.clone(), works.clone(), None),
        (fine.clone(), interface(json!(-1), json!(7), json!("no such\ndevice")), Some("p0: no such device")),
        (
            fine.clone(),
            interface(none.clone(), none.clone(), none.clone()),
            Some("p0: it got no port number"),
        ),
        (fine.clone(), interface(json!(3), json!(0), none.clone()), Some("p0: its network device is gone")),
        (
            bridge("br0", none.clone()),
            interface(none.clone(), none.clone(), none.clone()),
            Some("no datapath"),
        ),
        (bridge("br9", json!("99")), works.clone(), Some("has no bridge br0; it has br9")),
        (fine.clone(), json!({"name": "p0"}), Some("p0: it has no interface")),
    ] {
        let fake = switch_with(bridge, interface)?;
        let port = NewPort {
            name: "p0".into(),
            bridge: "br0".into(),
            vlans: Vlans::All,
            external_ids: BTreeMap::new(),
            transient: true,
        };
        let made = fake.client().await?.add_port(&port).await;
        let removal = json!([["ports", "delete", ["uuid", ROW]]]);
        let removed = fake.heard(|said| said["params"][1]["mutations"] == removal);
        match (made, expected) {
            (Ok(bridge), None) => assert_eq!((bridge.name.as_str(), removed), ("br0", 0)),
            (Err(error), Some(text)) => {
                assert!(error.to_string().contains(text), "{error}");
                assert_eq!(removed, 1, "{error}");
            }
            (made, _) => return Err(format!("{made:?} instead of {expected:?}").into()),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_call_that_was_given_up_leaves_the_connection_as_good_as_before() -> Result {
    let fake = Fake::new(|said| {
        // The answer to the first request comes with that to the second.
        let number = said["id"].as_u64().unwrap_or_default();
        let answer = |id: u64| json!({"id": id, "error": null, "result": no_rows()}).to_string();
        Reply::Say(if number == 1 { Vec::new() } else { (answer(1) + &answer(number)).into_bytes() })
    })?;
    let mut client = fake.client().await?;
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(100), client.switch()).await;
    assert!(given_up.is_err());
    assert!(client.switch().await?.bridges.is_empty());
    Ok(())
}
