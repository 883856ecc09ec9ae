//! What is in stores of other versions: files as released versions wrote them, in `tests/released`: `state-N.redb` is a whole store with every kind of record in
//! it, and `state-N.json` what the version that wrote it said is in it.
//!
//! A version that changes what is stored adds a pair of its own, written by the version before the change.

use std::path::{Path, PathBuf};

use landline_attach::AttachmentRecord;
use landline_host_access::RpFilterRecord;
use landline_ipam::PoolRecord;
use landline_links::KeptMac;
use landline_model::{EndpointRecord, IdentityRecord, NetworkRecord};
use landline_nat::{ExceptionRecord, ForwardingRecord, NatLease, NatRecord};
use landline_routed::ProxyDelayRecord;
use landline_store::{Record, Rows, Store};
use landline_types::IfName;
use landline_uplink::HostLease;
use redb::{Database, TableDefinition};
use serde_json::{Map, Value};

fn released() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "redb")).collect()
}

/// Compares the records of one kind with those that were written, and writes them again; their number.
fn check<R: Record>(store: &Store, rows: &mut Rows, written: &mut Map<String, Value>) -> usize {
    let Value::Object(mut expected) = written.remove(R::TABLE).unwrap() else { panic!("{}", R::TABLE) };
    let records = rows.take::<R>();
    assert!(!rows.lacks::<R>(), "{} has a record that cannot be read", R::TABLE);
    for record in &records {
        let key = record.key().to_string();
        let expected = expected.remove(&key).unwrap_or_else(|| panic!("{}: {key}", R::TABLE));
        let read = serde_json::to_value(record).unwrap();
        assert_kept(&format!("{} {key}", R::TABLE), &expected, &read);
        store.put(record).wait().unwrap();
    }
    assert_eq!(expected.keys().collect::<Vec<_>>(), [""; 0], "{} lacks some", R::TABLE);
    records.len()
}

/// Everything that was written is there under the same name. Fields that came later may be there too.
fn assert_kept(path: &str, written: &Value, read: &Value) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (name, value) in written {
                let path = format!("{path}.{name}");
                assert_kept(&path, value, read.get(name).unwrap_or_else(|| panic!("{path} is lost")));
            }
        }
        (Value::Array(written), Value::Array(read)) => {
            assert_eq!(written.len(), read.len(), "{path}");
            for (n, (written, read)) in written.iter().zip(read).enumerate() {
                assert_kept(&format!("{path}[{n}]"), written, read);
            }
        }
        _ => assert_eq!(written, read, "{path}"),
    }
}

#[test]
fn what_released_versions_wrote_is_read_whole() {
    let released = released();
    assert!(!released.is_empty());
    for file in released {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("landline.redb");
        std::fs::copy(&file, &path).unwrap();
        let text = std::fs::read(file.with_extension("json")).unwrap();
        let written: Map<String, Value> = serde_json::from_slice(&text).unwrap();
        // As it was, and after everything was written by this version.
        for _ in 0..2 {
            let (store, mut rows) = Store::open(&path).unwrap();
            let mut left = written.clone();
            let counts = [
                check::<NetworkRecord>(&store, &mut rows, &mut left),
                check::<EndpointRecord>(&store, &mut rows, &mut left),
                check::<IdentityRecord>(&store, &mut rows, &mut left),
                check::<HostLease>(&store, &mut rows, &mut left),
                check::<landline_options::Access>(&store, &mut rows, &mut left),
                check::<NatRecord>(&store, &mut rows, &mut left),
                check::<RpFilterRecord>(&store, &mut rows, &mut left),
                check::<PoolRecord>(&store, &mut rows, &mut left),
                check::<AttachmentRecord>(&store, &mut rows, &mut left),
                check::<ExceptionRecord>(&store, &mut rows, &mut left),
            ];
            assert!(counts.iter().all(|count| *count > 0), "{}: every kind is in it", file.display());
            assert_eq!(left.keys().collect::<Vec<_>>(), [""; 0], "tables that nobody reads");
            assert_eq!(rows, Rows::default(), "tables that the text does not have");
        }
    }
}

/// Puts this row into the file, past the store.
fn put_raw(path: &Path, table: &str, key: &str, value: &str) {
    let db = Database::create(path).unwrap();
    let write = db.begin_write().unwrap();
    let rows = TableDefinition::<&str, &[u8]>::new(table);
    write.open_table(rows).unwrap().insert(key, value.as_bytes()).unwrap();
    write.commit().unwrap();
}

