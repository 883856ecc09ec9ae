//! The fuzz targets' corpus as a plain test, and the same checks on what nobody wrote down.

#[path = "../fuzz/checks.rs"]
mod checks;

use landline_testbed::corpus;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Also of what a connection breaks off at.
fn pieces(check: impl Fn(&[u8])) -> impl Fn(&[u8]) {
    move |bytes| (0..=bytes.len().min(4096)).for_each(|end| check(&bytes[..end]))
}

#[test]
fn streams() {
    corpus(env!("CARGO_MANIFEST_DIR"), "stream", pieces(checks::stream));
}

#[test]
fn rows() {
    corpus(env!("CARGO_MANIFEST_DIR"), "rows", pieces(checks::rows));
}

/// JSON that looks like column values.
fn value() -> impl Strategy<Value = Value> {
    let id = "[0-9a-f]{8}-0000-4000-8000-000000000000";
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        id.prop_map(|id| json!(["uuid", id])),
        Just(json!(["uuid", "00000001-0000-4000-8000-000000000000"])),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(["set", items])),
            prop::collection::vec((inner.clone(), inner.clone()), 0..3)
                .prop_map(|pairs| json!(["map", pairs])),
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
        ]
    })
}

/// Rows that have the columns of all three tables, some of them sensible.
fn table() -> impl Strategy<Value = Value> {
    let row = prop::collection::vec(value(), 8).prop_map(|v| {
        json!({"_uuid": ["uuid", "00000001-0000-4000-8000-000000000000"], "name": v[0], "ports": v[1],
               "interfaces": v[2], "tag": v[3], "trunks": v[4], "external_ids": v[5], "error": v[6], "ofport": v[7]})
    });
    prop::collection::vec(row, 0..3).prop_map(|rows| json!({"rows": rows}))
}

proptest! {
    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..400)) {
        checks::stream(&data);
        checks::stream(&[b"{", data.as_slice()].concat());
    }

    #[test]
    fn any_braces(data in "[{}\\[\\]\",:\\\\a1 ]{0,60}") {
        checks::stream(data.as_bytes());
    }

    #[test]
    fn any_rows(tables in prop::collection::vec(table(), 3)) {
        checks::rows(json!(tables).to_string().as_bytes());
    }
}
