//! The plugin protocol over a real socket: what Docker sends, and what nobody should.

mod common;

use std::time::Duration;

use common::{Mood, PATIENCE, Server, answer, request};
use landline_docker::Limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

fn endpoint() -> Value {
    json!({"NetworkID": "n1", "EndpointID": "e1"})
}

#[tokio::test]
async fn activation_and_capabilities() {
    let server = Server::start();
    let (status, activation) = server.post("/Plugin.Activate", b"").await;
    assert_eq!((status, activation), (200, json!({"Implements": ["NetworkDriver", "IpamDriver"]})));
    let capabilities = server.ask("GetCapabilities", &Value::Null).await;
    assert_eq!(
        capabilities,
        json!({"Scope": "local", "ConnectivityScope": "global", "GwAllocChecker": false})
    );
}

#[tokio::test]
async fn an_endpoints_life() {
    let server = Server::start();
    let network = json!({"NetworkID": "n1", "Options": {"com.docker.network.generic": {"bridge": "br0"}}});
    assert_eq!(server.ask("CreateNetwork", &network).await, json!({}));
    let created = server.ask("CreateEndpoint", &endpoint()).await;
    let interface = json!({"Address": "192.0.2.9/24", "AddressIPv6": "", "MacAddress": "02:00:00:00:00:09"});
    assert_eq!(created, json!({"Interface": interface}));
    let mut join = endpoint();
    join["SandboxKey"] = json!("/var/run/docker/netns/0123456789ab");
    let joined = server.ask("Join", &join).await;
    assert_eq!(joined["InterfaceName"], json!({"SrcName": "llc0", "DstPrefix": "eth"}));
    assert_eq!(server.ask("EndpointOperInfo", &endpoint()).await, json!({"Value": {"state": "bound"}}));
    for verb in ["ProgramExternalConnectivity", "RevokeExternalConnectivity", "Leave", "DeleteEndpoint"] {
        assert_eq!(server.ask(verb, &endpoint()).await, json!({}), "{verb}");
    }
    assert_eq!(server.ask("DeleteNetwork", &json!({"NetworkID": "n1"})).await, json!({}));
    assert_eq!(
        server.driver.calls(),
        [
            "create_network n1 {\"bridge\": \"br0\"}",
            "create_endpoint e1",
            "join e1 Some(\"/var/run/docker/netns/0123456789ab\")",
            "endpoint_info e1",
            "program_external_connectivity e1",
            "revoke_external_connectivity e1",
            "leave e1",
            "delete_endpoint e1",
            "delete_network n1",
        ]
    );
}

#[tokio::test]
async fn what_the_request_gave_is_not_given_back() {
    let server = Server::start();
    let mut request = endpoint();
    request["Interface"] = json!({"MacAddress": "02:00:00:00:00:01"});
    let created = server.ask("CreateEndpoint", &request).await;
    assert_eq!(created["Interface"], json!({"Address": "192.0.2.9/24", "AddressIPv6": "", "MacAddress": ""}));
}

#[tokio::test]
async fn what_other_scopes_need_is_answered() {
    let server = Server::start();
    assert_eq!(
        server.ask("GwAllocCheck", &json!({"Options": {}})).await,
        json!({"SkipIPv4": false, "SkipIPv6": false})
    );
    for verb in ["DiscoverNew", "DiscoverDelete", "FreeNetwork"] {
        assert_eq!(server.ask(verb, &json!({"DiscoveryType": 1})).await, json!({}), "{verb}");
    }
    assert!(server.error("AllocateNetwork", b"{}").await.contains("one host"));
}

#[tokio::test]
async fn errors_are_one_sentence() {
    let server = Server::start();
    server.driver.set_mood(Mood::Failing);
    let error = server.error("CreateEndpoint", endpoint().to_string().as_bytes()).await;
    assert_eq!(error, "no lease on lan: network is\\ndown");
}

#[tokio::test]
async fn a_panic_is_an_error_and_nothing_more() {
    let server = Server::start();
    server.driver.set_mood(Mood::Panicking);
    let error = server.error("CreateEndpoint", endpoint().to_string().as_bytes()).await;
    assert_eq!(error, "Landline made a mistake of its own; its log says more");
    server.driver.set_mood(Mood::Willing);
    server.ask("CreateEndpoint", &endpoint()).await;
}

