//! The corpus of a fuzz target as a plain test.

use std::fs;
use std::path::Path;

/// Runs `check` on every file of `fuzz/corpus/TARGET` of a crate (its `CARGO_MANIFEST_DIR`), and names the file first.
///
/// # Panics
/// If there is no such file, and where `check` does.
pub fn corpus(manifest_dir: &str, target: &str, check: impl Fn(&[u8])) {
    let dir = Path::new(manifest_dir).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files = 0;
    for path in entries.flatten().map(|entry| entry.path()) {
        let data = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("{}", path.display());
        check(&data);
        files += 1;
    }
    assert!(files > 0, "{} is empty", dir.display());
}
