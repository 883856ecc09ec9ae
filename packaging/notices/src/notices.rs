//! The licences, as text for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use crate::Result;
use crate::linked::{Linked, Package};

const HEAD: &str = "\
Landline is licensed under MIT or Apache-2.0, at your choice. The program contains the following software of others.
A program that `make static` or `make packages` has built also contains the GNU C Library (LGPL-2.1-or-later), and every
program contains the Rust standard library (MIT OR Apache-2.0). Landline's sources and this build's lock file are all that is
needed to link it with another version of either.
";

/// The whole page: a list, and then each text once, below the names of the crates that have it.
pub(crate) fn text(linked: &Linked) -> Result<String> {
    let mut page = HEAD.to_owned();
    page.push('\n');
    let mut by_text = BTreeMap::<String, Vec<String>>::new();
    for package in linked.others() {
        writeln!(page, "{} {}: {}", package.name, package.version, package.licence)?;
        for text in texts(package)? {
            by_text.entry(text).or_default().push(format!("{} {}", package.name, package.version));
        }
    }
    for (text, names) in by_text {
        write!(page, "\n{}\n{}\n\n{text}\n", "-".repeat(78), names.join(", "))?;
    }
    Ok(page)
}

/// The texts that come with a package. Some have none: then the name of the licence is all there is.
fn texts(package: &Package) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(&package.directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"]
            .iter()
            .any(|start| name.starts_with(start));
        if is_licence && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let read = |path| Ok(fs::read_to_string(path)?.replace('\r', "").trim().to_owned());
    files.into_iter().map(read).collect()
}
