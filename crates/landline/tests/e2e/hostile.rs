//! The plugin socket takes anything: an error answer, and the daemon goes on.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::world::{Result, World, bare};

/// What does work: every verb that needs a body.
const VERBS: [&str; 9] = [
    "CreateNetwork",
    "DeleteNetwork",
    "CreateEndpoint",
    "EndpointOperInfo",
    "DeleteEndpoint",
    "Join",
    "Leave",
    "ProgramExternalConnectivity",
    "RevokeExternalConnectivity",
];

/// Those that tell nothing which other requests do not: repeated without a body they succeed.
const NOTICES: [&str; 3] = ["Leave", "ProgramExternalConnectivity", "RevokeExternalConnectivity"];

/// The answer is an error Docker understands: JSON with a sentence in `Err`.
fn error(world: &World, verb: &str, body: &str) -> Result<(u16, String)> {
    let (status, answer) = world.daemon.request(&format!("/NetworkDriver.{verb}"), body)?;
    let start: String = body.chars().take(60).collect();
    let json: Value =
        serde_json::from_str(&answer).map_err(|e| format!("{verb} {start}: {status} {answer:?}: {e}"))?;
    let sentence = json["Err"].as_str().unwrap_or_default();
    assert!(!sentence.is_empty(), "{verb} {start}: {status} {answer}");
    assert_eq!(json["Err"], json["Error"], "{answer}");
    assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
    Ok((status, sentence.to_owned()))
}

#[test]
fn malformed_requests_are_answered_and_forgotten() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("before", "lan", &[])?;
    let (before, pid) = (world.ls()?, world.daemon.pid()?);

    let id = "0".repeat(64);
    let wrong = [
        String::new(),
        " ".to_owned(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "\u{0}\u{1}\u{fffd}".to_owned(),
        r#"{"NetworkID": 5, "EndpointID": true}"#.to_owned(),
        r#"{"NetworkID": "", "EndpointID": ""}"#.to_owned(),
        r#"{"NetworkID": "../../etc/passwd", "EndpointID": "../../etc/passwd"}"#.to_owned(),
        format!(r#"{{"NetworkID": "{0}", "EndpointID": "{0}"}}"#, "a".repeat(5000)),
        "[".repeat(100_000),
    ];
    for verb in VERBS {
        for body in &wrong {
            if NOTICES.contains(&verb) && body.trim().is_empty() {
                let answered = world.daemon.request(&format!("/NetworkDriver.{verb}"), body)?;
                assert_eq!(answered, (200, "{}".to_owned()), "{verb}");
            } else {
                error(&world, verb, body)?;
            }
        }
    }
    for (verb, body) in [
        ("CreateNetwork", format!(r#"{{"NetworkID": "{id}", "Options": [1]}}"#)),
        (
            "CreateNetwork",
            format!(r#"{{"NetworkID": "{id}", "Options": {{"com.docker.network.generic": 7}}}}"#),
        ),
        ("CreateNetwork", format!(r#"{{"NetworkID": "{id}", "IPv4Data": [{{"Pool": "192.0.2.0/99"}}]}}"#)),
        ("CreateEndpoint", format!(r#"{{"NetworkID": "{id}", "EndpointID": "{id}"}}"#)),
        (
            "CreateEndpoint",
            format!(r#"{{"NetworkID": "{id}", "EndpointID": "{id}", "Interface": {{"MacAddress": "zz"}}}}"#),
        ),
        ("Join", format!(r#"{{"NetworkID": "{id}", "EndpointID": "{id}", "SandboxKey": "/run/netns/x"}}"#)),
        ("Join", format!(r#"{{"NetworkID": "{id}", "EndpointID": "{id}", "SandboxKey": "../x"}}"#)),
    ] {
        error(&world, verb, &body)?;
    }

    // Ten megabytes: read or refused, but answered.
    let huge = format!(r#"{{"NetworkID": "{}"}}"#, "a".repeat(10 << 20));
    error(&world, "CreateNetwork", &huge)?;

    for path in ["/NetworkDriver.Explode", "/", "/VolumeDriver.Create", "/NetworkDriver.CreateNetwork/x"] {
        let (status, answer) = world.daemon.request(path, "{}")?;
        assert_eq!(status, 404, "{path}: {answer}");
        let json: Value = serde_json::from_str(&answer)?;
        assert!(json["Err"].is_string(), "{path}: {answer}");
    }

    // What was never there is deleted and left with success: Docker repeats itself.
    let unknown = format!(r#"{{"NetworkID": "{id}", "EndpointID": "{id}", "OfALaterEngine": [{{}}]}}"#);
    for verb in ["Leave", "DeleteEndpoint", "DeleteNetwork", "RevokeExternalConnectivity"] {
        let (status, answer) = world.daemon.request(&format!("/NetworkDriver.{verb}"), &unknown)?;
        assert_eq!((status, answer.trim()), (200, "{}"), "{verb}");
    }

    assert_eq!(world.daemon.pid()?, pid, "the daemon is the same process");
    assert_eq!(without_time(world.ls()?), without_time(before), "nothing came of all that");
    still_works(&world, "after-requests")
}

#[test]
fn garbage_on_the_socket_disturbs_nobody() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let connect = || -> Result<UnixStream> {
        let stream = UnixStream::connect(world.host.path("/run/docker/plugins/landline.sock"))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        Ok(stream)
    };
    // No HTTP: an error or the end of the connection, at once.
    let mut noise: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    noise.extend(b"\r\n\r\n");
    for garbage in
        [noise.as_slice(), b"\0\0\0\0", b"hello\r\n\r\n", b"POST\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"]
    {
        let mut stream = connect()?;
        // The daemon may hang up before it has read everything.
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => return Err(format!("{:?}: {error}", garbage.get(..20)).into()),
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // Clients that say half of something and stay, as many as there may be by accident.
    let mut stuck = Vec::new();
    for _ in 0..100 {
        let mut stream = connect()?;
        stream.write_all(
            b"POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        )?;
        stuck.push(stream);
    }
    still_works(&world, "meanwhile")?;
    drop(stuck);
    still_works(&world, "afterwards")
}

/// A container starts and is on the LAN.
fn still_works(world: &World, name: &str) -> Result {
    world.run(name, "lan", &[])?;
    let address = world.address(name, "br00")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    Ok(())
}

/// A listing without what changes by itself.
fn without_time(mut listing: Value) -> Value {
    for endpoint in listing["endpoints"].as_array_mut().into_iter().flatten() {
        for key in ["lease_left_s", "lease_ends_at", "container", "container_id", "interface", "state"] {
            endpoint[key] = Value::Null;
        }
    }
    for network in listing["networks"].as_array_mut().into_iter().flatten() {
        network["name"] = Value::Null;
    }
    for endpoint in listing["endpoints"].as_array_mut().into_iter().flatten() {
        endpoint["network"] = Value::Null;
    }
    listing
}
