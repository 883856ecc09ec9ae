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
fn pipework() {
    run("pipework", checks::pipework);
}

#[test]
fn attach() {
    run("attach", checks::attach);
}

#[test]
fn container() {
    run("container", checks::container);
}

#[test]
fn config() {
    run("config", checks::config);
}
