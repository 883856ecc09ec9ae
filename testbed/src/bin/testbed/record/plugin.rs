//! A network and IPAM driver that writes down what it is asked and does the least that keeps Docker content: a macvlan
//! child of the bridge for every endpoint, with an address that is counted up. The first network has a gateway.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use landline_testbed::{Error, Node, ROUTER_V4, Result};

/// What Docker shows when an endpoint is refused.
pub(super) const REFUSAL: &str = "no DHCP server has answered";

/// A request as it came in.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// What was going on.
    pub(super) during: String,
    pub(super) path: String,
    /// `null` where there was none.
    pub(super) body: Value,
}

#[derive(Debug, Default)]
struct State {
    during: String,
    requests: Vec<Request>,
    /// Ids of the networks, in the order in which they were made.
    networks: Vec<String>,
    /// Endpoints so far; the last byte of their addresses.
    endpoints: u8,
}

/// The running driver. Its thread ends with the process: it listens on a socket that goes with the host.
#[derive(Debug)]
pub(super) struct Plugin {
    state: Arc<Mutex<State>>,
}

impl Plugin {
    /// Listens on `socket`, which is a path into the host's own `/run`.
    pub(super) fn start(host: Node, socket: &Path) -> Result<Self> {
        let failed = |source| Error::File { what: "cannot listen on", path: socket.to_owned(), source };
        let listener = UnixListener::bind(socket).map_err(failed)?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (host, state) = (host.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(&host, &state, &connection));
            }
        });
        Ok(Self { state })
    }

    /// Says what is going on from now on.
    pub(super) fn during(&self, what: &str) {
        what.clone_into(&mut locked(&self.state).during);
    }

    /// Everything so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        locked(&self.state).requests.clone()
    }
}

impl State {
    /// Writes a request down; how many networks were made before its own, and how many endpoints so far.
    fn note(&mut self, path: &str, body: &Value) -> (usize, u8) {
        self.requests.push(Request {
            during: self.during.clone(),
            path: path.to_owned(),
            body: body.clone(),
        });
        let network = body["NetworkID"].as_str().unwrap_or_default();
        match path {
            "/NetworkDriver.CreateNetwork" => self.networks.push(network.to_owned()),
            "/NetworkDriver.CreateEndpoint" => self.endpoints = self.endpoints.wrapping_add(1),
            _ => {}
        }
        (self.networks.iter().position(|known| known == network).unwrap_or(0), self.endpoints)
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The requests of one connection, one after the other.
fn serve(host: &Node, state: &Mutex<State>, connection: &UnixStream) {
    let mut reader = BufReader::new(connection);
    while let Some((path, body)) = read_request(&mut reader) {
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (network, number) = locked(state).note(&path, &body);
        let answer = answer(host, &path, &body, network, number).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        let mut writer = connection;
        if writer.write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

/// The path and body of the next request; `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|length| *length > 0)?;
        let Some((name, value)) = header.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body).ok()?;
    Some((path, body))
}

fn answer(host: &Node, path: &str, body: &Value, network: usize, number: u8) -> Value {
    let link = format!("rec{}", body["EndpointID"].as_str().unwrap_or_default().get(..8).unwrap_or_default());
    match path {
        "/Plugin.Activate" => json!({"Implements": ["NetworkDriver", "IpamDriver"]}),
        "/NetworkDriver.GetCapabilities" => {
            json!({"Scope": "local", "ConnectivityScope": "local", "GwAllocChecker": true})
        }
        "/NetworkDriver.GwAllocCheck" => json!({"SkipIPv4": true, "SkipIPv6": true}),
        "/NetworkDriver.CreateEndpoint" => create_endpoint(host, body, &link, network, number),
        "/NetworkDriver.Join" => {
            let gateway = if network == 0 { ROUTER_V4 } else { "" };
            json!({
                "InterfaceName": {"SrcName": link, "DstPrefix": "eth"},
                "Gateway": gateway,
                "DisableGatewayService": true,
            })
        }
        "/NetworkDriver.DeleteEndpoint" => {
            let _ = host.run(&["ip", "link", "del", &link]);
            json!({})
        }
        "/NetworkDriver.EndpointOperInfo" => json!({"Value": {}}),
        "/IpamDriver.GetCapabilities" => json!({"RequiresMACAddress": false, "RequiresRequestReplay": false}),
        "/IpamDriver.GetDefaultAddressSpaces" => {
            json!({"LocalDefaultAddressSpace": "landline", "GlobalDefaultAddressSpace": "landline"})
        }
        "/IpamDriver.RequestPool" => json!({"PoolID": "pool", "Pool": body["Pool"], "Data": {}}),
        "/IpamDriver.RequestAddress" => {
            let asked = body["Address"].as_str().filter(|address| !address.is_empty());
            json!({"Address": format!("{}/25", asked.unwrap_or("203.0.113.200"))})
        }
        _ => json!({}),
    }
}

fn create_endpoint(host: &Node, body: &Value, link: &str, network: usize, number: u8) -> Value {
    let asked = body["Interface"]["MacAddress"].as_str().filter(|mac| !mac.is_empty());
    if asked == Some(super::REFUSED_MAC) {
        return json!({"Err": REFUSAL});
    }
    let own = format!("02:00:00:00:01:{number:02x}");
    let mac = asked.unwrap_or(&own);
    let made = host.check(&[
        "ip", "link", "add", link, "link", "br0", "address", mac, "type", "macvlan", "mode", "bridge",
    ]);
    if let Err(error) = made {
        return json!({"Err": error.to_string()});
    }
    // A driver may fill in only what came empty. Networks of their own, as two in a container must not overlap.
    let prefix = if network == 0 { "192.0.2" } else { "203.0.113" };
    let mut interface = json!({});
    if body["Interface"]["Address"].as_str().is_none_or(str::is_empty) {
        interface["Address"] = json!(format!("{prefix}.{}/24", 99 + u16::from(number)));
    }
    if asked.is_none() {
        interface["MacAddress"] = json!(own);
    }
    json!({ "Interface": interface })
}