#[test]
fn what_the_host_is_owed_is_taken_from_records_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    drop(Store::open(&path).unwrap());
    put_raw(&path, "loosened", "eth0", r#"{"parent":{"name":"eth0"},"before":1}"#);
    put_raw(&path, "proxy_delays", "wlan0", r#"{"parent":["wlan0"],"before":80}"#);
    put_raw(&path, "loosened", "eth1", r#"{"parent":"eth1","before":"strict"}"#);
    put_raw(&path, "host_leases", "br0", r#"{"address":"192.0.2.10","client_id":"later","hostname":"host"}"#);
    put_raw(&path, "forwarding", "all", r#"{"since":1}"#);
    put_raw(&path, "openings", "br0", r#"{"since":1}"#);
    put_raw(&path, "openings", "br1", "{");
    put_raw(&path, "kept_macs", "br0", r#"{"bridge":["br0"],"mac":"02:00:00:00:00:07"}"#);
    let card = r#"{"name":"eth2","mac":"02:00:00:00:00:09","up":true,"addresses":[],"routes":[]}"#;
    let key = "0123456789abcdef0123456789abcdef";
    let inside = r#"{"sandbox":"/run/netns/blue","namespace":"7","name":"lan0"}"#;
    let attachment = format!(r#"{{"id":"{key}","target":"?","spec":{{}},"inside":{inside},"card":{card}}}"#);
    put_raw(&path, "attachments", key, &attachment);
    put_raw(&path, "attachments", "1123456789abcdef0123456789abcdef", r#"{"spec":{}}"#);
    let (_, mut rows) = Store::open(&path).unwrap();
    let eth0: IfName = "eth0".parse().unwrap();
    assert_eq!(rows.take::<RpFilterRecord>(), [RpFilterRecord { parent: eth0, before: 1 }]);
    let delay = ProxyDelayRecord { parent: "wlan0".parse().unwrap(), before: 80 };
    assert_eq!(rows.take::<ProxyDelayRecord>(), [delay]);
    let [lease] = rows.take::<HostLease>().try_into().unwrap();
    assert_eq!((lease.interface.as_str(), lease.address.octets()), ("br0", [192, 0, 2, 10]));
    assert_eq!((lease.client_id, lease.hostname.as_deref()), (None, Some("host")));
    assert_eq!(rows.take::<ForwardingRecord>(), [ForwardingRecord { interface: "all".parse().unwrap() }]);
    assert_eq!(rows.take::<ExceptionRecord>().len(), 2, "the key is all there is to it");
    let [kept] = rows.take::<KeptMac>().try_into().unwrap();
    assert_eq!((kept.bridge.as_str(), kept.mac.octets()[5]), ("br0", 7));
    let [attachment] = rows.take::<AttachmentRecord>().try_into().unwrap();
    assert_eq!(attachment.id.to_string(), key);
    assert_eq!(attachment.target.to_string(), "netns:/run/netns/blue");
    assert_eq!(attachment.inside.map(|there| there.namespace).as_deref(), Some("7"));
    assert_eq!(attachment.card.map(|card| card.name.to_string()).as_deref(), Some("eth2"));
}

/// The host's address, its setting and a port's mode are taken back with the record.
#[test]
fn what_the_host_is_owed_by_translated_addresses_is_taken_from_records_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    drop(Store::open(&path).unwrap());
    let (network, identity) = ("0".repeat(64), "0123456789abcdef");
    let put = |key: &str, rest: &str| put_raw(&path, "nat", key, &format!(r#"{{"owner":7{rest}}}"#));
    put("app", r#","interface":"eth0","address":"192.0.2.7","ports":"most","hairpin":"veth1""#);
    put("nowhere", r#","address":"192.0.2.8","forwarding":true"#);
    put(&format!("network {network}"), r#","interface":"eth0","address":"192.0.2.9","dhcp":{"lease":7}"#);
    let one = format!("network {network} {identity}");
    put(&one, r#","interface":"eth0","forwarding":true,"open_firewall":true,"dhcp":null"#);
    put("nothing", r#","interface":"eth0","address":null"#);
    put("no owner at all", r#","forwarding":true"#);
    let (_, mut rows) = Store::open(&path).unwrap();
    let records = rows.take::<NatRecord>();
    let found: Vec<String> = records.iter().map(|record| record.key().to_string()).collect();
    assert_eq!(found, ["app", &format!("network {network}"), &one, "nowhere"]);
    let [app, leased, opened, nowhere] = records.try_into().unwrap();
    assert_eq!(app.address.map(|address| address.octets()), Some([192, 0, 2, 7]));
    assert_eq!(
        app.ports,
        landline_options::NatPorts::Only(Vec::new()),
        "nothing is passed on that was not asked for"
    );
    assert_eq!(app.hairpin.as_ref().map(IfName::as_str), Some("veth1"));
    assert!(app.dhcp.is_none() && !app.forwarding);
    assert_eq!(leased.dhcp, Some(NatLease::default()), "its lease may be over");
    assert!(opened.forwarding && opened.open_firewall && opened.dhcp.is_none());
    assert!(nowhere.forwarding && nowhere.address.is_none());
}