#[tokio::test]
async fn requests_have_a_deadline_and_late_results_are_undone() {
    let server = Server::start();
    server.driver.set_mood(Mood::Stuck);
    let error = server.error("CreateEndpoint", endpoint().to_string().as_bytes()).await;
    assert_eq!(error, "Landline could not do this within 0.05 seconds; its log says more");
}

#[tokio::test]
async fn a_client_that_gives_up_cancels_the_work() {
    let server = Server::start();
    server.driver.set_mood(Mood::Late);
    let mut stream = server.connect().await;
    let body = endpoint().to_string();
    stream.write_all(&request("POST", "/NetworkDriver.CreateEndpoint", body.as_bytes())).await.unwrap();
    server.driver.called("create_endpoint e1").await;
    drop(stream);
    // The driver finishes only when cancelled; nobody wants what it made.
    server.driver.called("delete_endpoint e1").await;
}

#[tokio::test]
async fn a_half_closed_connection_ends() {
    let server = Server::start();
    server.driver.set_mood(Mood::Late);
    let mut stream = server.connect().await;
    let body = endpoint().to_string();
    stream.write_all(&request("POST", "/NetworkDriver.CreateEndpoint", body.as_bytes())).await.unwrap();
    server.driver.called("create_endpoint e1").await;
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("not closed").unwrap();
    server.driver.called("delete_endpoint e1").await;
}

#[tokio::test]
async fn a_request_cut_short_reaches_nobody() {
    let server = Server::start();
    let mut stream = server.connect().await;
    stream
        .write_all(
            b"POST /NetworkDriver.CreateEndpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"Net",
        )
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("not closed").unwrap();
    server.ask("Leave", &endpoint()).await;
    assert_eq!(server.driver.calls(), ["leave e1"]);
}

#[tokio::test]
async fn a_start_that_came_without_its_contents_is_the_drivers_to_refuse() {
    let server = Server::start();
    server.driver.set_mood(Mood::Failing);
    for verb in ["CreateEndpoint", "Join"] {
        let error = server.error(verb, b"").await;
        assert!(error.ends_with("later"), "{verb}: {error}");
    }
    let error = server.error("DeleteEndpoint", b"").await;
    assert_eq!(error, "Docker repeated the request without its contents; try again");
}

#[tokio::test]
async fn a_notice_that_came_without_its_contents_succeeds() {
    let server = Server::start();
    server.driver.set_mood(Mood::Failing);
    for verb in ["Leave", "ProgramExternalConnectivity", "RevokeExternalConnectivity"] {
        for body in ["", " \r\n"] {
            let (status, answer) = server.post(&format!("/NetworkDriver.{verb}"), body.as_bytes()).await;
            assert_eq!((status, answer), (200, json!({})), "{verb}");
        }
        assert!(server.error(verb, b"{}").await.contains("does not understand"), "{verb}");
    }
    assert_eq!(server.driver.calls(), [""; 0], "whose endpoint it is was not said");
}

