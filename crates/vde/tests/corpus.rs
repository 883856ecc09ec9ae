//! The fuzz targets' corpus as a plain test.

#[path = "../fuzz/checks.rs"]
mod checks;

fn run(target: &str, check: fn(&[u8])) {
    landline_testbed::corpus(env!("CARGO_MANIFEST_DIR"), target, check);
}

#[test]
fn request() {
    run("request", checks::request);
}

#[test]
fn console() {
    run("console", checks::console);
}

#[test]
fn segments() {
    run("segments", checks::segments);
}

/// 60 full segments need two; a short one, or one that is pushed, is the last of its batch, and none follows a gap.
#[test]
fn segments_go_together() {
    let full = |count: usize, v6: u8| [2 | v6, 0, 0, 3].repeat(count);
    assert_eq!([checks::batches(&full(60, 0)), checks::batches(&full(60, 1))], [2, 2]);
    for last in [[0, 7, 0, 3], [6, 0, 0x18, 3], [0x3a, 0, 0, 3]] {
        assert_eq!(checks::batches(&[full(5, 0), last.to_vec(), full(5, 0)].concat()), 2);
    }
}

proptest::proptest! {
    #[test]
    fn whatever_is_batched_is_what_came(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120)) {
        checks::segments(&data);
    }
}
