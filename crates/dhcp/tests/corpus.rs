//! The fuzz targets' corpus as a plain test.

#[path = "../fuzz/checks.rs"]
mod checks;
#[path = "../fuzz/checks6.rs"]
mod checks6;

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
fn dhcpv4() {
    run("dhcpv4", checks::dhcpv4);
}

#[test]
fn link() {
    run("link", checks::link);
}

#[test]
fn client() {
    run("client", checks::client);
}

#[test]
fn dhcpv6() {
    run("dhcpv6", checks6::dhcpv6);
}

#[test]
fn discovery() {
    run("discovery", checks6::discovery);
}

#[test]
fn client6() {
    run("client6", checks6::client6);
}