#[tokio::test]
async fn bodies_that_are_no_requests_are_errors() {
    let server = Server::start();
    let with_a_body =
        ["CreateNetwork", "DeleteNetwork", "CreateEndpoint", "DeleteEndpoint", "EndpointOperInfo", "Join"];
    for verb in with_a_body {
        for body in ["", " \r\n"] {
            let error = server.error(verb, body.as_bytes()).await;
            assert_eq!(error, "Docker repeated the request without its contents; try again", "{verb}");
        }
        let deep = "[".repeat(100_000);
        for body in [
            "{",
            "null",
            "[]",
            "7",
            "{}",
            "\u{0}",
            &deep,
            r#"{"NetworkID":1,"EndpointID":"e1"}"#,
            r#"{"NetworkID":"n/1","EndpointID":"e1"}"#,
            r#"{"NetworkID":"","EndpointID":"e1"}"#,
        ] {
            let error = server.error(verb, body.as_bytes()).await;
            assert!(
                error.starts_with(&format!("Landline does not understand Docker's {verb} request: ")),
                "{error}"
            );
            assert!(error.len() < 500, "{error}");
        }
        server.error(verb, b"\xff\xfe").await;
    }
    assert_eq!(server.driver.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_too_long_gets_its_answer() {
    let server = Server::start();
    let mut body = endpoint().to_string().into_bytes();
    body.resize(10 << 20, b' ');
    let error = server.error("CreateEndpoint", &body).await;
    assert_eq!(error, "the request is longer than 1048576 bytes");
    assert_eq!(server.driver.calls(), Vec::<String>::new());
    // One that is just short enough is taken.
    body.truncate(1 << 20);
    let (_, answer) = server.post("/NetworkDriver.CreateEndpoint", &body).await;
    assert_eq!(answer.get("Err"), None);
}

#[tokio::test]
async fn unknown_verbs_are_404_and_json() {
    let server = Server::start();
    for path in ["/NetworkDriver.Fly", "/IpamDriver.Fly", "/", "/..%2f", "/NetworkDriver.Join/"] {
        let (status, answer) = server.post(path, b"{}").await;
        assert_eq!(status, 404, "{path}");
        assert_eq!(answer["Err"], json!(format!("Landline has no {path}")));
    }
}

#[tokio::test]
async fn an_addresss_life() {
    let server = Server::start();
    let ask = async |verb: &str, body: Value| {
        let (status, answer) = server.post(&format!("/IpamDriver.{verb}"), body.to_string().as_bytes()).await;
        assert_eq!((status, answer.get("Error")), (200, None), "{verb}: {answer}");
        answer
    };
    assert_eq!(
        ask("GetCapabilities", Value::Null).await,
        json!({"RequiresMACAddress": false, "RequiresRequestReplay": false})
    );
    assert_eq!(
        ask("GetDefaultAddressSpaces", Value::Null).await,
        json!({"LocalDefaultAddressSpace": "landline", "GlobalDefaultAddressSpace": "landline"})
    );
    let pool = json!({"AddressSpace": "landline", "Pool": "192.0.2.0/24", "SubPool": "192.0.2.64/26",
        "Options": {"addressing": "pool"}, "V6": false});
    assert_eq!(
        ask("RequestPool", pool).await,
        json!({"PoolID": "pool1", "Pool": "192.0.2.0/24", "Data": {"com.docker.network.gateway": "0.0.0.0/0"}})
    );
    let gateway = json!({"PoolID": "pool1", "Address": "192.0.2.1",
        "Options": {"RequestAddressType": "com.docker.network.gateway"}});
    assert_eq!(ask("RequestAddress", gateway).await, json!({"Address": "192.0.2.9/24"}));
    // Engines from 29.0 say whose it is.
    let endpoint = json!({"PoolID": "pool1", "Address": "",
        "Options": {"com.docker.network.endpoint.name": "web"}});
    ask("RequestAddress", endpoint).await;
    ask("RequestAddress", json!({"PoolID": "pool1", "Address": "192.0.2.9", "Options": null})).await;
    assert_eq!(ask("ReleaseAddress", json!({"PoolID": "pool1", "Address": "192.0.2.9"})).await, json!({}));
    assert_eq!(ask("ReleasePool", json!({"PoolID": "pool1"})).await, json!({}));
    assert_eq!(
        server.driver.calls(),
        [
            "request_pool 192.0.2.0/24 Some(192.0.2.64/26) {\"addressing\": \"pool\"}",
            "request_address pool1 Some(192.0.2.1) gateway",
            "request_address pool1 None Some(\"web\")",
            "request_address pool1 Some(192.0.2.9) None",
            "release_address pool1 Some(192.0.2.9)",
            "release_pool pool1",
        ]
    );
}

#[tokio::test]
async fn an_address_that_nobody_waits_for_is_taken_back() {
    let server = Server::start();
    server.driver.set_mood(Mood::Late);
    let body = json!({"PoolID": "pool1", "Address": ""}).to_string();
    let mut stream = server.connect().await;
    stream.write_all(&request("POST", "/IpamDriver.RequestAddress", body.as_bytes())).await.unwrap();
    server.driver.called("request_address").await;
    drop(stream);
    server.driver.called("release_address pool1 Some(192.0.2.9)").await;
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_an_error_of_the_ipam_driver() {
    let server = Server::start();
    server.driver.set_mood(Mood::Failing);
    let (status, answer) = server.post("/IpamDriver.RequestAddress", br#"{"PoolID":"pool1"}"#).await;
    assert_eq!((status, &answer["Error"]), (200, &json!("no lease on lan: network is\\ndown")));
    let (_, answer) = server.post("/IpamDriver.RequestAddress", br#"{"PoolID":"p","Address":"x"}"#).await;
    assert!(answer["Error"].as_str().unwrap().contains("RequestAddress"), "{answer}");
}

#[tokio::test]
async fn only_post_asks_for_anything() {
    let server = Server::start();
    for method in ["GET", "PUT", "DELETE"] {
        let body = endpoint().to_string();
        let (status, text) =
            server.raw(&request(method, "/NetworkDriver.DeleteEndpoint", body.as_bytes())).await;
        assert_eq!(status, 405, "{method}");
        assert!(text.contains("allow: POST"), "{text}");
    }
    assert_eq!(server.driver.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn garbage_is_refused_and_the_server_goes_on() {
    let server = Server::start();
    let long = [b"POST /".as_slice(), &vec![b'a'; 1 << 20]].concat();
    for garbage in [
        b"\x16\x03\x01\x02\x00\x01\x00".as_slice(),
        b"hello\r\n\r\n",
        b"POST /NetworkDriver.Join HTTP/9.9\r\n\r\n",
        b"POST /NetworkDriver.Join HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /NetworkDriver.Join HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /NetworkDriver.Join HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        &long,
    ] {
        let mut stream = server.connect().await;
        // The server may close before it has read all of it.
        let _ = stream.write_all(garbage).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = read.expect("the connection stays open");
        let answer = String::from_utf8(answer).unwrap();
        assert!(!answer.starts_with("HTTP/1.1 2") || answer.contains("\"Err\":"), "{answer}");
    }
    server.ask("Leave", &endpoint()).await;
    assert_eq!(server.driver.calls(), ["leave e1"]);
}

#[tokio::test]
async fn who_dawdles_is_cut_off() {
    let soon = Duration::from_millis(50);
    let server = Server::with(Limits { head: soon, body: soon, ..Limits::default() });
    let mut in_head = server.connect().await;
    in_head.write_all(b"POST /Netw").await.unwrap();
    let mut in_body = server.connect().await;
    in_body
        .write_all(b"POST /NetworkDriver.Leave HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, in_head.read_to_end(&mut rest)).await;
    let _ = closed.expect("the head may take for ever");
    let (status, text) = answer(&mut in_body).await;
    assert_eq!(status, 200);
    assert!(text.contains("the request did not arrive within 50ms"), "{text}");
}

#[tokio::test]
async fn connections_are_kept_and_may_be_chunked() {
    let server = Server::start();
    let mut stream = server.connect().await;
    for _ in 0..3 {
        let body = endpoint().to_string();
        let request = format!(
            "POST /NetworkDriver.Leave HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n{}") {
            let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut text)).await.expect("no answer");
            assert_ne!(read.unwrap(), 0, "closed: {}", String::from_utf8_lossy(&text));
        }
    }
    assert_eq!(server.driver.calls(), ["leave e1", "leave e1", "leave e1"]);
}

#[tokio::test]
async fn shutdown_lets_idle_connections_go_and_refuses_new_ones() {
    let server = Server::start();
    let mut idle = server.connect().await;
    server.ask("Leave", &endpoint()).await;
    server.shutdown.cancel();
    tokio::time::timeout(PATIENCE, server.running).await.expect("does not stop").unwrap();
    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).await.unwrap(), 0);
}

#[tokio::test]
async fn shutdown_finishes_what_takes_longer_than_the_grace() {
    let server = Server::with(Limits { grace: Duration::from_millis(1), ..Limits::default() });
    let release = server.driver.hold();
    let mut stream = server.connect().await;
    let body = endpoint().to_string();
    stream.write_all(&request("POST", "/NetworkDriver.CreateEndpoint", body.as_bytes())).await.unwrap();
    server.driver.called("create_endpoint e1").await;
    server.shutdown.cancel();
    // Who comes now finds nobody, and can send its whole request again.
    let refused = async {
        while UnixStream::connect(server.socket()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("still listens");
    assert!(!server.running.is_finished());
    release.send_replace(true);
    let (status, text) = answer(&mut stream).await;
    assert!(status == 200 && text.contains("192.0.2.9/24"), "{text}");
    tokio::time::timeout(PATIENCE, server.running).await.expect("does not stop").unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let server = Server::start();
    server.driver.set_mood(Mood::Stuck);
    let mut stream = server.connect().await;
    let body = endpoint().to_string();
    stream.write_all(&request("POST", "/NetworkDriver.CreateEndpoint", body.as_bytes())).await.unwrap();
    server.driver.called("create_endpoint e1").await;
    server.shutdown.cancel();
    tokio::time::timeout(PATIENCE, server.running).await.expect("does not stop").unwrap();
}
