//! Files as released versions wrote them, in `tests/released`: `state-N.redb` is a whole store with every kind of record in
//! it, and `state-N.json` what the version that wrote it said is in it.
//!
//! A version that changes what is stored adds a pair of its own, written by the version before the change.

use std::path::{Path, PathBuf};

use landline_model::{EndpointRecord, NetworkRecord};
use serde_json::{Map, Value};

use super::*;
use crate::OpeningRecord;
use crate::attach::AttachmentRecord;
use crate::host_access::LoosenedRecord;
use crate::host_lease::HostLease;
use crate::nat::NatRecord;
use crate::pools::PoolRecord;
use landline_model::IdentityRecord;

fn released() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "redb")).collect()
}

/// Compares the records of one kind with those that were written; their number.
fn check<R: Record>(rows: &mut Rows, written: &mut Map<String, Value>) -> usize {
    let Value::Object(mut expected) = written.remove(R::TABLE).unwrap() else { panic!("{}", R::TABLE) };
    let records = rows.take::<R>();
    assert!(!rows.lacks::<R>(), "{} has a record that cannot be read", R::TABLE);
    for record in &records {
        let key = record.key().to_string();
        let expected = expected.remove(&key).unwrap_or_else(|| panic!("{}: {key}", R::TABLE));
        let read = serde_json::to_value(record).unwrap();
        assert_kept(&format!("{} {key}", R::TABLE), &expected, &read);
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
                check::<NetworkRecord>(&mut rows, &mut left),
                check::<EndpointRecord>(&mut rows, &mut left),
                check::<IdentityRecord>(&mut rows, &mut left),
                check::<HostLease>(&mut rows, &mut left),
                check::<landline_spec::Access>(&mut rows, &mut left),
                check::<NatRecord>(&mut rows, &mut left),
                check::<LoosenedRecord>(&mut rows, &mut left),
                check::<PoolRecord>(&mut rows, &mut left),
                check::<AttachmentRecord>(&mut rows, &mut left),
                check::<OpeningRecord>(&mut rows, &mut left),
            ];
            assert!(counts.iter().all(|count| *count > 0), "{}: every kind is in it", file.display());
            assert_eq!(left.keys().collect::<Vec<_>>(), [""; 0], "tables that nobody reads");
            assert!(rows.tables.is_empty(), "tables that the text does not have");
            rewrite(&store, &path);
        }
    }
}

/// Writes every record again, as this version does.
fn rewrite(store: &Store, path: &Path) {
    fn again<R: Record>(rows: &mut Rows, batch: Batch) -> Batch {
        rows.take::<R>().iter().fold(batch, Batch::put)
    }
    let rows = &mut disk::read_copy(path).unwrap();
    let batch = again::<NetworkRecord>(rows, Batch::default());
    let batch = again::<EndpointRecord>(rows, batch);
    let batch = again::<IdentityRecord>(rows, batch);
    let batch = again::<HostLease>(rows, batch);
    let batch = again::<landline_spec::Access>(rows, batch);
    let batch = again::<NatRecord>(rows, batch);
    let batch = again::<LoosenedRecord>(rows, batch);
    let batch = again::<PoolRecord>(rows, batch);
    let batch = again::<AttachmentRecord>(rows, batch);
    let batch = again::<OpeningRecord>(rows, batch);
    store.write(batch).wait().unwrap();
}
