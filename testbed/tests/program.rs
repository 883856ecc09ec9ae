//! The `testbed` program: a lab that stays between two calls.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the program with labs of its own, so that `down` finds nobody else's.
fn testbed(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.env("LANDLINE_TESTBED_DIR", dir).args(args).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_lab_stays_until_it_is_taken_down() {
    let dir = tempfile::tempdir().expect("a directory");
    let call = |args: &[&str]| testbed(dir.path(), args);
    let up = call(&["up"]);
    assert!(up.status.success(), "{}", text(&up));

    let listed = text(&call(&["ls"]));
    let name = listed.split_whitespace().next().expect("a lab").to_owned();
    assert!(listed.contains("host1") && listed.contains("router"), "{listed}");
    assert_eq!(text(&call(&["clean"])), "", "what was left on purpose is no leftover");
    let ping = call(&["in", "peer", "ping", "-c1", "-W2", "192.0.2.10"]);
    let images = call(&["in", "host1", "docker", "image", "ls", "--quiet"]);
    let failing = call(&["in", "host1", "sh", "-c", "exit 7"]);
    let nowhere = call(&["in", "nobody", "true"]);

    assert_eq!(text(&call(&["down"])), format!("removed {name}\n"));
    assert!(ping.status.success(), "{}", text(&ping));
    assert_eq!(text(&images).lines().count(), 1, "{}", text(&images));
    assert_eq!(failing.status.code(), Some(7));
    assert!(!nowhere.status.success() && text(&nowhere).contains("no machine nobody"), "{}", text(&nowhere));
    assert_eq!(text(&call(&["ls"])), "");
    assert!(!Path::new("/run/netns").join(format!("{name}-router")).exists());
}
