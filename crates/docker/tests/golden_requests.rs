//! Requests recorded from real engines, replayed through the real server: every one must get its answer.
//!
//! `golden/*.json`: arrays of `{"path": "/NetworkDriver.X", "body": {...}}` in the order an engine sent them, ids
//! replaced by names like `<network-1>`.

mod common;

use common::Server;
use serde_json::Value;

/// Names in angle brackets become ids of Docker's shape, the same name always the same id.
fn restore(value: &mut Value) {
    match value {
        Value::String(text) => *text = restore_text(text),
        Value::Array(values) => values.iter_mut().for_each(restore),
        Value::Object(map) => map.values_mut().for_each(restore),
        _ => {}
    }
}

fn restore_text(text: &str) -> String {
    let Some((before, rest)) = text.split_once('<') else { return text.to_owned() };
    let Some((name, after)) = rest.split_once('>') else { return text.to_owned() };
    // FNV-1a, 64 bits: enough to tell a handful of names apart.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{before}{}{}", format!("{hash:016x}").repeat(4), restore_text(after))
}

#[tokio::test]
async fn recorded_requests_are_answered() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut replayed = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let recorded = std::fs::read(&file).unwrap();
        let requests: Vec<Value> = serde_json::from_slice(&recorded).unwrap();
        assert!(!requests.is_empty(), "{}", file.display());
        let server = Server::start();
        for mut request in requests {
            restore(&mut request["body"]);
            let path = request["path"].as_str().unwrap();
            let body = if request["body"].is_null() { String::new() } else { request["body"].to_string() };
            let (status, answer) = server.post(path, body.as_bytes()).await;
            let context = format!("{} {path}: {answer}", file.display());
            assert_eq!(status, 200, "{context}");
            assert!(answer.get("Err").is_none(), "{context}");
            replayed += 1;
        }
        assert!(!server.driver.calls().is_empty(), "{}", file.display());
    }
    assert!(replayed > 0, "no recorded requests in {dir}");
}

#[test]
fn names_become_ids() {
    let id = restore_text("<network-1>");
    assert_eq!(id.len(), 64);
    assert_eq!(restore_text("/run/<network-1>/x"), format!("/run/{id}/x"));
    assert_ne!(restore_text("<network-2>"), id);
    assert_eq!(restore_text("a < b"), "a < b");
}
