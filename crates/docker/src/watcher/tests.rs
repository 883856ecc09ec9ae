use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::{ContainerInfo, DockerView, Doubts, Sketch, Times, Watcher, WatcherError};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the fake engine has, and how it behaves.
#[derive(Default)]
struct Contents {
    networks: BTreeMap<String, Value>,
    containers: BTreeMap<String, Value>,
    /// Paths that get no answer while they are here.
    hanging: BTreeSet<String>,
    /// Paths that get this instead of an answer.
    garbage: BTreeMap<String, String>,
}

/// An Engine API of version 1.41 on a unix socket. Dropping it closes all connections.
struct Engine {
    contents: Arc<Mutex<Contents>>,
    changed: watch::Sender<()>,
    asked: watch::Sender<Vec<String>>,
    events: broadcast::Sender<String>,
    _serving: AbortOnDropHandle<()>,
}

impl Engine {
    fn start(socket: &PathBuf, contents: Contents) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let contents = Arc::new(Mutex::new(contents));
        let (changed, asked, events) =
            (watch::Sender::default(), watch::Sender::default(), broadcast::Sender::new(64));
        let (c, ch, a, ev) = (contents.clone(), changed.clone(), asked.clone(), events.clone());
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(answer(stream, c.clone(), ch.subscribe(), a.clone(), ev.clone()));
            }
        });
        Self { contents, changed, asked, events, _serving: AbortOnDropHandle::new(serving) }
    }

    fn change(&self, change: impl FnOnce(&mut Contents)) {
        change(&mut self.contents.lock().unwrap());
        self.changed.send_replace(());
    }

    /// Waits until it was asked so often for paths that start so.
    async fn asked(&self, path: &str, times: usize) {
        let mut asked = self.asked.subscribe();
        let often = asked.wait_for(|asked| asked.iter().filter(|p| p.starts_with(path)).count() >= times);
        let seen = tokio::time::timeout(PATIENCE, often).await;
        let _ =
            seen.unwrap_or_else(|_| panic!("not asked {times} times for {path}: {:?}", self.asked.borrow()));
    }

    fn event(&self, kind: &str, action: &str, id: &str, attributes: &Value) {
        let event = json!({"Type": kind, "Action": action, "Actor": {"ID": id, "Attributes": attributes}});
        // Nobody listening is fine.
        let _ = self.events.send(format!("{event}\n"));
    }
}

