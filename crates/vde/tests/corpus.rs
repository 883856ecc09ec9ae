//! The fuzz targets' corpus as a plain test.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

fn run(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for entry in fs::read_dir(&corpus).expect("a corpus") {
        let path = entry.expect("an entry").path();
        let data = fs::read(&path).expect("a file");
        println!("{}", path.display());
        check(&data);
        files += 1;
    }
    assert!(files > 0, "{} is empty", corpus.display());
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
fn train() {
    run("train", checks::train);
}

/// 60 full segments need two; a short one, or one that is pushed, is the last of its train.
#[test]
fn segments_go_together() {
    let full = |count: usize, v6: u8| [2 | v6, 0, 0, 3].repeat(count);
    assert_eq!([checks::departures(&full(60, 0)), checks::departures(&full(60, 1))], [2, 2]);
    for last in [[0, 7, 0, 3], [6, 0, 0x18, 3]] {
        assert_eq!(checks::departures(&[full(5, 0), last.to_vec(), full(5, 0)].concat()), 2);
    }
}

proptest::proptest! {
    #[test]
    fn whatever_is_coupled_is_what_came(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120)) {
        checks::train(&data);
    }
}
