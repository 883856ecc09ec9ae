//! The fuzz targets' corpus as a plain test.

#[path = "../fuzz/checks.rs"]
mod checks;
#[path = "../fuzz/checks6.rs"]
mod checks6;

fn run(target: &str, check: fn(&[u8])) {
    landline_testbed::corpus(env!("CARGO_MANIFEST_DIR"), target, check);
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