async fn answer(
    mut stream: UnixStream,
    contents: Arc<Mutex<Contents>>,
    mut changed: watch::Receiver<()>,
    asked: watch::Sender<Vec<String>>,
    events: broadcast::Sender<String>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let path = target.split('?').next().unwrap().to_owned();
    let mut listening = events.subscribe();
    asked.send_modify(|asked| asked.push(target));
    while contents.lock().unwrap().hanging.contains(&path) {
        if changed.changed().await.is_err() {
            return;
        }
    }
    let garbage = contents.lock().unwrap().garbage.get(&path).cloned();
    if let Some(garbage) = garbage {
        let _ = stream.write_all(garbage.as_bytes()).await;
        return;
    }
    if path == "/v1.41/events" {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        while let Ok(event) = listening.recv().await {
            // In two chunks, so that events do not come whole.
            let (a, b) = event.split_at(event.len() / 2);
            for part in [a, b].into_iter().filter(|part| !part.is_empty()) {
                let chunk = format!("{:x}\r\n{part}\r\n", part.len());
                if stream.write_all(chunk.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
        return;
    }
    let body = contents.lock().unwrap().respond(&path);
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default().to_string();
    let text =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(text.as_bytes()).await;
}

impl Contents {
    fn respond(&self, path: &str) -> Option<Value> {
        if path == "/version" {
            return Some(json!({"ApiVersion": "1.41", "MinAPIVersion": "1.12"}));
        }
        let path = path.strip_prefix("/v1.41")?;
        match path {
            "/networks" => Some(self.networks.values().cloned().collect()),
            "/containers/json" => Some(self.containers.keys().map(|id| json!({"Id": id})).collect()),
            _ => {
                if let Some(id) = path.strip_prefix("/networks/") {
                    return self.networks.get(id).cloned();
                }
                let id = path.strip_prefix("/containers/")?.strip_suffix("/json")?;
                self.containers.get(id).cloned()
            }
        }
    }

    fn with(mut self, id: &str, container: Value) -> Self {
        self.containers.insert(id.to_owned(), container);
        self
    }
}

fn lan() -> Contents {
    let network = json!({"Id": "n1", "Name": "lan", "Driver": "landline", "Options": {"bridge": "br0"}});
    Contents { networks: BTreeMap::from([("n1".to_owned(), network)]), ..Contents::default() }
}

fn container(name: &str, endpoint: &str) -> Value {
    json!({
        "Name": format!("/{name}"),
        "Config": {"Hostname": format!("{name}-host"), "Domainname": "", "Labels": {"a": "b"}},
        "State": {"Running": true, "Pid": 42},
        "NetworkSettings": {"Networks": {"lan": {"NetworkID": "n1", "EndpointID": endpoint}}},
    })
}

struct Watching {
    socket: PathBuf,
    view: watch::Receiver<Arc<DockerView>>,
    doubts: Arc<Doubts>,
    _running: DropGuard,
    _dir: TempDir,
}

impl Watching {
    fn start() -> Self {
        Self::start_patiently(Duration::from_millis(20))
    }

    fn start_patiently(longest_pause: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let mut watcher = Watcher::new(&format!("unix://{}", socket.display())).unwrap();
        watcher.times = Times {
            answer: Duration::from_millis(500),
            lookup: Duration::from_millis(500),
            first_pause: longest_pause / 4,
            longest_pause,
            longest_wait: longest_pause * 8,
        };
        let (view, doubts, cancel) = (watcher.view(), watcher.doubts(), CancellationToken::new());
        tokio::spawn(watcher.run(cancel.clone()));
        Self { socket, view, doubts, _running: cancel.drop_guard(), _dir: dir }
    }

    async fn until(&mut self, what: &str, happened: impl Fn(&DockerView) -> bool) -> Arc<DockerView> {
        let seen = tokio::time::timeout(PATIENCE, self.view.wait_for(|view| happened(view))).await;
        let seen = seen.map(|seen| seen.unwrap().clone());
        seen.unwrap_or_else(|_| panic!("not seen: {what}; but {:?}", self.view.borrow()))
    }

    async fn until_known(&mut self, endpoint: &str) -> ContainerInfo {
        let id = endpoint.parse().unwrap();
        let view = self.until(endpoint, |view| view.endpoints.contains_key(&id)).await;
        view.endpoints[&id].clone()
    }

    fn knows(&self, endpoint: &str) -> bool {
        self.view.borrow().endpoints.contains_key(&endpoint.parse().unwrap())
    }
}

#[test]
fn addresses_are_unix_sockets() {
    assert!(Watcher::new("unix:///var/run/docker.sock").is_ok());
    assert!(Watcher::new("/run/docker.sock").is_ok());
    for address in ["", "tcp://127.0.0.1:2375", "docker.sock", "unix://docker.sock", "unix:docker.sock"] {
        assert_eq!(Watcher::new(address).err(), Some(WatcherError::Address(address.to_owned())));
    }
}

#[tokio::test]
async fn what_was_there_before_is_seen() {
    let mut watching = Watching::start();
    let engine = Engine::start(&watching.socket, lan().with("c1", container("web", "e1")));
    let web = watching.until_known("e1").await;
    assert_eq!(
        (web.container_id.as_str(), web.name.as_str(), web.hostname.as_str()),
        ("c1", "web", "web-host")
    );
    assert_eq!((web.running, web.pid), (true, Some(42)));
    assert_eq!(web.labels, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    let view = watching.view.borrow().clone();
    assert!(view.connected);
    assert_eq!(view.networks[&"n1".parse().unwrap()].name, "lan");
    let asked = engine.asked.borrow().clone();
    // Events first: what happens while the lists are read must not be missed.
    assert_eq!(asked[0], "/version");
    assert!(asked[1].starts_with("/v1.41/events?since=1"), "{asked:?}");
}

#[tokio::test]
async fn a_container_starts_and_goes() {
    let mut watching = Watching::start();
    let engine = Engine::start(&watching.socket, lan());
    watching.until("connection", |view| view.connected).await;
    let stopped = json!({"Name": "/web", "Config": {"Hostname": "web"}, "NetworkSettings": {"Networks": {}}});
    engine.change(|contents| drop(contents.containers.insert("c1".into(), stopped)));
    engine.event("container", "create", "c1", &json!({"name": "web"}));
    engine.change(|contents| drop(contents.containers.insert("c1".into(), container("web", "e1"))));
    engine.event("network", "connect", "n1", &json!({"container": "c1"}));
    engine.event("container", "start", "c1", &json!({}));
    assert_eq!(watching.until_known("e1").await.hostname, "web-host");
    engine.change(|contents| drop(contents.containers.insert("c1".into(), container("shop", "e1"))));
    engine.event("container", "rename", "c1", &json!({"name": "shop"}));
    watching.until("new name", |view| view.endpoints.values().any(|info| info.name == "shop")).await;
    engine.change(|contents| drop(contents.containers.remove("c1")));
    engine.event("network", "disconnect", "n1", &json!({"container": "c1"}));
    engine.event("container", "die", "c1", &json!({}));
    engine.event("container", "destroy", "c1", &json!({}));
    watching.until("no endpoint", |view| view.endpoints.is_empty()).await;
}

fn stopped(networks: &Value) -> Value {
    json!({"Name": "/web", "State": {"Error": "", "Running": false}, "NetworkSettings": {"Networks": networks}})
}

fn web(view: &DockerView) -> Option<&ContainerInfo> {
    match view.containers.get("c1")? {
        Sketch::Info(info) => Some(info),
        Sketch::Name(_) => None,
    }
}

#[tokio::test]
async fn what_a_failed_start_has_changed_is_seen_once_somebody_doubts_it() {
    let mut watching = Watching::start();
    let on_lan = json!({"lan": {"NetworkID": "n1"}});
    let contents = lan().with("c1", stopped(&on_lan)).with("c2", container("runs", "e2"));
    let engine = Engine::start(&watching.socket, contents);
    watching.until("the container", |view| web(view).is_some_and(|web| web.networks.contains("n1"))).await;
    watching.until_known("e2").await;
    // Docker tells nobody.
    engine.change(|contents| drop(contents.containers.insert("c1".into(), stopped(&json!({})))));
    watching.doubts.about_network("n2".parse().unwrap());
    watching.doubts.about_network("n1".parse().unwrap());
    let view =
        watching.until("the change", |view| web(view).is_some_and(|web| web.networks.is_empty())).await;
    assert!(web(&view).unwrap().disconnected.is_empty());
    // Nor does it tell that a container that does not run is connected.
    engine.change(|contents| drop(contents.containers.insert("c1".into(), stopped(&on_lan))));
    watching.doubts.about_container("c1");
    watching.until("its network", |view| web(view).is_some_and(|web| web.networks.contains("n1"))).await;
    let asked = engine.asked.borrow().clone();
    let running = asked.iter().filter(|path| path.starts_with("/v1.41/containers/c2/")).count();
    assert_eq!(running, 1, "what runs is not in doubt: {asked:?}");
}

#[tokio::test]
async fn who_is_disconnected_by_its_user_is_told_from_who_stops() {
    let mut watching = Watching::start();
    let on_lan = json!({"lan": {"NetworkID": "n1"}});
    let engine = Engine::start(&watching.socket, lan().with("c1", container("web", "e1")));
    watching.until_known("e1").await;
    engine.change(|contents| drop(contents.containers.insert("c1".into(), stopped(&on_lan))));
    engine.event("network", "disconnect", "n1", &json!({"container": "c1"}));
    engine.event("container", "die", "c1", &json!({}));
    let view = watching
        .until("its end", |view| web(view).is_some_and(|web| !web.running && web.requested.len() == 1))
        .await;
    watching
        .until("that it is attached", |view| web(view).is_some_and(|web| web.disconnected.is_empty()))
        .await;
    assert!(view.is_attached(web(&view).unwrap(), &"n1".parse().unwrap()));
    engine.change(|contents| drop(contents.containers.insert("c1".into(), stopped(&json!({})))));
    engine.event("network", "disconnect", "n1", &json!({"container": "c1"}));
    watching
        .until("its user's word", |view| {
            web(view).is_some_and(|web| web.networks.is_empty() && web.disconnected.len() == 1)
        })
        .await;
}

#[tokio::test]
async fn networks_come_and_go() {
    let mut watching = Watching::start();
    let engine = Engine::start(&watching.socket, Contents::default());
    watching.until("connection", |view| view.connected && view.networks.is_empty()).await;
    engine.change(|contents| drop(contents.networks.insert("n1".into(), lan().networks["n1"].clone())));
    engine.event("network", "create", "n1", &json!({"name": "lan"}));
    watching.until("network", |view| view.networks.len() == 1).await;
    engine.change(|contents| contents.networks.clear());
    engine.event("network", "destroy", "n1", &json!({}));
    watching.until("no network", |view| view.networks.is_empty()).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_delays_no_other() {
    let mut watching = Watching::start();
    let mut contents = lan();
    for i in 0..100 {
        contents.containers.insert(format!("slow{i}"), container("slow", &format!("slow{i}")));
        contents.hanging.insert(format!("/v1.41/containers/slow{i}/json"));
    }
    let contents = contents.with("z", container("quick", "quick"));
    let engine = Engine::start(&watching.socket, contents);
    assert_eq!(watching.until_known("quick").await.name, "quick");
    assert!((0..100).all(|i| !watching.knows(&format!("slow{i}"))));
    engine.change(|contents| contents.hanging.clear());
    watching.until("all of them", |view| view.endpoints.len() == 101).await;
}

#[tokio::test]
async fn what_got_no_answer_is_asked_again() {
    let mut watching = Watching::start();
    let mut contents = lan().with("c1", container("web", "e1"));
    contents.hanging.insert("/v1.41/containers/c1/json".into());
    let engine = Engine::start(&watching.socket, contents);
    engine.asked("/v1.41/containers/c1/", 2).await;
    engine.change(|contents| contents.hanging.clear());
    watching.until_known("e1").await;
}

#[tokio::test]
async fn while_a_container_starts_its_network_says_whose_the_endpoint_is() {
    let mut watching = Watching::start();
    // It does not run yet, but has one endpoint, so that it shows when it has been inspected.
    let created = container("web", "e0");
    let engine = Engine::start(&watching.socket, lan().with("c1", created));
    watching.until_known("e0").await;
    engine.change(|contents| {
        contents.hanging.insert("/v1.41/containers/c1/json".into());
        let mut starting = lan().networks["n1"].clone();
        starting["Containers"] = json!({"c1": {"EndpointID": "e1"}, "ep-x": {"EndpointID": "e9"}});
        contents.networks.insert("n1".into(), starting);
    });
    engine.event("network", "connect", "n1", &json!({"container": "c1"}));
    assert_eq!(watching.until_known("e1").await.hostname, "web-host");
    assert!(!watching.knows("e9"));
}

#[tokio::test]
async fn after_a_restart_everything_is_read_again() {
    let mut watching = Watching::start();
    let engine = Engine::start(&watching.socket, lan().with("c1", container("web", "e1")));
    watching.until_known("e1").await;
    drop(engine);
    let view = watching.until("disconnection", |view| !view.connected).await;
    assert_eq!(view.endpoints.len(), 1, "what was known is forgotten");
    let _engine = Engine::start(&watching.socket, lan().with("c2", container("db", "e2")));
    let view = watching.until("resync", |view| view.endpoints.contains_key(&"e2".parse().unwrap())).await;
    assert!(view.connected && view.endpoints.len() == 1);
}

#[tokio::test]
async fn a_socket_that_is_made_anew_is_not_waited_for() {
    let mut watching = Watching::start_patiently(PATIENCE * 40);
    for (container_id, endpoint) in [("c1", "e1"), ("c2", "e2")] {
        let engine = Engine::start(&watching.socket, lan().with(container_id, container("web", endpoint)));
        watching.until_known(endpoint).await;
        drop(engine);
        watching.until("disconnection", |view| !view.connected).await;
    }
}

/// As in a container: what the engine makes is elsewhere, and comes here by a mount.
#[tokio::test]
async fn an_engine_whose_files_are_not_seen_is_found_all_the_same() {
    let mut watching = Watching::start();
    let elsewhere = tempfile::tempdir().unwrap();
    let socket = elsewhere.path().join("docker.sock");
    std::os::unix::fs::symlink(&socket, &watching.socket).unwrap();
    for (container_id, endpoint) in [("c1", "e1"), ("c2", "e2")] {
        let engine = Engine::start(&socket, lan().with(container_id, container("web", endpoint)));
        watching.until_known(endpoint).await;
        drop(engine);
        watching.until("disconnection", |view| !view.connected).await;
    }
}

#[tokio::test]
async fn garbage_is_survived() {
    let sane = || lan().with("c1", container("web", "e1"));
    let long = format!("HTTP/1.1 200 OK\r\n\r\n\"{}", "x".repeat(3 << 20));
    for (path, garbage) in [
        ("/version", "\x16\x03\x01"),
        ("/version", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n["),
        ("/v1.41/networks", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}"),
        ("/v1.41/containers/json", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n["),
        ("/v1.41/containers/json", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        ("/v1.41/events", "HTTP/1.1 200 OK\r\n\r\nnot json\n"),
        ("/v1.41/events", long.as_str()),
        ("/v1.41/events", ""),
    ] {
        let mut watching = Watching::start();
        let mut contents = sane();
        contents.garbage.insert(path.into(), garbage.into());
        let engine = Engine::start(&watching.socket, contents);
        engine.asked(path, 3).await;
        engine.change(|contents| contents.garbage.clear());
        watching.until_known("e1").await;
        watching.until("connection", |view| view.connected).await;
    }
}

#[tokio::test]
async fn one_container_that_makes_no_sense_hides_no_other() {
    let mut watching = Watching::start();
    let contents = lan().with("c0", json!({"Name": 7})).with("c1", container("web", "e1"));
    let engine = Engine::start(&watching.socket, contents);
    watching.until_known("e1").await;
    // Ids are put into paths; these are none.
    for id in ["../x", "", "a b", "%2e"] {
        engine.event("container", "start", id, &json!({}));
        engine.event("network", "connect", "n1", &json!({"container": id}));
    }
    engine.change(|contents| drop(contents.containers.insert("c2".into(), container("db", "e2"))));
    engine.event("container", "start", "c2", &json!({}));
    watching.until_known("e2").await;
    let asked = engine.asked.borrow().clone();
    assert!(
        asked.iter().all(|path| !path.contains("..") && !path.contains('%') || path.contains("filters="))
    );
}

#[tokio::test]
async fn it_ends_when_told() {
    let watcher = Watcher::new("/nonexistent/docker.sock").unwrap();
    let cancel = CancellationToken::new();
    let running = tokio::spawn(watcher.run(cancel.clone()));
    cancel.cancel();
    tokio::time::timeout(PATIENCE, running).await.expect("does not end").unwrap();
}
