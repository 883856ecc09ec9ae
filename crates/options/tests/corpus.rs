//! The fuzz targets' corpus as a plain test.

#[path = "../fuzz/checks.rs"]
mod checks;

fn run(target: &str, check: fn(&[u8])) {
    landline_testbed::corpus(env!("CARGO_MANIFEST_DIR"), target, check);
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
